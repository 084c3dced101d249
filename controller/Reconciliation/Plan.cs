using System.Globalization;
using Mayfly.Aws;
using Mayfly.Contract;

namespace Mayfly.Controller.Reconciliation;

/// <summary>
/// What to do about all that a look found, by that and by what earlier looks found alone: no clock, no log, no chance.
/// What is removed was odd in at least two looks, <see cref="Grace"/> apart, and whoever removes it looks once more. What a
/// controller is at (<see cref="LaunchState.Launching"/>, Storing, Undoing) is left to it.
/// </summary>
internal sealed class Plan
{
    /// <summary>From the first look that found something odd to the one that acts on it, and from that to the next.</summary>
    public static readonly TimeSpan Grace = TimeSpan.FromSeconds(60);

    /// <summary>A machine younger than this is not ended: DescribeInstances and webhooks lag, by seconds and by minutes.</summary>
    public static readonly TimeSpan Young = TimeSpan.FromMinutes(2);

    /// <summary>For what stands for a machine that EC2 does not name: it may be one that is being launched, by whomever.</summary>
    public static readonly TimeSpan Nameless = TimeSpan.FromMinutes(10);

    /// <summary>Beyond a machine's own idle and job limits: by then it has booted, and ended.</summary>
    public static readonly TimeSpan Margin = TimeSpan.FromMinutes(15);

    /// <summary>Between two questions for a job that may lack a machine.</summary>
    public static readonly TimeSpan AskEvery = TimeSpan.FromMinutes(1);

    /// <summary>The same where nothing waits: GitHub takes ten minutes to give up a runner that it lost, and a run lasts minutes.</summary>
    public static readonly TimeSpan AskSlowly = TimeSpan.FromMinutes(5);

    /// <summary>What ended longer ago is past help: GitHub fails a job that was queued for longer.</summary>
    public static readonly TimeSpan Past = TimeSpan.FromHours(24);

    /// <summary>Machines that one job is given.</summary>
    public const int MostMachines = 3;

    /// <summary>Acts of one look that take calls to GitHub, one to three each; the others wait for the next look. At a look each half
    /// minute that leaves most of an installation's least limit (5,000 calls an hour) to launches.</summary>
    public const int MostCalling = 10;

    /// <summary>Parameters deleted after one look.</summary>
    public const int MostParameters = 500;

    private readonly Sight _sight;
    private readonly Memory _before;
    private readonly Dictionary<Oddity, DateTimeOffset> _after = [];
    private readonly List<Act> _acts = [];
    private readonly Dictionary<LaunchId, LaunchRecord> _launches;
    private readonly Dictionary<string, (Site Site, InstanceDescription Machine)> _machines;
    private readonly Supply _supply;
    private int _calling;

    private Plan(Sight sight, Memory before)
    {
        (_sight, _before, _supply) = (sight, before, new Supply(sight));
        _launches = sight.Launches.ToDictionary(l => l.Id);
        // Two roles of one account show the same machines.
        _machines = sight.Sites.SelectMany(s => s.Value.Machines.Select(m => (Site: s.Key, Machine: m))).DistinctBy(m => m.Machine.InstanceId).ToDictionary(m => m.Machine.InstanceId);
    }

    public static (IReadOnlyList<Act> Acts, Memory Memory) For(Sight sight, Memory before)
    {
        var plan = new Plan(sight, before);
        plan.ReadConsoles();
        plan.AskForJobs();
        plan.EndMachines();
        plan.RemoveRunners();
        plan.DeleteParameters();
        plan.RunAgain();
        return (plan._acts, plan.Remember());
    }

    /// <summary>The launch that a machine was made for, by its tag.</summary>
    public static LaunchId? IdOf(InstanceDescription machine) => LaunchId.Parse(machine.Tags.GetValueOrDefault(Tags.Launch, ""));

    /// <summary>Machines that have ended, and those that EC2 does not name (any more).</summary>
    private void ReadConsoles()
    {
        foreach (var launch in _sight.Launches.Where(l => l is { State: LaunchState.Launched, InstanceId: not null }))
        {
            if (_machines.TryGetValue(launch.InstanceId!, out var seen))
            {
                if (seen.Machine.State == "terminated")
                    _acts.Add(new Act.ReadConsole(launch, seen.Site, seen.Machine, SeenFor(new Oddity("ended machine", launch.InstanceId!))));
            }
            else if (_sight.Sites.ContainsKey(launch.Order.Site) || _sight.At - launch.ChangedAt > Past + _sight.IdleTimeout + _sight.JobTimeout)
            {
                // Where nobody could look for so long it is given up, since it counts for caps.
                _acts.Add(new Act.ReadConsole(launch, launch.Order.Site, null, _sight.At - launch.ChangedAt));
            }
        }
    }

