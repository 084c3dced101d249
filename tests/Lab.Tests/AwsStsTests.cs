using Mayfly.Lab.Aws;

namespace Mayfly.Lab.Tests;

public sealed class AwsStsTests
{
    [Fact]
    public async Task An_assumed_role_has_keys_of_its_own_with_an_end()
    {
        await using var lab = await Lab.StartAsync(new LabOptions());

        var assumed = await new AwsClient(lab).StsAsync("AssumeRole", ("RoleArn", "arn:aws:iam::123456789012:role/deploy"), ("RoleSessionName", "me"), ("DurationSeconds", "900"));

        var key = new AccessKey(assumed.One("AccessKeyId"), assumed.One("SecretAccessKey"), assumed.One("SessionToken"), null, lab.User.Principal);
        Assert.Equal("arn:aws:sts::123456789012:assumed-role/deploy/me", (await new AwsClient(lab, key).StsAsync("GetCallerIdentity")).One("Arn"));
        Assert.InRange(DateTimeOffset.Parse(assumed.One("Expiration"), null) - lab.Options.Time.GetUtcNow(), TimeSpan.FromSeconds(870), TimeSpan.FromSeconds(900));
    }

    [Theory]
    [InlineData("arn:aws:iam::123456789012:user/deploy", "me", "3600", "ValidationError")]
    [InlineData("arn:aws:iam::123456789012:role/deploy", "m", "3600", "ValidationError")]
    [InlineData("arn:aws:iam::123456789012:role/deploy", "me", "899", "ValidationError")]
    [InlineData("arn:aws:iam::999999999999:role/deploy", "me", "3600", "AccessDenied")]
    public async Task A_role_that_cannot_be_assumed_is_refused(string role, string session, string seconds, string code)
    {
        await using var lab = await Lab.StartAsync(new LabOptions());

        Assert.Equal(code, (await new AwsClient(lab).StsAsync("AssumeRole", ("RoleArn", role), ("RoleSessionName", session), ("DurationSeconds", seconds))).Code);
    }

    [Fact]
    public async Task An_action_or_version_that_STS_does_not_have_is_refused()
    {
        await using var lab = await Lab.StartAsync(new LabOptions());
        var client = new AwsClient(lab);

        Assert.Equal("InvalidAction", (await client.StsAsync("AssumeEverything")).Code);
        Assert.Equal("InvalidAction", (await client.SendAsync("sts", new FormUrlEncodedContent([new("Action", "GetCallerIdentity"), new("Version", "2016-11-15")]))).Code);
        Assert.Equal("ValidationError", (await client.StsAsync("AssumeRole", ("RoleSessionName", "me"))).Code);
    }
}
