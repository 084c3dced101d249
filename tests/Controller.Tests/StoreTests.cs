using Mayfly.Controller.Costs;
using Mayfly.Controller.Database;

namespace Mayfly.Controller.Tests;

/// <summary>What is kept and how it is handed out: the same on SQLite and on PostgreSQL.</summary>
public sealed class StoreTests(PostgresServer postgres) : IAsyncDisposable
{
    private readonly OpenedStores _stores = new(postgres);
    private readonly ManualTime _time = new(new DateTimeOffset(2026, 11, 21, 12, 0, 0, TimeSpan.Zero));

    public static TheoryData<string> Kinds => ["sqlite", "postgresql"];

    public ValueTask DisposeAsync() => _stores.DisposeAsync();

    [Theory]
    [MemberData(nameof(Kinds))]
    public async Task A_launch_keeps_what_became_of_it(string kind)
    {
        var store = await OpenAsync(kind);
        var id = await QueueAsync(store, 1);
        Assert.Equal((LaunchState.Waiting, null, 0), await SeenAsync());
        Assert.Equal(id, Assert.Single(await ClaimAsync(store)).Id);
        Assert.Equal((LaunchState.Launching, null, 0), await SeenAsync());
        await store.Launches.StoringAsync(id, "i-1");
        Assert.Equal((LaunchState.Storing, "i-1", 0), await SeenAsync());
        await store.Launches.UndoingAsync(id, "i-1");
        Assert.Equal((LaunchState.Undoing, "i-1", 0), await SeenAsync());
        Assert.Equal(1, await store.Launches.UndoneAsync(id));
        Assert.Equal((LaunchState.Launching, null, 1), await SeenAsync());
        await store.Launches.LaunchedAsync(id, "i-2");
        Assert.Equal("i-2", Assert.Single(await store.Launches.AliveAsync()).InstanceId);
        await store.Launches.EndedAsync(id, "job-succeeded: done", "[]");
        Assert.Empty(await store.Launches.AliveAsync());
        var launch = (await store.Launches.FindAsync(id))!;
        Assert.Equal(("job-succeeded: done", "[]"), (launch.Ending, launch.Timeline));

        async Task<(LaunchState, string?, int)> SeenAsync() => await store.Launches.FindAsync(id) is { } l ? (l.State, l.InstanceId, l.Spent) : default;
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public async Task A_launch_tells_all_of_its_job(string kind)
    {
        var store = await OpenAsync(kind);
        await QueueAsync(store, 7);
        var launch = Assert.Single(await ClaimAsync(store));
        Assert.Equal((new Repo(87_654_321, "octo-org/octo-repo"), 7, 13_000_000_001, 1, 1, "build", 1, "mayfly-7-1"),
            (launch.Repo, launch.JobId, launch.RunId, launch.Attempt, launch.Machine, launch.Name, launch.Tries, launch.Runner));
        Assert.Equal(Some.Text(Some.Order(4)), Some.Text(launch.Order));
        Assert.Equal(["mayfly", "'; DROP TABLE launch; -- ü"], launch.Labels);
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public async Task A_job_that_is_queued_again_is_known(string kind)
    {
        var store = await OpenAsync(kind);
        var job = Job(1);
        Assert.True((await store.TransactAsync(sql => LaunchQueue.AddAsync(sql, job, Order.Nothing))).IsNew);
        var (known, isNew) = await store.TransactAsync(sql => LaunchQueue.AddAsync(sql, job, Order.Nothing));
        Assert.Equal((false, LaunchState.Waiting), (isNew, known.State));
        Assert.Single(await ClaimAsync(store));
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public async Task Who_took_a_job_and_how_it_ended_are_kept_in_any_order(string kind)
    {
        var store = await OpenAsync(kind);
        var id = await QueueAsync(store, 1);
        await ClaimAsync(store);
        await RecordAsync(store, Job(1, JobAction.Completed) with { Conclusion = "success" });
        await RecordAsync(store, Job(1, JobAction.InProgress) with { RunnerName = "mayfly-1-1" });
        var launch = (await store.Launches.FindAsync(id))!;
        Assert.Equal(("mayfly-1-1", "success", 1L), (launch.RunnerName, launch.Conclusion, launch.TookJob));
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public async Task A_runner_that_took_another_job_is_known_to_have(string kind)
    {
        var store = await OpenAsync(kind);
        var (first, second) = (await QueueAsync(store, 1), await QueueAsync(store, 2));
        await ClaimAsync(store);
        await RecordAsync(store, Job(2, JobAction.InProgress) with { RunnerName = "mayfly-1-1" });
        Assert.Equal((2L, null), ((await store.Launches.FindAsync(first))!.TookJob, (await store.Launches.FindAsync(first))!.RunnerName));
        Assert.Equal((null, "mayfly-1-1"), ((await store.Launches.FindAsync(second))!.TookJob, (await store.Launches.FindAsync(second))!.RunnerName));
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public async Task A_job_that_ended_or_began_before_it_had_a_machine_gets_none(string kind)
    {
        var store = await OpenAsync(kind);
        await QueueAsync(store, 1);
        await RecordAsync(store, Job(1, JobAction.Completed) with { Conclusion = "cancelled" });
        await RecordAsync(store, Job(2, JobAction.InProgress) with { RunnerName = "somebody" });
        var (late, isNew) = await store.TransactAsync(sql => LaunchQueue.AddAsync(sql, Job(2), Order.Nothing));
        Assert.Equal((false, LaunchState.Dropped), (isNew, late.State));
        Assert.Empty(await ClaimAsync(store));
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public async Task A_job_that_waits_for_its_environment_leaves_the_queue_and_comes_back(string kind)
    {
        var store = await OpenAsync(kind);
        await QueueAsync(store, 1);
        await store.TransactAsync(async sql =>
        {
            await LaunchQueue.DropAsync(sql, Job(1), "it waits");
            return 0;
        });
        Assert.Empty(await ClaimAsync(store));
        await QueueAsync(store, 1);
        Assert.Single(await ClaimAsync(store));
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public async Task A_job_whose_machine_is_of_no_use_gets_another_once(string kind)
    {
        var store = await OpenAsync(kind);
        await QueueAsync(store, 1);
        var first = Assert.Single(await ClaimAsync(store));
        await store.Launches.LaunchedAsync(first.Id, "i-1");
        Assert.True(await store.Queue.ReplaceAsync(first));
        Assert.False(await store.Queue.ReplaceAsync(first));
        var second = Assert.Single(await ClaimAsync(store));
        Assert.Equal(("1-1-2", 2, "mayfly-1-1-2", Some.Text(first.Order)), (second.Id.Key, second.Machine, second.Runner, Some.Text(second.Order)));
        Assert.Equal(2, (await store.TransactAsync(sql => LaunchQueue.AddAsync(sql, Job(1), Order.Nothing))).Launch.Machine);
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public async Task A_launch_that_failed_is_claimed_again_after_its_pause(string kind)
    {
        var store = await OpenAsync(kind);
        await store.Membership.RenewAsync();
        var (later, now) = (await QueueAsync(store, 1), await QueueAsync(store, 2));
        await ClaimAsync(store);
        Assert.Empty(await ClaimAsync(store));
        await store.Launches.AgainAfterAsync(later, TimeSpan.FromHours(1));
        await store.Launches.AgainAfterAsync(now, TimeSpan.FromSeconds(-1));
        store.Queue.Left(later);
        store.Queue.Left(now);
        var again = Assert.Single(await ClaimAsync(store));
        Assert.Equal((now, 2), (again.Id, again.Tries));
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public async Task Whose_turn_it_is_decides_who_is_told_what_waits_and_what_is_alive(string kind)
    {
        var store = await OpenAsync(kind);
        for (var job = 1; job <= 3; job++)
            await QueueAsync(store, job);
        var claimed = await store.Queue.ClaimAsync(10, (waiting, alive, _) => alive.GetValueOrDefault("octo-org/octo-repo", Load.None) is { Machines: < 2, Vcpus: < 8 } ? waiting.Last() : null);
        Assert.Equal(["3-1", "2-1"], claimed.Select(l => l.Id.Key));
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public async Task The_first_in_line_of_every_repository_are_told_of_as_many_as_can_be_claimed(string kind)
    {
        var store = await OpenAsync(kind);
        var repositories = Enumerable.Range(0, 20).Select(i => $"octo-org/repo-{i:D2}").ToList();
        for (var job = 1; job <= 3; job++)
        {
            foreach (var repository in repositories)
                await store.TransactAsync(sql => LaunchQueue.AddAsync(sql, Job(job) with { Repository = repository }, Some.Order(4)));
            _time.Move(TimeSpan.FromSeconds(1)); // PostgreSQL's clock goes by itself
        }

        IReadOnlyCollection<WaitingLaunch> told = [];
        await store.Queue.ClaimAsync(2, (waiting, _, _) =>
        {
            told = waiting;
            return null;
        });
        Assert.Equal(repositories.SelectMany(r => (string[])[$"{r}:1-1", $"{r}:2-1"]), told.Select(l => $"{l.Id}").Order(StringComparer.Ordinal));
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public async Task Each_repository_is_told_of_with_its_last_turn(string kind)
    {
        var store = await OpenAsync(kind);
        await store.Membership.RenewAsync();
        await QueueAsync(store, 1);
        await QueueAsync(store, 2);
        var seen = new List<Load?>();
        for (var i = 0; i < 2; i++)
        {
            await store.Queue.ClaimAsync(1, (waiting, alive, now) =>
            {
                seen.Add(alive.GetValueOrDefault("octo-org/octo-repo"));
                Assert.True(seen[^1] is null || seen[^1]!.LastTurn <= now);
                return waiting.First();
            });
        }

        Assert.Null(seen[0]);
        Assert.Equal((1, 4), (seen[1]!.Machines, seen[1]!.Vcpus));
        Assert.NotNull(seen[1]!.LastTurn);
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public async Task Only_what_nobody_has_claimed_is_refused_out_of_the_queue(string kind)
    {
        var store = await OpenAsync(kind);
        await store.Membership.RenewAsync();
        var (claimed, waiting) = (await QueueAsync(store, 1), await QueueAsync(store, 2));
        Assert.Single(await store.Queue.ClaimAsync(1, (all, _, _) => all.First()));
        Assert.False(await store.Queue.RefuseWaitingAsync(claimed, "too large"));
        Assert.True(await store.Queue.RefuseWaitingAsync(waiting, "too large"));
        Assert.Equal((LaunchState.Launching, LaunchState.Refused), ((await store.Launches.FindAsync(claimed))!.State, (await store.Launches.FindAsync(waiting))!.State));
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public async Task What_a_controller_has_left_unfinished_it_takes_up_itself_if_nobody_else_does(string kind)
    {
        var store = await OpenAsync(kind);
        await store.Membership.RenewAsync();
        var (left, atWork) = (await QueueAsync(store, 1), await QueueAsync(store, 2));
        Assert.Equal(2, (await ClaimAsync(store)).Count);
        Assert.Empty(await ClaimAsync(store));
        store.Queue.Left(left);
        Assert.Equal((left, 2), Assert.Single(await ClaimAsync(store)) is var again ? (again.Id, again.Tries) : default);
        Assert.Empty(await ClaimAsync(store));

        // Silent for too long, it may be at them all the same: not twice.
        await store.Membership.LeaveAsync();
        Assert.Empty(await ClaimAsync(store));
        await store.Launches.LaunchedAsync(atWork, "i-1");
        store.Queue.Left(atWork);
        Assert.Empty(await ClaimAsync(store));
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public async Task What_a_controller_that_is_gone_was_at_is_taken_up_and_what_a_living_one_is_at_is_not(string kind)
    {
        var first = await OpenAsync(kind);
        Assert.True(await first.Membership.RenewAsync());
        var id = await QueueAsync(first, 1);
        Assert.Single(await ClaimAsync(first));
        var second = kind == "sqlite" ? first : await OpenAsync(kind);
        if (kind != "sqlite")
            Assert.False(await second.Membership.RenewAsync());
        Assert.Empty(await ClaimAsync(second));
        await first.Membership.LeaveAsync();
        first.Queue.Left(id);
        Assert.True(kind == "sqlite" || await second.Membership.RenewAsync());
        Assert.Equal(id, Assert.Single(await ClaimAsync(second)).Id);
        if (kind != "sqlite")
            await Assert.ThrowsAsync<ClaimLostException>(() => first.Launches.StoringAsync(id, "i-1"));
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public async Task A_delivery_is_kept_once_and_handed_out_until_it_is_done(string kind)
    {
        var store = await OpenAsync(kind);
        var (one, two) = (Some.Delivery(), Some.Delivery());
        Assert.True(await store.Deliveries.AcceptAsync(one));
        Assert.False(await store.Deliveries.AcceptAsync(one));
        Assert.True(await store.Deliveries.AcceptAsync(two));
        var taken = await store.TransactAsync(async sql =>
        {
            var (id, body) = (await Deliveries.TakeAsync(sql, 1))[0];
            await Deliveries.DoneAsync(sql, id);
            return body;
        });
        Assert.Equal(one.Body, taken);
        Assert.Equal([two.Id], await store.Deliveries.OpenAsync());
        await Assert.ThrowsAsync<InvalidOperationException>(() => store.TransactAsync<int>(async sql =>
        {
            await Deliveries.DoneAsync(sql, two.Id);
            throw new InvalidOperationException();
        }));
        Assert.Equal([two.Id], await store.Deliveries.OpenAsync());
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public async Task Opened_again_it_holds_the_same_and_migrates_nothing(string kind)
    {
        var id = await QueueAsync(await OpenAsync(kind), 1);
        Assert.NotNull(await (await OpenAsync(kind)).Launches.FindAsync(id));
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public async Task A_database_of_a_newer_controller_is_left_alone(string kind)
    {
        await (await OpenAsync(kind)).TransactAsync(async sql =>
        {
            await sql.SetSchemaVersionAsync(1000);
            return 0;
        });
        Assert.Contains("version 1000", (await Assert.ThrowsAsync<StoreException>(() => OpenAsync(kind))).Message, StringComparison.Ordinal);
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public async Task A_job_is_given_another_machine_once_and_refused_once(string kind)
    {
        var store = await OpenAsync(kind);
        await QueueAsync(store, 1);
        var first = Assert.Single(await ClaimAsync(store));
        await store.Launches.LaunchedAsync(first.Id, "i-1");
        await store.Launches.EndedAsync(first.Id, "idle: no job came", "[]");
        Assert.Equal(first.Id, Assert.Single(await UnsettledAsync(store)).Id);
        Assert.True(await store.Queue.ReplaceAsync(first));
        Assert.False(await store.Queue.ReplaceAsync(first));
        var second = Assert.Single(await ClaimAsync(store));
        Assert.Equal((2, "1-1-2"), (second.Machine, second.Id.Key));
        Assert.Equal(first.Labels, second.Labels);
        Assert.Equal(second.Id, Assert.Single(await UnsettledAsync(store)).Id); // the newest of a job tells
        Assert.True(await store.Queue.RefuseAnotherAsync(second, "enough"));
        Assert.False(await store.Queue.RefuseAnotherAsync(second, "enough"));
        var refused = (await store.Launches.FindAsync(second.Id with { Key = "1-1-3" }))!;
        Assert.Equal((LaunchState.Refused, "enough"), (refused.State, refused.Reason));
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public async Task What_is_settled_or_long_ago_is_not_looked_at_but_by_its_name(string kind)
    {
        var store = await OpenAsync(kind);
        var (done, lost) = (await QueueAsync(store, 1), await QueueAsync(store, 2));
        await ClaimAsync(store);
        foreach (var id in (LaunchId[])[done, lost])
            await store.Launches.EndedAsync(id, "job-succeeded: done", "[]");
        await RecordAsync(store, Job(1, JobAction.Completed) with { RunnerName = "mayfly-1-1", Conclusion = "success" });
        Assert.Equal(lost, Assert.Single(await UnsettledAsync(store)).Id);
        Assert.Empty(await store.Launches.UnsettledAsync(TimeSpan.FromSeconds(-5), []));
        Assert.Equal(done, Assert.Single(await store.Launches.UnsettledAsync(TimeSpan.FromSeconds(-5), [done, done, new LaunchId("octo-org/octo-repo", "none")])).Id);
        Assert.Equal(new Repo(87_654_321, "octo-org/octo-repo"), Assert.Single(await store.Launches.RepositoriesAsync()));
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public async Task An_interrupted_jobs_next_attempt_is_on_demand_also_where_another_jobs_machine_ran_it(string kind)
    {
        var store = await OpenAsync(kind);
        var order = Some.Order(4) with { Spot = SpotMode.Rerun };
        var (first, second) = (Job(1) with { Name = "first" }, Job(2) with { Name = "second" });
        foreach (var job in (WorkflowJob[])[first, second])
            await store.TransactAsync(sql => LaunchQueue.AddAsync(sql, job, order));
        await ClaimAsync(store);
        await RecordAsync(store, second with { Action = JobAction.InProgress, RunnerName = "mayfly-1-1" });
        await store.Launches.EndedAsync(new LaunchId(first.Repository, "1-1"), "spot-interrupted: gone", "[]", Rerun.Wanted);
        var machine = Assert.Single(await UnsettledAsync(store), l => l.Rerun == Rerun.Wanted);
        Assert.True(await store.Launches.RerunAsync(machine, 2, Rerun.Wanted));
        Assert.Equal(Rerun.Asked, (await store.Launches.FindAsync(new LaunchId(first.Repository, "2-1")))!.Rerun);

        var (again, _) = await store.TransactAsync(sql => LaunchQueue.AddAsync(sql, second with { Id = 3, Attempt = 2 }, order));
        Assert.Equal(SpotMode.OnDemand, again.Order.Spot);
        Assert.True((await store.TransactAsync(sql => LaunchQueue.AddAsync(sql, second with { Id = 4, Attempt = 2, Name = "depends on it" }, order))).Launch.Order.Spot == SpotMode.Rerun);
        Assert.False(await store.Launches.RerunAsync(machine, 2, Rerun.Wanted)); // the next attempt is here
        await store.Launches.RerunAsync(machine, 2, Rerun.Asked);
        Assert.DoesNotContain(await UnsettledAsync(store), l => l.Rerun == Rerun.Wanted);
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public async Task A_failed_delivery_is_handed_out_three_times_with_pauses_and_never_once_it_is_here(string kind)
    {
        var store = await OpenAsync(kind);
        var (failed, here) = ($"{Guid.NewGuid()}", Some.Delivery());
        await store.Deliveries.AcceptAsync(here);
        Assert.Null(await store.Redeliveries.ReadUntilAsync());
        var until = new DateTimeOffset(2026, 11, 21, 12, 0, 0, TimeSpan.Zero);
        await store.Redeliveries.NoteAsync([(failed, (1L << 53) + 1), (here.Id, 7)], until);
        Assert.Equal(until, await store.Redeliveries.ReadUntilAsync());
        Assert.Equal([(failed, (1L << 53) + 1)], await store.Redeliveries.TakeAsync(10));
        await store.Redeliveries.NoteAsync([(failed, (1L << 53) + 2)], until);
        Assert.Empty(await store.Redeliveries.TakeAsync(10));
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public async Task Deliveries_are_forgotten_by_their_age_the_oldest_first_and_never_while_they_are_open(string kind)
    {
        var store = await OpenAsync(kind);
        var all = new List<Delivery>();
        for (var i = 0; i < 4; i++)
        {
            all.Add(Some.Delivery());
            await store.Deliveries.AcceptAsync(all[i]);
            _time.Move(TimeSpan.FromSeconds(1));
        }

        foreach (var done in all.Skip(1))
        {
            await store.TransactAsync(async sql =>
            {
                await Deliveries.DoneAsync(sql, done.Id);
                return 0;
            });
        }

        Assert.Equal(0, await store.Deliveries.ForgetAsync(TimeSpan.FromDays(1), 10));
        Assert.Equal(2, await store.Deliveries.ForgetAsync(Future, 2));
        Assert.False(await store.Deliveries.AcceptAsync(all[3])); // known still
        Assert.Equal(1, await store.Deliveries.ForgetAsync(Future, 10));
        Assert.Equal((1, all[0].Id), (await store.Deliveries.CountAsync(), Assert.Single(await store.Deliveries.OpenAsync())));
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public async Task A_launch_is_forgotten_by_its_age_and_never_before_all_is_settled(string kind)
    {
        var store = await OpenAsync(kind);
        for (var job = 2; job <= 5; job++)
            await QueueAsync(store, job);
        var claimed = (await ClaimAsync(store)).ToDictionary(l => l.JobId);
        var waiting = await QueueAsync(store, 1);
        await store.Launches.LaunchedAsync(claimed[2].Id, "i-2");
        await store.Launches.EndedAsync(claimed[3].Id, "spot-interrupted: gone", "[]", Rerun.Wanted);
        await store.Launches.RefusedAsync(claimed[4].Id, "denied"); // its user is not told yet
        await store.Launches.EndedAsync(claimed[5].Id, "job-succeeded: done", "[]");

        Assert.Equal(0, await store.Launches.ForgetAsync(Future, 10)); // it is not known yet what it cost
        foreach (var id in (LaunchId[])[claimed[3].Id, claimed[5].Id])
            await store.Launches.PricedAsync(id, null);
        Assert.Equal(0, await store.Launches.ForgetAsync(TimeSpan.FromDays(1), 10));
        Assert.Equal(1, await store.Launches.ForgetAsync(Future, 10));
        Assert.Null(await store.Launches.FindAsync(claimed[5].Id));
        foreach (var id in (LaunchId[])[waiting, claimed[2].Id, claimed[3].Id, claimed[4].Id])
            Assert.NotNull(await store.Launches.FindAsync(id));

        await store.Launches.ToldAsync(claimed[4].Id);
        await store.Launches.RerunAsync(claimed[3], 3, Rerun.Asked);
        Assert.Equal(1, await store.Launches.ForgetAsync(Future, 1));
        Assert.Equal(1, await store.Launches.ForgetAsync(Future, 10));
        Assert.Equal(0, await store.Launches.ForgetAsync(Future, 10));
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public async Task A_jobs_launches_are_forgotten_together_so_that_it_is_given_no_machine_twice(string kind)
    {
        var store = await OpenAsync(kind);
        await QueueAsync(store, 1);
        var first = Assert.Single(await ClaimAsync(store));
        await store.Launches.EndedAsync(first.Id, "idle: no job came", "[]");
        await store.Launches.PricedAsync(first.Id, 1680);
        await store.Queue.ReplaceAsync(first);
        Assert.Equal(0, await store.Launches.ForgetAsync(Future, 10));
        Assert.False((await store.TransactAsync(sql => LaunchQueue.AddAsync(sql, Job(1), Order.Nothing))).IsNew);
        var second = Assert.Single(await ClaimAsync(store));
        await store.Launches.EndedAsync(second.Id, "job-succeeded: done", "[]");
        Assert.Equal(0, await store.Launches.ForgetAsync(Future, 10));
        await store.Launches.PricedAsync(second.Id, 1680);
        Assert.Equal(2, await store.Launches.ForgetAsync(Future, 10));
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public async Task A_repositorys_last_turn_is_forgotten_unless_something_of_its_waits(string kind)
    {
        var store = await OpenAsync(kind);
        var first = await QueueAsync(store, 1);
        await ClaimAsync(store);
        await store.Launches.EndedAsync(first, "job-succeeded: done", "[]");
        await QueueAsync(store, 2);
        await store.Launches.ForgetAsync(Future, 10);
        Assert.NotNull(await LastTurnAsync());
        await store.Queue.RefuseWaitingAsync(new LaunchId("octo-org/octo-repo", "2-1"), "too large");
        await store.Launches.ForgetAsync(Future, 10);
        Assert.Null(await LastTurnAsync());

        async Task<string?> LastTurnAsync() => (await store.TransactAsync(sql => sql.QueryAsync("SELECT taken_at FROM turn", row => row.Text(0)))).SingleOrDefault();
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public async Task What_a_machine_cost_is_due_once_it_has_ended_and_is_written_down_once(string kind)
    {
        var store = await OpenAsync(kind);
        var (known, unknown) = (await QueueAsync(store, 1), await QueueAsync(store, 2));
        await ClaimAsync(store);
        Assert.Empty(await store.Launches.DueAsync(10));
        var usage = new Usage("m7i.large", "eu-central-1a", true, _time.GetUtcNow(), _time.GetUtcNow().AddSeconds(90.5), false);
        await store.Launches.EndedAsync(known, "job-succeeded: done", "[]", null, usage);
        await store.Launches.EndedAsync(unknown, "unknown: gone", "[]");
        Assert.Equal(known, Assert.Single(await store.Launches.DueAsync(1)).Id);
        Assert.Equal([usage, null], (await store.Launches.DueAsync(10)).Select(l => l.Usage));
        Assert.True(await store.Launches.PricedAsync(known, 1_234_567_890_123));
        Assert.True(await store.Launches.PricedAsync(unknown, null));
        Assert.False(await store.Launches.PricedAsync(known, null));
        Assert.Empty(await store.Launches.DueAsync(10));
        var (first, second) = ((await store.Launches.FindAsync(known))!, (await store.Launches.FindAsync(unknown))!);
        Assert.Equal((Bill.Known, 1_234_567_890_123, Bill.Unknown, null), (first.Bill, first.MicroUsd, second.Bill, second.MicroUsd));
    }

    /// <summary>An age that everything has, by whichever clock.</summary>
    private static readonly TimeSpan Future = TimeSpan.FromSeconds(-5);

    private static WorkflowJob Job(long id, JobAction action = JobAction.Queued) => Some.Job(action, "mayfly", "'; DROP TABLE launch; -- ü") with { Id = id };

    private static async Task<LaunchId> QueueAsync(Store store, long job) => (await store.TransactAsync(sql => LaunchQueue.AddAsync(sql, Job(job), Some.Order(4)))).Launch.Id;

    private static Task<List<LaunchRecord>> UnsettledAsync(Store store) => store.Launches.UnsettledAsync(TimeSpan.FromDays(1), []);

    private static Task<List<LaunchRecord>> ClaimAsync(Store store) => store.Queue.ClaimAsync(10, (waiting, _, _) => waiting.FirstOrDefault());

    private static Task<int> RecordAsync(Store store, WorkflowJob job) => store.TransactAsync(async sql =>
    {
        await Launches.RecordAsync(sql, job);
        return 0;
    });

    private async Task<Store> OpenAsync(string kind) => await _stores.OpenAsync(await _stores.SettingAsync(kind), _time);
}
