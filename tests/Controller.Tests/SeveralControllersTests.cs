using System.Collections.Concurrent;
using Mayfly.Contract;
using Mayfly.Lab;
using Mayfly.Lab.GitHub;

namespace Mayfly.Controller.Tests;

/// <summary>Three controllers on one PostgreSQL, and what may happen to each of them.</summary>
public sealed class SeveralControllersTests(PostgresServer postgres)
{
    private const int Jobs = 60;
    private static readonly string[] Labels = ["mayfly"];

    /// <summary>Cut off from the store for less than its lease, it has stopped what it was at, and no other may take that up.</summary>
    [Fact]
    public async Task One_that_is_back_in_time_finishes_the_launch_that_it_left()
    {
        var database = await postgres.NewDatabaseAsync();
        await using var line = new CuttableLine(postgres.Socket);
        await using var world = await World.StartAsync(controller: false);
        await world.StartControllerAsync(new Dictionary<string, string> { ["Mayfly__Database"] = line.To(database), ["Mayfly__Lease"] = "6" });
        using var left = new ManualResetEventSlim();
        var cut = 0;
        world.Lab.Ec2.Disturb = (action, _) =>
        {
            if (action != "CreateFleet" || Interlocked.Exchange(ref cut, 1) != 0)
                return;
            line.Cut();
            left.Wait(World.Limit);
            line.Mend();
        };

        var (job, _) = await world.Lab.GitHub.Jobs.QueueAsync("build", Labels, []);
        await world.LineAsync($"job {job.Id} of octo-org/octo-repo: its launch is left where it stands");
        left.Set();

        await world.LineAsync("launched i-", $"{job.Id}");
        Assert.Equal($"octo-org/octo-repo:{job.Id}-1", Assert.Single(world.Living).Tags[Tags.Launch]);
        Assert.Equal(ConfigParameter.NameFor(world.Living[0].Id), Assert.Single(world.Lab.Ssm.Parameters).Name);
        Assert.Equal($"mayfly-{job.Id}-1", Assert.Single(world.Lab.GitHub.Runners.All).Name);
    }

    /// <summary>Two are killed and replaced, the third is cut off from the store for longer than its lease, each at a random moment.</summary>
    [Fact]
    public async Task Under_load_with_two_killed_and_one_cut_off_no_job_is_lost_and_none_gets_two_machines()
    {
        var seed = Environment.TickCount;
        var random = new Random(seed);
        var database = await postgres.NewDatabaseAsync();
        await using var line = new CuttableLine(postgres.Socket);
        await using var world = await World.StartAsync(controller: false);
        world.Lab.LiftLimits();
        Task<ControllerProcess> StartAsync(string connection) =>
            world.StartControllerAsync(new Dictionary<string, string>
            {
                ["Mayfly__Database"] = connection, ["Mayfly__Lease"] = "3",
                // Not what this is about, and the lab here has none any more.
                ["Mayfly__Pace__CreateFleet"] = "60000", ["Mayfly__Pace__PutParameter"] = "60000", ["Mayfly__Pace__GitHubPoints"] = "60000",
            });
        var controllers = new ConcurrentDictionary<int, ControllerProcess>
        {
            [0] = await StartAsync(database),
            [1] = await StartAsync(database),
            [2] = await StartAsync(line.To(database)),
        };
        world.Lab.GitHub.Webhooks.Target = null;

        // What happens to them, each when so many machines have been launched.
        int[] moments = [.. Enumerable.Range(0, 3).Select(i => random.Next((i * Jobs / 4) + 1, (i + 1) * Jobs / 4))];
        var happening = HappenAsync();
        var queued = new List<Job>();
        for (var i = 0; i < Jobs; i++)
            queued.Add((await world.Lab.GitHub.Jobs.QueueAsync("build", Labels, [])).Job);
        await world.Lab.GitHub.Webhooks.Settled;
        // As GitHub and its redelivery do: what was not answered with 202 is sent again, to any of them.
        await Parallel.ForEachAsync(world.Lab.GitHub.Webhooks.Log, new ParallelOptions { MaxDegreeOfParallelism = 4, CancellationToken = TestContext.Current.CancellationToken }, async (delivery, _) =>
        {
            for (var to = (int)(delivery.Id % 3); !await IsTakenAsync(delivery, to); to = (to + 1) % 3)
            {
            }
        });
        await happening;
        await using var store = await Store.OpenAsync(database, Some.Lease, TimeProvider.System);
        await UntilLaunchedAsync(store, queued.Count);
        line.Mend();
        await world.StopAllAsync(); // what the one that was cut off still had in hand is done with

        var message = $"seed {seed}, moments {string.Join(", ", moments)}";
        Assert.True(world.Living.Count == Jobs, $"{world.Living.Count} machines for {Jobs} jobs: {message}");
        Assert.Equal(queued.Select(j => $"octo-org/octo-repo:{j.Id}-1").Order(), world.Living.Select(i => i.Tags[Tags.Launch]).Order());
        Assert.Equal(world.Living.Select(i => ConfigParameter.NameFor(i.Id)).Order(), world.Lab.Ssm.Parameters.Select(p => p.Name).Order());
        Assert.Equal(queued.Select(j => $"mayfly-{j.Id}-1").Order(), world.Lab.GitHub.Runners.All.Select(r => r.Name).Order());
        Assert.Equal(world.Living.Select(i => i.Id).Order(), (await store.Launches.AliveAsync()).Select(l => l.InstanceId!).Order());
        Assert.Empty(await store.Deliveries.OpenAsync());

        // Not by their logs: who is killed or cut off may have written down a launch and not have said so.
        async Task UntilLaunchedAsync(Store store, int count)
        {
            using var limit = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
            limit.CancelAfter(2 * World.Limit);
            for (int launched; (launched = (await store.Launches.AliveAsync()).Count) < count;)
            {
                if (limit.IsCancellationRequested)
                    Assert.Fail($"{launched} of {count} are launched after {2 * World.Limit}: seed {seed}, moments {string.Join(", ", moments)}; {string.Join(", ", (await store.CountAsync(leads: false)).States)}; the logs' last lines:\n{string.Join('\n', world.Log.TakeLast(60))}");
                await Task.Delay(TimeSpan.FromMilliseconds(200), TimeProvider.System, TestContext.Current.CancellationToken);
            }
        }

        async Task HappenAsync()
        {
            var launched = 0;
            var reached = moments.Select(_ => new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)).ToArray();
            world.Lab.Journal.Recorded += e =>
            {
                if (e.Name != "instance launched")
                    return;
                var now = Interlocked.Increment(ref launched);
                for (var i = 0; i < moments.Length; i++)
                {
                    if (now >= moments[i])
                        reached[i].TrySetResult();
                }
            };
            for (var victim = 0; victim < 2; victim++)
            {
                await reached[victim].Task.WaitAsync(World.Limit);
                await controllers[victim].KillAsync();
                controllers[victim] = await StartAsync(database);
                world.Lab.GitHub.Webhooks.Target = null;
            }

            await reached[2].Task.WaitAsync(World.Limit);
            line.Cut();
        }

        async Task<bool> IsTakenAsync(Lab.GitHub.Delivery delivery, int to)
        {
            try
            {
                return await world.PostAsync(controllers[to], delivery.Body, delivery.Guid) == 202;
            }
            catch (Exception e) when (e is HttpRequestException or TaskCanceledException)
            {
                return false;
            }
        }
    }
}
