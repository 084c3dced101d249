namespace Mayfly.Controller.Reconciliation;

/// <summary>
/// Jobs that wait for a runner and machines that wait for a job, counted by repository and labels: GitHub gives a job to any
/// runner that bears its labels, whomever the machine was launched for. Two jobs that swapped their machines lack nothing.
/// </summary>
internal sealed class Supply
{
    private readonly Dictionary<string, int> _lacking = [];

    public Supply(Sight sight)
    {
        var gone = sight.Sites.Values.SelectMany(s => s.Machines).Where(m => m.State is "shutting-down" or "terminated").Select(m => m.InstanceId).ToHashSet();
        foreach (var launch in sight.Launches.Where(l => IsFree(l, gone)))
            _lacking[KindOf(launch)] = Lacking(launch) - 1;
        var waiting = sight.Launches.GroupBy(l => (l.Id.Repository, l.JobId, l.Attempt)).Select(job => job.MaxBy(l => l.Machine)!)
            .Where(l => l is { RunnerName: null, Conclusion: null, State: not (LaunchState.Refused or LaunchState.Dropped) }).ToList();
        foreach (var launch in waiting)
            _lacking[KindOf(launch)] = Lacking(launch) + 1;
        WithoutMachine = [.. waiting.Where(l => l.JobId != 0 && !IsFree(l, gone)).OrderBy(l => l.QueuedAt)];
    }

    /// <summary>The newest launches of jobs whose own machine is of no use to them, the oldest first.</summary>
    public IReadOnlyList<LaunchRecord> WithoutMachine { get; }

    /// <summary>How many machines are lacking for jobs such as this one's; below 0, so many are to spare.</summary>
    public int Lacking(LaunchRecord launch) => _lacking.GetValueOrDefault(KindOf(launch));

    /// <summary>One more is on its way to such a job.</summary>
    public void Add(LaunchRecord launch) => _lacking[KindOf(launch)] = Lacking(launch) - 1;

    /// <summary>One fewer is there for such a job.</summary>
    public void Take(LaunchRecord launch) => _lacking[KindOf(launch)] = Lacking(launch) + 1;

    private static bool IsFree(LaunchRecord launch, HashSet<string> gone) => launch.TookJob is null
        && launch.State is LaunchState.Waiting or LaunchState.Launching or LaunchState.Storing or LaunchState.Undoing or LaunchState.Launched
        && !(launch.State == LaunchState.Launched && gone.Contains(launch.InstanceId ?? ""));

    private static string KindOf(LaunchRecord launch) =>
        string.Join('\n', launch.Labels.Select(l => l.ToUpperInvariant()).Distinct().Order(StringComparer.Ordinal).Prepend(launch.Id.Repository));
}
