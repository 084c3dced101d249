using Mayfly.Aws;
using Mayfly.Contract;
using Mayfly.Controller.Reconciliation;
using static Mayfly.Controller.Tests.SomeSight;

namespace Mayfly.Controller.Tests;

/// <summary>What holds whatever the world and the store look like: worlds made by chance, each by its own seed.</summary>
public sealed class PlanPropertyTests
{
    private const int Worlds = 3000;

    [Fact]
    public void A_busy_runner_loses_its_machine_only_past_its_limits() => ForAll((sight, acts, _) =>
    {
        var busy = sight.Runners.Values.SelectMany(r => r).Where(r => r.IsBusy).Select(r => r.Name).ToHashSet();
        Assert.DoesNotContain(acts, a => a is Act.RemoveRunner remove && (remove.Runner.IsBusy || remove.Runner.IsOnline));
        Assert.DoesNotContain(acts, a => a is Act.EndMachine { HasRunner: true, EvenIfBusy: false } end && busy.Contains(LaunchRecord.RunnerPrefix + end.Id.Key));
        Assert.All(acts.OfType<Act.EndMachine>().Where(e => e.EvenIfBusy), e => Assert.True(sight.At - e.Machine.LaunchTime > TimeSpan.FromSeconds(300 + 21_600)));
    });

    [Fact]
    public void Nothing_is_removed_at_the_first_sight_of_it() => ForAll((sight, _, _) =>
        Assert.DoesNotContain(Plan.For(sight, Memory.None).Acts, IsRemoval));

    [Fact]
    public void Nothing_is_removed_that_is_younger_than_its_grace() => ForAll((sight, acts, before) =>
    {
        Assert.All(acts.OfType<Act.EndMachine>(), e => Assert.True(sight.At - e.Machine.LaunchTime >= Plan.Young));
        Assert.All(acts.OfType<Act.EndMachine>(), e => Assert.True(sight.At - before.Since[new Oddity("machine", e.Machine.InstanceId)] >= Plan.Grace));
        var modified = sight.Sites.Values.SelectMany(s => s.Parameters).ToDictionary(p => p.Name, p => p.Modified);
        Assert.All(acts.OfType<Act.DeleteParameters>().SelectMany(d => d.Names), n => Assert.True(sight.At - modified[n] >= Plan.Nameless));
    });

    [Fact]
    public void What_a_controller_is_at_is_left_to_it() => ForAll((_, acts, _) =>
        Assert.DoesNotContain(acts, a => a is Act.EndMachine { EvenIfBusy: false, Launch.State: LaunchState.Waiting or LaunchState.Launching or LaunchState.Storing or LaunchState.Undoing }));

    [Fact]
    public void Another_controllers_machines_are_left_alone() => ForAll((sight, acts, _) =>
        Assert.All(acts.OfType<Act.EndMachine>(), e => Assert.True(sight.Repositories.ContainsKey(e.Id.Repository))));

    [Fact]
    public void The_same_is_planned_twice_for_the_same_sight() => ForAll((sight, acts, before) =>
        Assert.Equal(acts.Select(Subject), Plan.For(sight, before).Acts.Select(Subject)));

    [Fact]
    public void What_was_done_is_not_planned_again() => ForAll((sight, acts, before) =>
    {
        var ended = acts.OfType<Act.EndMachine>().Select(e => e.Machine.InstanceId).ToHashSet();
        var removed = acts.OfType<Act.RemoveRunner>().Select(r => r.Runner.Id).ToHashSet();
        var deleted = acts.OfType<Act.DeleteParameters>().SelectMany(d => d.Names).ToHashSet();
        var after = sight with
        {
            Sites = sight.Sites.ToDictionary(s => s.Key, s => new SiteSeen(
                [.. s.Value.Machines.Select(m => ended.Contains(m.InstanceId) ? m with { State = "shutting-down" } : m)], [.. s.Value.Parameters.Where(p => !deleted.Contains(p.Name))])),
            Runners = sight.Runners.ToDictionary(r => r.Key, r => (IReadOnlyList<RunnerSeen>)[.. r.Value.Where(one => !removed.Contains(one.Id))]),
        };
        var again = Plan.For(after.After(TimeSpan.FromHours(1)), Plan.For(sight, before).Memory).Acts;
        Assert.DoesNotContain(again.OfType<Act.EndMachine>(), e => ended.Contains(e.Machine.InstanceId));
        Assert.DoesNotContain(again.OfType<Act.RemoveRunner>(), r => removed.Contains(r.Runner.Id));
        Assert.DoesNotContain(again.OfType<Act.DeleteParameters>().SelectMany(d => d.Names), deleted.Contains);
    });

