using Mayfly.Aws;
using Mayfly.Contract;
using Mayfly.Lab;
using Mayfly.Lab.Aws;
using Mayfly.Lab.Ec2;
using Xunit;

namespace Mayfly.Agent.Tests;

/// <summary>Step 6 from the instance's own tags: written as the controller writes them, read from the lab's metadata service,
/// deleted by the instance's own role.</summary>
public sealed class ConfigTagsTests : IAsyncLifetime
{
    private readonly StringWriter _console = new();
    private readonly HurriedTime _time = new();
    private Lab.Lab _lab = null!;
    private Instance _instance = null!;
    private HttpClient _http = null!;
    private AwsConnection _own = null!;
    private AwsConnection _controllers = null!;

    public async ValueTask InitializeAsync()
    {
        (_lab, _instance) = await LaunchedInstance.StartAsync(_time, (Tags.Config, "tags"));
        _http = new HttpClient(WipedConnections.MakeHandler(Timeout.InfiniteTimeSpan, useProxy: false)) { BaseAddress = await _lab.OpenImdsAsync(_instance.Id) };
        Environment.SetEnvironmentVariable("AWS_ENDPOINT_URL_EC2", _lab.AwsAddress.AbsoluteUri);
        _own = AwsConnection.To("ec2", _lab.Options.Region, new InstanceRole(new Imds(_http, _time), _time).KeysAsync, TimeSpan.FromSeconds(10), _time);
        _controllers = AwsConnection.To("ec2", _lab.Options.Region, new AwsKeys(_lab.User.Id, _lab.User.Secret, null), TimeSpan.FromSeconds(10), _time);
    }

    public async ValueTask DisposeAsync()
    {
        _own.Dispose();
        _controllers.Dispose();
        _http.Dispose();
        await _lab.DisposeAsync();
    }

    [Fact]
    public async Task A_configuration_is_taken_from_the_tags_and_deleted_there()
    {
        await TagAsync(ConfigTags.Split(TakeConfigTests.Packed()));

        using var config = await TakeAsync();

        Assert.Equal("{}"u8.ToArray(), config.Files.Contents[0].Reveal().ToArray());
        Assert.Equal([Tags.Config], _instance.Tags.Keys);
    }

    [Fact]
    public async Task The_largest_envelope_fits_beside_an_instances_other_tags_and_comes_back_whole()
    {
        var envelope = Envelope.Version + new string('A', Envelope.MaxCharacters - Envelope.Version.Length);

        var tags = ConfigTags.Split(envelope);

        Assert.All(tags, t => Assert.InRange(t.Value.Length, 1, 256));
        Assert.Equal(ConfigTags.Keys.Order(StringComparer.Ordinal), tags.Keys.Order(StringComparer.Ordinal));
        Assert.Equal(envelope, string.Concat(ConfigTags.PiecesOf(tags[ConfigTags.CountKey], [.. tags.Keys])!.Select(k => tags[k])));
        await TagAsync(tags);
        Assert.Equal(EnvelopeFault.TooLarge, Assert.Throws<EnvelopeException>(() => ConfigTags.Split(envelope + "A")).Fault);
    }

    [Theory]
    [InlineData(ConfigTags.CountKey)]
    [InlineData("mayfly:config-1")]
    [InlineData("mayfly:config-3")]
    public async Task A_set_of_which_one_tag_is_missing_is_never_taken_for_whole(string missing)
    {
        var tags = ConfigTags.Split(new string('A', 700)).Where(t => t.Key != missing).ToDictionary();
        await TagAsync(tags);

        await EndsAsync("config-absent");

        Assert.Equal(tags.Count + 1, _instance.Tags.Count);
    }

    [Theory]
    [InlineData("0")]
    [InlineData("17")]
    [InlineData("many")]
    public void A_count_that_no_set_has_is_never_whole(string count) => Assert.Null(ConfigTags.PiecesOf(count, ConfigTags.Keys.ToList()));

    [Fact]
    public async Task A_set_that_comes_late_is_waited_for()
    {
        var looks = 0;
        _lab.Imds.Disturb = path =>
        {
            if (path.EndsWith("/tags/instance", StringComparison.Ordinal) && ++looks == 3)
                TagAsync(ConfigTags.Split(TakeConfigTests.Packed())).GetAwaiter().GetResult();
            return null;
        };

        using var config = await TakeAsync();

        Assert.True(looks > 3);
    }

    [Fact]
    public async Task Metadata_that_lags_behind_the_deletion_is_waited_for()
    {
        await TagAsync(ConfigTags.Split(TakeConfigTests.Packed()));
        _lab.Imds.TagLag = TimeSpan.FromSeconds(20);

        using var config = await TakeAsync();

        Assert.Equal([Tags.Config], _instance.TagsAt(_time.GetUtcNow() - _lab.Imds.TagLag).Keys);
    }

    [Fact]
    public async Task Metadata_that_never_forgets_the_tags_runs_no_job()
    {
        await TagAsync(ConfigTags.Split(TakeConfigTests.Packed()));
        _time.Move(TimeSpan.FromMinutes(10));
        _lab.Imds.TagLag = TimeSpan.FromMinutes(5);

        Assert.Contains("still be read after its deletion", await EndsAsync("config-not-deleted"), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("UnauthorizedOperation", 403)]
    [InlineData("RequestLimitExceeded", 503)]
    public async Task Tags_that_cannot_be_deleted_run_no_job(string code, int status)
    {
        await TagAsync(ConfigTags.Split(TakeConfigTests.Packed()));
        _lab.Ec2.Disturb = (action, _) =>
        {
            if (action == "DeleteTags")
                throw new AwsFault(code, "the lab was told to", status);
        };

        Assert.Contains(code, await EndsAsync("config-not-deleted"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_deletion_that_is_refused_at_first_is_asked_for_again()
    {
        await TagAsync(ConfigTags.Split(TakeConfigTests.Packed()));
        var refusals = 2;
        _lab.Ec2.Disturb = (action, _) =>
        {
            if (action == "DeleteTags" && refusals-- > 0)
                throw new AwsFault("UnauthorizedOperation", "not yet", 403);
        };

        using var config = await TakeAsync();

        Assert.Equal([Tags.Config], _instance.Tags.Keys);
    }

    [Fact]
    public async Task A_metadata_service_that_fails_to_the_last_is_told_apart()
    {
        _lab.Imds.Disturb = path => path.EndsWith("/tags/instance", StringComparison.Ordinal) ? 503 : null;

        await EndsAsync("config-unreachable");
    }

    [Fact]
    public async Task What_cannot_be_used_is_deleted_all_the_same()
    {
        await TagAsync(ConfigTags.Split("mf1.AwA="));

        await EndsAsync("config-truncated");

        Assert.Equal([Tags.Config], _instance.Tags.Keys);
    }

    private async Task EndsOrTakeAsync() => (await TakeAsync()).Dispose();

    private async Task<string> EndsAsync(string ending)
    {
        var e = await Assert.ThrowsAsync<EndingException>(EndsOrTakeAsync);
        Assert.Equal(ending, e.Ending.Name);
        return e.Ending.Detail;
    }

    private Task TagAsync(IReadOnlyDictionary<string, string> tags) => new Ec2Client(_controllers).CreateTagsAsync(_instance.Id, tags, CancellationToken.None);

    private Task<JitConfig> TakeAsync() => JitConfig.TakeAsync(new TagSource(new Imds(_http, _time), new Ec2Client(_own), _instance.Id),
        new Narration(new TakeConfigTests.ConsoleStream(_console), () => 1, []), _time, TestContext.Current.CancellationToken);
}
