using Mayfly.Aws;
using Microsoft.Extensions.Logging.Abstractions;

namespace Mayfly.Controller.Tests;

/// <summary>What becomes of deliveries that stand in the inbox, on both databases.</summary>
public sealed class IntakeTests(PostgresServer postgres) : IAsyncDisposable
{
    private readonly OpenedStores _stores = new(postgres);
    private readonly SsmClient _nobody = new(AwsConnection.To("ssm", "eu-central-1", new AwsKeys("", "", null), TimeSpan.FromSeconds(1), TimeProvider.System));
    private readonly LogLines<Intake> _log = new();
    private Store _store = null!;
    private PolicySource _policy = null!;

    public static TheoryData<string> Kinds => StoreTests.Kinds;

    public async ValueTask DisposeAsync()
    {
        _policy.Dispose();
        await _stores.DisposeAsync();
    }

    /// <summary>YAML and JSON can write this character, and PostgreSQL's texts cannot hold it.</summary>
    [Theory]
    [MemberData(nameof(Kinds))]
    public async Task A_job_whose_name_holds_a_null_character_is_queued(string kind)
    {
        var intake = await StartAsync(kind);
        var delivery = Named("a\0b", 1);
        await _store.Deliveries.AcceptAsync(delivery);
        await intake.WorkAsync();
        Assert.Empty(await _store.Deliveries.OpenAsync());
        var job = Assert.Single(await ClaimAsync());
        Assert.StartsWith("a", job.Name, StringComparison.Ordinal);
        Assert.EndsWith("b", job.Name, StringComparison.Ordinal);
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public async Task A_delivery_that_the_store_refuses_keeps_no_other_back_and_is_set_aside_in_the_end(string kind)
    {
        var intake = await StartAsync(kind);
        await ExecuteAsync("CREATE UNIQUE INDEX refuse ON launch (name) WHERE name = 'refused'");
        Delivery[] deliveries = [Named("before", 1), Named("refused", 2), Named("refused", 3), Named("after", 4)];
        foreach (var delivery in deliveries)
            await _store.Deliveries.AcceptAsync(delivery);
        await intake.WorkAsync();
        Assert.Equal(["after", "before", "refused"], (await ClaimAsync()).Select(l => l.Name).Order());
        var refused = Assert.Single(await _store.Deliveries.OpenAsync());

        for (var turns = 1; await _store.Deliveries.OpenAsync() is not []; turns++)
        {
            Assert.InRange(turns, 1, Intake.MostTries);
            await _store.Deliveries.AcceptAsync(Named($"meanwhile {turns}", 10 + turns));
            await intake.WorkAsync();
            Assert.Equal($"meanwhile {turns}", Assert.Single(await ClaimAsync()).Name);
        }

        Assert.Contains(_log.All, line => line.Contains($"delivery {refused} is set aside", StringComparison.Ordinal));
        Assert.Equal(1, await ExecuteAsync("UPDATE delivery SET done = 0, attempts = 0 WHERE done = 1 AND attempts >= 10")); // as docs/controller.md says
        await ExecuteAsync("DROP INDEX refuse");
        await intake.WorkAsync();
        Assert.Equal("refused", Assert.Single(await ClaimAsync()).Name);
    }

    [Fact]
    public async Task A_store_that_cannot_be_written_costs_no_delivery_a_try()
    {
        var intake = await StartAsync("sqlite");
        await _store.Deliveries.AcceptAsync(Named("build", 1));
        await ExecuteAsync("CREATE TRIGGER no_space BEFORE UPDATE ON delivery BEGIN SELECT RAISE(ABORT, 'disk full'); END");
        for (var turns = 0; turns <= Intake.MostTries; turns++)
            await Assert.ThrowsAsync<Database.StoreException>(intake.WorkAsync);
        await ExecuteAsync("DROP TRIGGER no_space");
        await intake.WorkAsync();
        Assert.Equal("build", Assert.Single(await ClaimAsync()).Name);
    }

    private static Delivery Named(string name, long job) => Some.Delivery(e => (e["workflow_job"]!["name"], e["workflow_job"]!["id"]) = (name, job));

    private Task<int> ExecuteAsync(string statement) => _store.TransactAsync(sql => sql.ExecuteAsync(statement));

    /// <summary>Each job once, since this controller counts as alive.</summary>
    private Task<List<LaunchRecord>> ClaimAsync() => _store.Queue.ClaimAsync(10, (waiting, _, _) => waiting.FirstOrDefault());

    private async Task<Intake> StartAsync(string kind)
    {
        var (settings, time) = (Some.Settings(), TimeProvider.System);
        _store = await _stores.OpenAsync(await _stores.SettingAsync(kind), time);
        await _store.Membership.RenewAsync();
        _policy = new PolicySource(await PolicySource.ReadAsync(settings, TestContext.Current.CancellationToken), settings, _nobody, time, NullLogger<PolicySource>.Instance);
        return new Intake(_store, _policy, new InboxWake(time), new QueueWake(time), Some.Health(_store, time), _log);
    }
}
