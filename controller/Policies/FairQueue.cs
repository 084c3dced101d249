namespace Mayfly.Controller.Policies;

/// <summary>Which job is launched next, or why none.</summary>
internal abstract record Turn
{
    private Turn()
    {
    }

    /// <summary>This one; no cap is exceeded by it.</summary>
    public sealed record Launch(WaitingLaunch Job) : Turn;

    /// <summary>This one never fits its caps: it can only be refused.</summary>
    public sealed record Refuse(WaitingLaunch Job, string Reason) : Turn;

    /// <summary>None, until a machine ends or a job is queued.</summary>
    public sealed record Wait(string Reason) : Turn;
}

/// <summary>
/// Shares what the caps leave among repositories, one launch a turn.
/// <para>
/// Within a repository the oldest job is next, whatever its size. Among repositories the one is next that has waited longest for
/// its turn: since its last one, or since its oldest job was queued if that was later. A turn sets that to now, so all
/// others with waiting jobs come before its next one: a burst of a thousand jobs delays another repository's one job by one launch.
/// </para><para>
/// A repository at its own cap waits and keeps nobody else waiting. A job too large for what the common cap leaves is passed by
/// others for <see cref="Patience"/>. From then on nothing passes it: machines end (each has a limit), nothing follows them,
/// and the job fits. Its place does not move while it waits, and every turn puts whoever had it behind, so it is ahead of all in the end.
/// </para>
/// </summary>
internal static class FairQueue
{
    /// <summary>Room that is kept free is idle; five minutes of it being used by others is what a large job pays for its size.</summary>
    public static readonly TimeSpan Patience = TimeSpan.FromMinutes(5);

    /// <param name="waiting">At least the oldest of each repository, in any order.</param>
    /// <param name="alive">By repository; who is missing has nothing.</param>
    /// <param name="capsOf">A repository's own caps.</param>
    /// <param name="inAll">The caps of all together.</param>
    public static Turn Next(
        IEnumerable<WaitingLaunch> waiting, IReadOnlyDictionary<string, Load> alive, Func<string, Caps> capsOf, Caps inAll, DateTimeOffset now)
    {
        var heads = new Dictionary<string, WaitingLaunch>();
        foreach (var job in waiting)
        {
            if (!heads.TryGetValue(job.Id.Repository, out var head) || IsBefore(job, head))
                heads[job.Id.Repository] = job;
        }

        var total = alive.Values.Aggregate(Load.None, (sum, one) => new Load(sum.Machines + one.Machines, sum.Vcpus + one.Vcpus));
        var atOwnCap = 0;
        foreach (var (job, own, since) in heads
            .Select(head => (Job: head.Value, Own: alive.GetValueOrDefault(head.Key, Load.None)))
            .Select(head => (head.Job, head.Own, Since: Later(head.Job.QueuedAt, head.Own.LastTurn)))
            // A clock may stand still between launches; then who has less is next.
            .OrderBy(head => head.Since).ThenBy(head => head.Own.Machines).ThenBy(head => head.Job.Id.Repository, StringComparer.Ordinal))
        {
            var caps = capsOf(job.Id.Repository);
            if (!Fits(Load.None, job, caps))
                return new Turn.Refuse(job, $"the job counts for {job.Vcpus} vCPUs, and the cap of {job.Id.Repository} is {caps.Vcpus}");
            if (!Fits(Load.None, job, inAll))
                return new Turn.Refuse(job, $"the job counts for {job.Vcpus} vCPUs, and the cap of all repositories together is {inAll.Vcpus}");
            if (!Fits(own, job, caps))
                atOwnCap++;
            else if (Fits(total, job, inAll))
                return new Turn.Launch(job);
            else if (now - since >= Patience)
                return new Turn.Wait($"room is kept for job {job.Id.Key} of {job.Id.Repository}, which counts for {job.Vcpus} vCPUs: {Sizes(total)} are alive, the caps are {Sizes(inAll)}");
        }

        return new Turn.Wait(
            heads.Count == 0 ? "no job waits"
            : atOwnCap == heads.Count ? "every repository with waiting jobs is at its cap"
            : $"the caps of all repositories together, {Sizes(inAll)}, leave no room: {Sizes(total)} are alive");
    }

    private static bool Fits(Load alive, WaitingLaunch job, Caps caps) => !(alive.Machines + 1 > caps.Machines) && !(alive.Vcpus + job.Vcpus > caps.Vcpus);

    private static bool IsBefore(WaitingLaunch one, WaitingLaunch other) =>
        one.QueuedAt != other.QueuedAt ? one.QueuedAt < other.QueuedAt : string.CompareOrdinal(one.Id.Key, other.Id.Key) < 0;

    private static DateTimeOffset Later(DateTimeOffset one, DateTimeOffset? other) => other > one ? other.Value : one;

    private static string Sizes(Load alive) => $"{alive.Machines} machines with {alive.Vcpus} vCPUs";

    private static string Sizes(Caps caps) => $"{caps.Machines?.ToString(System.Globalization.CultureInfo.InvariantCulture) ?? "any number of"} machines with {caps.Vcpus?.ToString(System.Globalization.CultureInfo.InvariantCulture) ?? "any number of"} vCPUs";
}