    [Fact]
    public void No_more_machines_are_given_than_are_lacking_and_none_beyond_three() => ForAll((sight, acts, _) =>
    {
        var given = acts.OfType<Act.AskForJob>().Where(a => a.Then == IfQueued.Replace).ToList();
        Assert.All(given, a => Assert.True(a.Launch.Machine < Plan.MostMachines));
        Assert.All(given.GroupBy(a => a.Launch.Labels[0]), kind => Assert.True(kind.Count() <= new Supply(sight).Lacking(kind.First().Launch)));
    });

    [Fact]
    public void A_look_never_has_more_to_ask_of_GitHub_than_its_budget() => ForAll((_, acts, _) =>
        Assert.True(acts.Count(a => a is not (Act.ReadConsole or Act.DeleteParameters or Act.ForgetRerun)) <= Plan.MostCalling));

    /// <summary>As <see cref="Launches.UnsettledAsync"/> leaves it out, unless something is named after it.</summary>
    [Fact]
    public void A_job_that_waits_for_its_first_machine_changes_nothing() => ForAll((sight, acts, before) =>
    {
        var named = sight.Sites.Values.SelectMany(s => s.Machines).Select(Plan.IdOf).OfType<LaunchId>().Concat(sight.Runners.SelectMany(r => r.Value.Select(runner => new LaunchId(r.Key, runner.Name[LaunchRecord.RunnerPrefix.Length..])))).ToHashSet();
        var without = sight with
        {
            Launches = [.. sight.Launches.Where(l => named.Contains(l.Id) || l is not { State: LaunchState.Waiting, Machine: 1, RunnerName: null, TookJob: null, Conclusion: null, Rerun: null })],
        };
        Assert.Equal(acts.Select(Subject), Plan.For(without, before).Acts.Select(Subject));
    });

    [Fact]
    public void Nothing_is_concluded_of_a_site_that_did_not_answer() => ForAll((sight, acts, _) =>
    {
        Assert.All(acts.OfType<Act.EndMachine>(), e => Assert.Contains(e.Machine, sight.Sites[e.Site].Machines));
        Assert.All(acts.OfType<Act.DeleteParameters>(), d => Assert.Subset(sight.Sites[d.Site].Parameters.Select(p => p.Name).ToHashSet(), d.Names.ToHashSet()));
        Assert.DoesNotContain(acts, a => a is Act.ReadConsole { Machine: null } read && !sight.Sites.ContainsKey(read.Launch.Order.Site) && read.Passed < Plan.Past);
        var known = sight.Launches.ToDictionary(l => l.Runner);
        Assert.All(acts.OfType<Act.RemoveRunner>(), r => Assert.True(known.TryGetValue(r.Runner.Name, out var launch) ? launch.State != LaunchState.Launched || sight.Sites.ContainsKey(launch.Order.Site) : sight.IsWhole));
    });

    private static bool IsRemoval(Act act) => act is Act.EndMachine or Act.RemoveRunner or Act.DeleteParameters;

    private static string Subject(Act act) => act switch
    {
        Act.EndMachine end => $"end {end.Machine.InstanceId} {end.EvenIfBusy}",
        Act.RemoveRunner remove => $"remove {remove.Runner.Id}",
        Act.DeleteParameters delete => $"delete {string.Join(',', delete.Names)}",
        Act.ReadConsole read => $"read {read.Launch.Id} {read.Passed}",
        Act.AskForJob ask => $"ask {ask.Launch.Id} {ask.Then}",
        Act.RunAgain again => $"again {again.Launch.Id} {again.Job}",
        Act.ForgetRerun forget => $"forget {forget.Launch.Id}",
        _ => throw new InvalidOperationException("an act that this test does not know"),
    };

