using System.Net.Sockets;
using Mayfly.Aws;
using Mayfly.Contract;
using Mayfly.Lab;
using Mayfly.Lab.Aws;
using Mayfly.Lab.Ec2;
using Xunit;

namespace Mayfly.Agent.Tests;

/// <summary>Step 5, and the role's keys, against the lab's metadata service.</summary>
public sealed class ImdsTests : IAsyncLifetime
{
    private readonly HurriedTime _time = new();
    private readonly List<string> _asked = [];
    private Lab.Lab _lab = null!;
    private Instance _instance = null!;
    private HttpClient _http = null!;
    private Imds _imds = null!;

    public async ValueTask InitializeAsync()
    {
        (_lab, _instance) = await LaunchedInstance.StartAsync(_time, (Tags.Launch, "octo-org/octo-repo:1-1"), (Tags.IdleTimeout, "60"), ("cost-centre", "42"));
        _http = new HttpClient(WipedConnections.MakeHandler(Timeout.InfiniteTimeSpan, useProxy: false)) { BaseAddress = await _lab.OpenImdsAsync(_instance.Id) };
        _imds = new Imds(_http, _time);
        _lab.Imds.Disturb = Note;
    }

    public async ValueTask DisposeAsync()
    {
        _http.Dispose();
        await _lab.DisposeAsync();
    }

    [Fact]
    public async Task Only_our_own_tags_are_read_and_only_those_that_are_there()
    {
        await _imds.WaitUntilReachableAsync(TimeSpan.FromSeconds(1), Cancel);
        var me = await Identity.LearnAsync(_imds, Cancel);

        Assert.Equal((_instance.Id, "eu-central-1", "octo-org/octo-repo:1-1", TimeSpan.FromSeconds(60)), (me.InstanceId, me.Region, me.Settings.Launch, me.Settings.IdleTimeout));
        const string tags = "/latest/meta-data/tags/instance";
        Assert.Equal(["/latest/api/token", "/latest/dynamic/instance-identity/document", tags, $"{tags}/{Tags.IdleTimeout}", $"{tags}/{Tags.Launch}"], _asked.Order(StringComparer.Ordinal));
    }

    [Fact]
    public async Task An_hour_on_a_spot_instance_asks_for_a_notice_at_each_look_and_for_a_recommendation_at_each_sixth()
    {
        _ = _lab.Fleet.RunInstances(new QueryInput(new Dictionary<string, string>
        {
            ["MinCount"] = "1", ["MaxCount"] = "1", ["LaunchTemplate.LaunchTemplateName"] = "mayfly", ["InstanceMarketOptions.MarketType"] = "spot",
        }));
        using var http = new HttpClient(WipedConnections.MakeHandler(Timeout.InfiniteTimeSpan, useProxy: false))
        {
            BaseAddress = await _lab.OpenImdsAsync(_lab.Fleet.Instances.Single(i => i.Id != _instance.Id).Id),
        };
        var spot = new SpotWatch(new Imds(http, _time), ProbeOf(http.BaseAddress), _ => { }, _time);

        for (var look = 0; look < 720; look++)
            Assert.Null(await spot.LookAsync(Cancel));

        Assert.Equal(
            [("instance-action", 720), ("instance-life-cycle", 1), ("rebalance", 120), ("token", 1)],
            _asked.CountBy(path => path.Split('/')[^1]).Select(asked => (asked.Key, asked.Value)).OrderBy(asked => asked.Key, StringComparer.Ordinal));
    }

    [Fact]
    public async Task A_notice_that_comes_after_quiet_looks_is_heard_of()
    {
        _ = _lab.Fleet.RunInstances(new QueryInput(new Dictionary<string, string>
        {
            ["MinCount"] = "1", ["MaxCount"] = "1", ["LaunchTemplate.LaunchTemplateName"] = "mayfly", ["InstanceMarketOptions.MarketType"] = "spot",
        }));
        var instance = _lab.Fleet.Instances.Single(i => i.Id != _instance.Id);
        using var http = new HttpClient(WipedConnections.MakeHandler(Timeout.InfiniteTimeSpan, useProxy: false)) { BaseAddress = await _lab.OpenImdsAsync(instance.Id) };
        var spot = new SpotWatch(new Imds(http, _time), ProbeOf(http.BaseAddress), _ => { }, _time);
        for (var look = 0; look < 3; look++)
            Assert.Null(await spot.LookAsync(Cancel));

        instance.SpotAction = """{"action":"terminate","time":"2026-11-21T12:00:00Z"}""";

        Assert.Equal(new Happening.SpotNoticed("terminate at 2026-11-21T12:00:00Z"), await spot.LookAsync(Cancel));
    }

