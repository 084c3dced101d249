namespace Mayfly.Controller.Tests;

/// <summary>Whose turn it is, in worlds where machines come and go.</summary>
public sealed class FairQueueTests
{
    private static readonly DateTimeOffset Start = new(2026, 11, 21, 12, 0, 0, TimeSpan.Zero);

    [Fact]
    public void Without_caps_the_oldest_job_is_next()
    {
        var turn = Next([Job("a/a", 1, age: 10), Job("b/b", 1, age: 30), Job("a/a", 64, age: 20)], [], new Caps(null, null));
        Assert.Equal(("b/b", 1), (turn.Id.Repository, turn.Vcpus));
    }

    [Fact]
    public void A_burst_delays_another_repositorys_job_by_one_launch()
    {
        var burst = Enumerable.Range(0, 1000).Select(i => Job("a/burst", 1, age: 600 + i)).ToList();
        var alive = new Dictionary<string, Load> { ["a/burst"] = new(50, 50, Start.AddSeconds(-1)) };
        Assert.Equal("b/one", Next([.. burst, Job("b/one", 1, age: 2)], alive, new Caps(100, null)).Id.Repository);
        // Queued after the burst's last launch, it waits for one more of it.
        Assert.Equal("a/burst", Next([.. burst, Job("b/one", 1, age: 0.5)], alive, new Caps(100, null)).Id.Repository);
        alive["a/burst"] = new(51, 51, Start);
        Assert.Equal("b/one", Next([.. burst, Job("b/one", 1, age: 0.5)], alive, new Caps(100, null)).Id.Repository);
    }

    [Fact]
    public void While_the_clock_stands_still_repositories_take_turns()
    {
        var alive = new Dictionary<string, Load>();
        var order = new List<string>();
        for (var i = 0; i < 6; i++)
        {
            var next = Next([Job("a/a", 1, 9), Job("b/b", 1, 9), Job("c/c", 1, 9)], alive, new Caps(null, null)).Id.Repository;
            order.Add(next);
            alive[next] = new Load((alive.GetValueOrDefault(next)?.Machines ?? 0) + 1, 0, Start);
        }

        Assert.Equal(["a/a", "b/b", "c/c", "a/a", "b/b", "c/c"], order);
    }

    [Fact]
    public void A_repository_at_its_cap_keeps_nobody_else_waiting()
    {
        var alive = new Dictionary<string, Load> { ["a/a"] = new(2, 8, Start.AddHours(-1)) };
        var turn = FairQueue.Next([Job("a/a", 4, 1000), Job("b/b", 4, 1)], alive, name => name == "a/a" ? new Caps(2, null) : Caps.None, Caps.None, Start);
        Assert.Equal("b/b", Assert.IsType<Turn.Launch>(turn).Job.Id.Repository);
        turn = FairQueue.Next([Job("a/a", 4, 1000)], alive, _ => new Caps(null, 11), Caps.None, Start);
        Assert.Contains("at its cap", Assert.IsType<Turn.Wait>(turn).Reason, StringComparison.Ordinal);
    }

    [Fact]
    public void A_large_job_is_passed_for_five_minutes_and_then_no_more()
    {
        var alive = new Dictionary<string, Load> { ["c/c"] = new(10, 40, Start.AddHours(-1)) };
        var small = Job("b/small", 4, age: 1);
        Assert.Equal("b/small", Next([Job("a/large", 32, age: 299), small], alive, new Caps(null, 64)).Id.Repository);
        var turn = FairQueue.Next([Job("a/large", 32, age: 300), small], alive, _ => Caps.None, new Caps(null, 64), Start);
        Assert.Contains("room is kept for job", Assert.IsType<Turn.Wait>(turn).Reason, StringComparison.Ordinal);
        alive["c/c"] = new(8, 32, Start.AddHours(-1));
        Assert.Equal("a/large", Next([Job("a/large", 32, age: 300), small], alive, new Caps(null, 64)).Id.Repository);
    }

    [Theory]
    [InlineData(8, 100, "the cap of a/a is 8")]
    [InlineData(100, 8, "the cap of all repositories together is 8")]
    public void A_job_that_never_fits_is_refused_instead_of_waiting(int own, int inAll, string said)
    {
        var turn = FairQueue.Next([Job("a/a", 16, 1)], new Dictionary<string, Load>(), _ => new Caps(null, own), new Caps(null, inAll), Start);
        Assert.Contains(said, Assert.IsType<Turn.Refuse>(turn).Reason, StringComparison.Ordinal);
    }