    /// <summary>Jobs whose machine was taken by another job, or has ended without them; and jobs whose end was not heard of.</summary>
    private void AskForJobs()
    {
        foreach (var launch in _supply.WithoutMachine)
        {
            var isLacking = _supply.Lacking(launch) > 0;
            if (isLacking)
                _supply.Add(launch);
            if (IsTime(new Oddity("job without a machine", launch.Id.Key, launch.Id.Repository), AskEvery))
                _acts.Add(new Act.AskForJob(launch, !isLacking ? IfQueued.Nothing : launch.Machine < MostMachines ? IfQueued.Replace : IfQueued.Refuse));
        }

        foreach (var launch in _sight.Launches.Where(l => l is { State: LaunchState.Ended, RunnerName: not null, Conclusion: null, JobId: not 0 }))
        {
            if (IsTime(new Oddity("job without an end", launch.Id.Key, launch.Id.Repository), AskSlowly))
                _acts.Add(new Act.AskForJob(launch, IfQueued.Nothing));
        }
    }

    private void EndMachines()
    {
        foreach (var (site, machine) in _machines.Values.Where(m => IsAlive(m.Machine)))
        {
            if (IdOf(machine) is not { } id || !_sight.Repositories.TryGetValue(id.Repository, out var repo))
                continue; // another controller's
            var launch = _launches.GetValueOrDefault(id);
            var hasRunner = launch?.InstanceId is null || launch.InstanceId == machine.InstanceId;
            var isPast = _sight.At - machine.LaunchTime > LimitOf(machine);
            var reason = isPast
                ? string.Create(CultureInfo.InvariantCulture, $"it is past its limits ({LimitOf(machine).TotalSeconds:F0} s with {Margin.TotalMinutes:F0} min to boot and end)")
                : _sight.At - machine.LaunchTime < Young || (hasRunner && IsBusy(id)) ? null : WhyNeedless(machine, launch);
            if (reason is null || !IsDue(new Oddity("machine", machine.InstanceId), Grace))
                continue;
            if (launch is { State: LaunchState.Launched })
                _supply.Take(launch);
            _acts.Add(new Act.EndMachine(site, machine, repo, id, launch, reason, hasRunner, EvenIfBusy: isPast));
        }
    }

    private string? WhyNeedless(InstanceDescription machine, LaunchRecord? launch) => launch switch
    {
        null => "the store knows no launch of it",
        { State: LaunchState.Ended or LaunchState.Refused or LaunchState.Dropped } => $"its launch is {launch.State}",
        { State: LaunchState.Launched } when launch.InstanceId != machine.InstanceId => $"its launch has {launch.InstanceId} instead",
        { State: LaunchState.Launched, TookJob: null, Conclusion: not null, RunnerName: null } when IsSpare(launch) => $"its job is {launch.Conclusion} and never ran",
        { State: LaunchState.Launched, TookJob: null, RunnerName: not null } when launch.RunnerName != launch.Runner && IsSpare(launch) => $"its job runs on {launch.RunnerName}",
        _ => null,
    };

    private bool IsSpare(LaunchRecord launch) => _supply.Lacking(launch) < 0;

    private void RemoveRunners()
    {
        var tagged = _machines.Values.Select(m => m.Machine).Where(IsAlive).Select(IdOf).ToHashSet();
        foreach (var (repository, runners) in _sight.Runners)
        {
            foreach (var runner in runners.Where(r => r is { IsOnline: false, IsBusy: false } && r.Name.StartsWith(LaunchRecord.RunnerPrefix, StringComparison.Ordinal)))
            {
                var id = new LaunchId(repository, runner.Name[LaunchRecord.RunnerPrefix.Length..]);
                var launch = _launches.GetValueOrDefault(id);
                var grace = launch switch
                {
                    _ when tagged.Contains(id) => (TimeSpan?)null, // it boots, or is ended together with its machine
                    null => _sight.IsWhole ? Nameless : null,
                    { State: LaunchState.Ended or LaunchState.Refused or LaunchState.Dropped } => Grace,
                    { State: LaunchState.Launched } => _sight.Sites.ContainsKey(launch.Order.Site) ? Nameless : null,
                    _ => null,
                };
                if (grace is { } wait && _sight.Repositories.TryGetValue(repository, out var repo)
                    && IsDue(new Oddity("runner", runner.Id.ToString(CultureInfo.InvariantCulture), repository), wait))
                    _acts.Add(new Act.RemoveRunner(repo, runner, launch is null ? "the store knows no launch of it" : "its machine is gone"));
            }
        }
    }