    [Theory]
    [InlineData(429)]
    [InlineData(500)]
    [InlineData(503)]
    public async Task A_passing_throttle_or_fault_is_outlived(int status)
    {
        var tries = new Dictionary<string, int>();
        Disturb(path => tries[path] = tries.GetValueOrDefault(path) + 1, path => tries[path] <= 4 ? status : null);

        Assert.Equal(_instance.Id, (await Identity.LearnAsync(_imds, Cancel)).InstanceId);
    }

    [Fact]
    public async Task A_lasting_throttle_ends_with_the_path_and_the_status()
    {
        await _imds.WaitUntilReachableAsync(TimeSpan.FromSeconds(1), Cancel);
        var asked = 0;
        Disturb(_ => asked++, _ => 503);

        var e = await Assert.ThrowsAsync<HttpRequestException>(() => _imds.GetAsync("latest/meta-data/instance-id", Cancel));

        Assert.Equal(5, asked);
        Assert.Contains("latest/meta-data/instance-id with HTTP 503", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_is_forbidden_is_not_asked_again()
    {
        await _imds.WaitUntilReachableAsync(TimeSpan.FromSeconds(1), Cancel);
        var asked = 0;
        Disturb(_ => asked++, _ => 403);

        await Assert.ThrowsAsync<HttpRequestException>(() => _imds.GetAsync("latest/meta-data/instance-id", Cancel));

        Assert.Equal(1, asked);
    }

    [Fact]
    public async Task A_token_that_the_service_no_longer_knows_is_replaced()
    {
        await _imds.WaitUntilReachableAsync(TimeSpan.FromSeconds(1), Cancel);
        _lab.Imds.ForgetTokens();

        Assert.Equal(_instance.Id, await _imds.GetAsync("latest/meta-data/instance-id", Cancel));
    }

    [Fact]
    public async Task The_roles_keys_sign_and_are_read_once_while_they_hold()
    {
        var role = new InstanceRole(_imds, _time);

        var keys = await role.KeysAsync(Cancel);

        Assert.Equal(_instance.Arn, _lab.Keys.Find(keys.Id)?.Principal.InstanceArn);
        Assert.Same(keys, await role.KeysAsync(Cancel));
        Assert.Equal("***", $"{keys}");
    }

    [Fact]
    public async Task Hours_later_the_roles_keys_are_others()
    {
        var role = new InstanceRole(_imds, _time);
        var keys = await role.KeysAsync(Cancel);

        _time.Move(TimeSpan.FromHours(6) - TimeSpan.FromMinutes(4));

        Assert.NotEqual(keys.Id, (await role.KeysAsync(Cancel)).Id);
    }

    [Fact]
    public async Task Keys_that_are_not_there_yet_are_waited_for()
    {
        var asked = 0;
        Disturb(path => asked += path.Contains("security-credentials", StringComparison.Ordinal) ? 1 : 0, _ => asked is > 0 and < 5 ? 404 : null);

        Assert.NotEmpty((await new InstanceRole(_imds, _time).KeysAsync(Cancel)).Id);
    }

    [Fact]
    public async Task An_instance_without_a_role_is_told_where_to_look()
    {
        Disturb(_ => { }, path => path.Contains("security-credentials", StringComparison.Ordinal) ? 404 : null);

        var e = await Assert.ThrowsAsync<RoleException>(() => new InstanceRole(_imds, _time).KeysAsync(Cancel).AsTask());

        Assert.Contains("instance profile", e.Message, StringComparison.Ordinal);
    }

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    private int? Note(string path)
    {
        lock (_asked)
            _asked.Add(path);
        return null;
    }

    private void Disturb(Action<string> note, Func<string, int?> status)
    {
        var gate = new Lock();
        _lab.Imds.Disturb = path =>
        {
            if (path == "/latest/api/token")
                return null;
            lock (gate)
            {
                note(path);
                return status(path);
            }
        };
    }

    /// <summary>As the agent's, without the mark, which only root may set.</summary>
    private static NotFoundProbe ProbeOf(Uri address) => new(address.Authority, () => new TcpClient(address.Host, address.Port).GetStream());
}