    [Fact]
    public void In_any_world_no_cap_is_exceeded_and_every_job_is_launched_in_the_end()
    {
        var (launches, waits) = (0, 0);
        Chance.Try(400, chance =>
        {
            var caps = new Caps(chance.OneIn(3) ? null : chance.Between(1, 6), chance.OneIn(4) ? null : chance.Between(16, 40));
            var own = Enumerable.Range(0, chance.Between(1, 5)).ToDictionary(i => $"o/{i}", _ => new Caps(chance.OneIn(2) ? null : chance.Between(1, 4), chance.OneIn(2) ? null : chance.Between(16, 30)));
            var names = own.Keys.ToList();
            var waiting = new List<WaitingLaunch>();
            var machines = new List<(string Repository, int Vcpus, DateTimeOffset Ends)>();
            var last = new Dictionary<string, DateTimeOffset>();
            var now = Start;
            var queued = 0;

            // A stream of jobs that comes as fast as they are served; then the stream ends, and all that is left must go as well.
            for (var step = 0; step < 300 && (step < 60 || waiting.Count > 0); step++)
            {
                if (step < 60)
                {
                    for (var i = chance.Below(4); i > 0; i--)
                        waiting.Add(new WaitingLaunch(new LaunchId(chance.Of(names), $"{queued++}"), now.AddSeconds(-chance.Below(20)), chance.OneIn(6) ? 16 : chance.Between(1, 4), 1));
                }

                machines.RemoveAll(m => m.Ends <= now);
                while (true)
                {
                    var alive = names.ToDictionary(n => n, n => new Load(machines.Count(m => m.Repository == n), machines.Where(m => m.Repository == n).Sum(m => m.Vcpus), last.TryGetValue(n, out var at) ? at : null));
                    var turn = FairQueue.Next(waiting, alive, n => own[n], caps, now);
                    Assert.Equal(turn, FairQueue.Next(waiting.AsEnumerable().Reverse(), alive, n => own[n], caps, now));
                    if (turn is not Turn.Launch { Job: var job })
                    {
                        Assert.IsType<Turn.Wait>(turn);
                        waits++;
                        break;
                    }

                    launches++;
                    Assert.True(waiting.Remove(job));
                    Assert.DoesNotContain(waiting, w => w.Id.Repository == job.Id.Repository && w.QueuedAt < job.QueuedAt);
                    machines.Add((job.Id.Repository, job.Vcpus, now.AddSeconds(chance.Between(1, 240))));
                    last[job.Id.Repository] = now;
                    var of = machines.Where(m => m.Repository == job.Id.Repository).ToList();
                    Assert.True(!(machines.Count > caps.Machines) && !(machines.Sum(m => m.Vcpus) > caps.Vcpus), "the common caps");
                    Assert.True(!(of.Count > own[job.Id.Repository].Machines) && !(of.Sum(m => m.Vcpus) > own[job.Id.Repository].Vcpus), "its own caps");
                }

                now = now.AddSeconds(60);
            }

            Assert.Empty(waiting);
        });
        Assert.True(launches > 20_000 && waits > 10_000, $"{launches} launches, {waits} waits");
    }

    [Fact]
    public void A_stream_of_small_jobs_from_many_does_not_starve_a_large_one()
    {
        Chance.Try(100, chance =>
        {
            var caps = new Caps(null, 32);
            var machines = new List<(string Repository, int Vcpus, DateTimeOffset Ends)>();
            var last = new Dictionary<string, DateTimeOffset>();
            var large = new WaitingLaunch(new LaunchId("big/one", "large"), Start, 32, 1);
            var now = Start;
            var small = 0;
            while (true)
            {
                // Every other repository always has a job, old ones among them, and every machine lives for a minute or two.
                var waiting = Enumerable.Range(0, 20).Select(i => new WaitingLaunch(new LaunchId($"small/{i}", $"{small++}"), now.AddSeconds(-chance.Below(60)), chance.Between(1, 4), 1)).Append(large).ToList();
                machines.RemoveAll(m => m.Ends <= now);
                var alive = machines.GroupBy(m => m.Repository).ToDictionary(g => g.Key, g => new Load(g.Count(), g.Sum(m => m.Vcpus), null));
                foreach (var (name, at) in last)
                    alive[name] = (alive.GetValueOrDefault(name) ?? Load.None) with { LastTurn = at };
                if (FairQueue.Next(waiting, alive, _ => Caps.None, caps, now) is Turn.Launch { Job: var job })
                {
                    if (job == large)
                        break;
                    machines.Add((job.Id.Repository, job.Vcpus, now.AddSeconds(chance.Between(30, 120))));
                    last[job.Id.Repository] = now;
                }

                now = now.AddSeconds(2);
                Assert.True(now < Start + FairQueue.Patience + TimeSpan.FromMinutes(3), "the large job still waits");
            }
        });
    }

    private static WaitingLaunch Next(IEnumerable<WaitingLaunch> waiting, Dictionary<string, Load> alive, Caps inAll) =>
        Assert.IsType<Turn.Launch>(FairQueue.Next(waiting, alive, _ => Caps.None, inAll, Start)).Job;

    private static WaitingLaunch Job(string repository, int vcpus, double age) => new(new LaunchId(repository, $"{age}"), Start.AddSeconds(-age), vcpus, 1);
}