    private void DeleteParameters()
    {
        var needed = _machines.Values.Select(m => m.Machine).Where(IsAlive).Select(m => m.InstanceId)
            .Concat(_sight.Launches.Where(l => l.State is not (LaunchState.Ended or LaunchState.Launched)).Select(l => l.InstanceId)).ToHashSet();
        var seen = new HashSet<string>(); // as above
        foreach (var (site, (_, parameters)) in _sight.Sites)
        {
            var names = parameters
                .Where(p => p.Name.StartsWith(ConfigParameter.Path, StringComparison.Ordinal) && !needed.Contains(p.Name[ConfigParameter.Path.Length..]) && _sight.At - p.Modified >= Nameless)
                .Select(p => p.Name).Where(name => seen.Add(name) && HasLasted(new Oddity("parameter", name), Grace)).Take(MostParameters).ToList();
            if (names.Count > 0)
                _acts.Add(new Act.DeleteParameters(site, names));
        }
    }

    private void RunAgain()
    {
        foreach (var launch in _sight.Launches.Where(l => l.Rerun == Rerun.Wanted))
        {
            var oddity = new Oddity("interrupted job", launch.Id.Key, launch.Id.Repository);
            var ran = launch.TookJob ?? (launch.RunnerName == launch.Runner ? launch.JobId : null);
            if (_sight.At - launch.ChangedAt > Past)
                _acts.Add(new Act.ForgetRerun(launch, "GitHub did not agree to it in a day"));
            else if (ran == launch.JobId && launch.Conclusion == "success")
                _acts.Add(new Act.ForgetRerun(launch, "the job had succeeded"));
            else if (ran is { } job && (job != launch.JobId || launch.Conclusion is not null) && IsTime(oddity, AskSlowly))
                _acts.Add(new Act.RunAgain(launch, job));
        }
    }

    private static bool IsAlive(InstanceDescription machine) => machine.State is not ("shutting-down" or "terminated");

    private bool IsBusy(LaunchId id) => _sight.Runners.GetValueOrDefault(id.Repository)?.Any(r => r.IsBusy && r.Name == LaunchRecord.RunnerPrefix + id.Key) == true;

    private TimeSpan LimitOf(InstanceDescription machine) =>
        (Seconds(machine, Tags.IdleTimeout) ?? _sight.IdleTimeout) + (Seconds(machine, Tags.JobTimeout) ?? _sight.JobTimeout) + Margin;

    private static TimeSpan? Seconds(InstanceDescription machine, string tag) =>
        int.TryParse(machine.Tags.GetValueOrDefault(tag), NumberStyles.None, CultureInfo.InvariantCulture, out var seconds) ? TimeSpan.FromSeconds(seconds) : null;

    /// <summary>How long something has been odd; remembers it from now on.</summary>
    private TimeSpan SeenFor(Oddity oddity)
    {
        var since = _before.Since.GetValueOrDefault(oddity, _sight.At);
        _after[oddity] = since;
        return _sight.At - since;
    }

    private bool HasLasted(Oddity oddity, TimeSpan grace) => SeenFor(oddity) >= grace;

    /// <summary>Whether something has been odd for long enough to act on it now, with calls to GitHub. Begins to count anew.</summary>
    private bool IsDue(Oddity oddity, TimeSpan grace)
    {
        if (!HasLasted(oddity, grace) || _calling == MostCalling)
            return false;
        _calling++;
        _after[oddity] = _sight.At;
        return true;
    }

    /// <summary>The same for what harms nothing: the first time at once.</summary>
    private bool IsTime(Oddity oddity, TimeSpan every)
    {
        if (_before.Since.ContainsKey(oddity))
            return IsDue(oddity, every);
        if (_calling == MostCalling)
            return false;
        _calling++;
        _after[oddity] = _sight.At;
        return true;
    }

    /// <summary>Runners are not looked at in every look.</summary>
    private Memory Remember()
    {
        foreach (var (oddity, since) in _before.Since.Where(s => s.Key.Kind == "runner" && !_sight.Runners.ContainsKey(s.Key.Repository)))
            _after.TryAdd(oddity, since);
        return new Memory(_after);
    }
}