    /// <summary>Each world as it was some time ago and, mostly the same, as it is now.</summary>
    private static void ForAll(Action<Sight, IReadOnlyList<Act>, Memory> holds)
    {
        var removals = 0;
        for (var seed = 0; seed < Worlds; seed++)
        {
            var chance = new Random(seed);
            var now = World(chance);
            var before = Plan.For(now.After(TimeSpan.FromSeconds(-chance.Next(0, 180))), Memory.None).Memory;
            var acts = Plan.For(now, before).Acts;
            removals += acts.Count(IsRemoval);
            try
            {
                holds(now, acts, before);
            }
            catch (Exception e)
            {
                throw new InvalidOperationException($"does not hold for seed {seed}", e);
            }
        }

        Assert.True(removals > Worlds / 10, "the worlds hold too little that is odd");
    }

    private static Sight World(Random chance)
    {
        var (launches, runners) = (new List<LaunchRecord>(), new List<RunnerSeen>());
        var sites = ((Site[])[Here, Elsewhere]).ToDictionary(s => s, _ => (Machines: new List<InstanceDescription>(), Parameters: new List<ParameterDescription>()));
        for (var job = 1; job <= chance.Next(1, 12); job++)
        {
            var machineNumber = chance.Next(1, 4);
            var launch = Launch(job, chance.GetItems(Enum.GetValues<LaunchState>(), 1)[0], machineNumber) with
            {
                Labels = [chance.GetItems((string[])["mayfly", "other"], 1)[0]],
                TookJob = chance.Next(3) == 0 ? chance.Next(1, 12) : null,
                RunnerName = chance.Next(3) == 0 ? $"mayfly-{chance.Next(1, 12)}-1" : null,
                Conclusion = chance.Next(3) == 0 ? chance.GetItems((string[])["success", "failure", "cancelled"], 1)[0] : null,
                ChangedAt = Now - Ago(chance),
                Rerun = chance.Next(5) == 0 ? Rerun.Wanted : null,
            };
            launch = chance.Next(3) == 0 ? launch.At(Elsewhere) : launch;
            var (machines, parameters) = sites[launch.Order.Site];
            if (chance.Next(5) != 0)
                launches.Add(launch);
            if (chance.Next(4) != 0)
            {
                var machine = Machine(launch, chance.GetItems((string[])["pending", "running", "running", "running", "shutting-down", "terminated", "stopped"], 1)[0]);
                var tags = new Dictionary<string, string>(machine.Tags);
                if (chance.Next(6) == 0)
                    tags[Tags.Launch] = $"octo-org/another:{job}-1";
                machines.Add(machine with { LaunchTime = Now - Ago(chance), Tags = tags, InstanceId = chance.Next(6) == 0 ? $"i-other-{job}" : machine.InstanceId });
            }

            if (chance.Next(2) == 0)
                runners.Add(new RunnerSeen(job, chance.Next(8) == 0 ? $"somebody-{job}" : launch.Runner, chance.Next(2) == 0, chance.Next(3) == 0));
            if (chance.Next(2) == 0)
                parameters.Add(new ParameterDescription(ConfigParameter.NameFor(launch.InstanceId ?? $"i-none-{job}"), Now - Ago(chance)));
        }

        var isWhole = chance.Next(4) != 0;
        var sight = Of(launches) with
        {
            Sites = sites.Where(s => isWhole || s.Key == Here).ToDictionary(s => s.Key, s => new SiteSeen(s.Value.Machines, s.Value.Parameters)),
            IsWhole = isWhole,
        };
        return chance.Next(4) == 0 ? sight : sight.WithRunners([.. runners]);
    }

    private static TimeSpan Ago(Random chance) => TimeSpan.FromSeconds(Math.Pow(10, 5 * chance.NextDouble()));
}
