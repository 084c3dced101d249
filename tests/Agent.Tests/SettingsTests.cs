using Mayfly.Contract;
using Xunit;

namespace Mayfly.Agent.Tests;

public sealed class SettingsTests
{
    [Fact]
    public void Without_tags_the_defaults_hold()
    {
        var settings = LaunchSettings.From(new Dictionary<string, string>());

        Assert.Equal((TimeSpan.FromMinutes(5), TimeSpan.FromHours(6)), (settings.IdleTimeout, settings.JobTimeout));
        Assert.Equal((ConfigSource.Ssm, false, EgressMode.Open), (settings.Config, settings.Sudo, settings.Egress));
        Assert.Equal((null, null), (settings.ScratchGiB, settings.SwapGiB));
    }

    [Theory]
    [InlineData(Tags.IdleTimeout, "0")]
    [InlineData(Tags.IdleTimeout, "86401")]
    [InlineData(Tags.JobTimeout, "6h")]
    [InlineData(Tags.JobTimeout, "-1")]
    [InlineData(Tags.Config, "user-data")]
    [InlineData(Tags.Sudo, "yes")]
    [InlineData(Tags.Egress, "deny")]
    [InlineData(Tags.ScratchGiB, "0")]
    [InlineData(Tags.SwapGiB, "65537")]
    public void A_tag_out_of_its_range_ends_the_machine_and_names_tag_and_value(string tag, string value)
    {
        var e = Assert.Throws<EndingException>(() => LaunchSettings.From(new Dictionary<string, string> { [tag] = value }));

        Assert.Equal("identity-unknown", e.Ending.Name);
        Assert.Contains($"tag {tag}='{value}'", e.Ending.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public void Endpoints_are_taken_from_the_credential() =>
        Assert.Equal([("AWS_ENDPOINT_URL_SSM", "http://10.0.0.1:1/"), ("AWS_ENDPOINT_URL_EC2", "")],
            AwsEnvironment.Parse("# private network\nAWS_ENDPOINT_URL_SSM=http://10.0.0.1:1/\n\nAWS_ENDPOINT_URL_EC2=\n"));

    [Theory]
    [InlineData("AWS_SECRET_ACCESS_KEY=not-to-be-seen")]
    [InlineData("LD_PRELOAD=not-to-be-seen")]
    [InlineData("not-to-be-seen")]
    public void Anything_but_an_endpoint_is_refused_without_showing_it(string line)
    {
        var e = Assert.Throws<FormatException>(() => AwsEnvironment.Parse("\n" + line));

        Assert.Contains("line 2", e.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("not-to-be-seen", e.Message, StringComparison.Ordinal);
    }
}
