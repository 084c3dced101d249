using Mayfly.Controller.Database;

namespace Mayfly.Controller.Tests;

/// <summary>What two controllers can do to each other on one PostgreSQL, at moments that are chosen. <see cref="SeveralControllersTests"/>
/// leaves the moment to chance.</summary>
public sealed class SharedStoreTests(PostgresServer postgres) : IAsyncDisposable
{
    /// <summary>PostgreSQL holds its lease against its own clock: over as soon as it is written.</summary>
    private static readonly TimeSpan NoLease = TimeSpan.FromTicks(-1);

    private readonly List<IAsyncDisposable> _opened = [];

    public async ValueTask DisposeAsync()
    {
        foreach (var opened in _opened.AsEnumerable().Reverse())
            await opened.DisposeAsync();
    }

    /// <summary>As when a host loses its power or its network: the server is told nothing, and nothing is mended.</summary>
    [Fact]
    public async Task A_controller_that_vanishes_in_the_middle_of_a_transaction_holds_the_others_up_for_seconds_only()
    {
        var database = await postgres.NewDatabaseAsync();
        var other = await OpenAsync(database);
        await QueueAsync(other, 1);
        var delivery = Some.Delivery();
        await other.Deliveries.AcceptAsync(delivery);

        var (claim, claims) = await CuttableAsync(database);
        var (intake, takes) = await CuttableAsync(database);
        var (beat, renews) = await CuttableAsync(database);
        await renews.Membership.RenewAsync();
        Task[] vanished =
        [
            claims.Queue.ClaimAsync(1, (waiting, _, _) =>
            {
                claim.Cut();
                return waiting.First();
            }),
            CutAsync(intake, takes, async sql => await Deliveries.TakeAsync(sql, 100)),
            CutAsync(beat, renews, async sql => await sql.ExecuteAsync("UPDATE controller SET alive_until = alive_until")),
        ];
        await Task.WhenAll(claim.Held, intake.Held, beat.Held).WaitAsync(World.Limit, TestContext.Current.CancellationToken);

        var (claimed, renewed, taken) = (ClaimAsync(other), other.Membership.RenewAsync(), TakenAsync());
        Assert.Equal(1, Assert.Single(await claimed).JobId);
        Assert.True(await renewed);
        Assert.Equal(delivery.Id, await taken);
        Assert.All(vanished, v => Assert.False(v.IsCompletedSuccessfully));

        // A row that another works on is passed over, not waited for.
        async Task<string> TakenAsync()
        {
            using var limit = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
            limit.CancelAfter(World.Limit);
            while (true)
            {
                if (await other.TransactAsync(sql => Deliveries.TakeAsync(sql, 100)) is [var (id, _)])
                    return id;
                await Task.Delay(TimeSpan.FromMilliseconds(50), TimeProvider.System, limit.Token);
            }
        }
    }

    [Fact]
    public async Task A_job_that_leaves_the_queue_while_its_turn_is_decided_gets_no_machine()
    {
        var database = await postgres.NewDatabaseAsync();
        var (claims, other) = (await OpenAsync(database), await OpenAsync(database));
        var (cancelled, refused, waits) = (await QueueAsync(other, 1), await QueueAsync(other, 2), await QueueAsync(other, 3));
        var claimed = await claims.Queue.ClaimAsync(10, (waiting, _, _) =>
        {
            if (waiting.Count == 3)
                LeaveAsync().Wait();
            return waiting.FirstOrDefault();
        });
        Assert.Equal(waits, Assert.Single(claimed).Id);
        Assert.Equal(LaunchState.Dropped, (await other.Launches.FindAsync(cancelled))!.State);
        Assert.Equal(LaunchState.Refused, (await other.Launches.FindAsync(refused))!.State);
        await Assert.ThrowsAsync<ClaimLostException>(() => claims.Launches.StoringAsync(cancelled, "i-1"));

        async Task LeaveAsync()
        {
            await other.TransactAsync(async sql =>
            {
                await Launches.RecordAsync(sql, Job(1) with { Action = JobAction.Completed, Conclusion = "cancelled" });
                return 0;
            });
            Assert.True(await other.Queue.RefuseWaitingAsync(refused, "too large"));
        }
    }

    /// <summary>As a restart of the server does, or its doubt that anybody is there.</summary>
    [Fact]
    public async Task A_transaction_whose_connection_the_server_closes_is_run_again()
    {
        var database = await postgres.NewDatabaseAsync();
        var (store, other) = (await OpenAsync(database), await OpenAsync(database));
        var runs = 0;
        Assert.Equal(2, await store.TransactAsync(async sql =>
        {
            var backend = (await sql.QueryAsync("SELECT pg_backend_pid()", row => row.Integer(0)))[0];
            await sql.ExecuteAsync("INSERT INTO turn (repository, taken_at) VALUES ('once', '')");
            if (++runs == 1)
                await other.TransactAsync(async o => await o.QueryAsync("SELECT pg_terminate_backend(?1::int)::int", row => row.Integer(0), backend));
            await sql.ExecuteAsync("UPDATE turn SET taken_at = 'again'");
            return runs;
        }));
    }

    private static WorkflowJob Job(long id) => Some.Job(JobAction.Queued, "mayfly") with { Id = id };

    private static async Task<LaunchId> QueueAsync(Store store, long job) => (await store.TransactAsync(sql => LaunchQueue.AddAsync(sql, Job(job), Some.Order(4)))).Launch.Id;

    private static Task<List<LaunchRecord>> ClaimAsync(Store store) => store.Queue.ClaimAsync(10, (waiting, _, _) => waiting.FirstOrDefault());

    /// <summary>A transaction that has done all that it wanted when its line is cut.</summary>
    private static Task<T> CutAsync<T>(CuttableLine line, Store store, Func<ISql, ValueTask<T>> act) => store.TransactAsync(async sql =>
    {
        var result = await act(sql);
        line.Cut();
        return result;
    });

    private async Task<(CuttableLine Line, Store Store)> CuttableAsync(string database)
    {
        var line = new CuttableLine(postgres.Socket);
        _opened.Add(line);
        var store = await OpenAsync(line.To(database), NoLease);
        return (line, store);
    }

    private async Task<Store> OpenAsync(string database, TimeSpan? lease = null)
    {
        var store = await Store.OpenAsync(database, lease ?? Some.Lease, TimeProvider.System);
        _opened.Add(store);
        return store;
    }
}
