using Mayfly.Contract;

namespace Mayfly.Agent;

/// <summary>
/// Every reason for which a machine ends; none ends without one. The names stand on the console, in the controller's
/// store and in docs/debugging.md.
/// </summary>
internal sealed record Ending(string Name, Step Step, string Detail)
{
    // The job ran.
    public static Ending JobEnded(JobResult result) =>
        new($"job-{result.ToString().ToLowerInvariant()}", Step.Watch, "the runner did its one job");

    public static Ending JobTimedOut(TimeSpan limit) =>
        new("job-timed-out", Step.Watch, $"the job ran longer than {limit.TotalSeconds:F0} s; raise {Tags.JobTimeout} if it has to");

    public static Ending SpotInterrupted { get; } =
        new("spot-interrupted", Step.Watch, "EC2 takes this spot instance back; the job was stopped in time for GitHub to hear of it, and can be run again");

    // No job ran, through no fault of the machine.
    public static Ending Idle(TimeSpan limit) =>
        new("idle", Step.Watch, $"no job came within {limit.TotalSeconds:F0} s ({Tags.IdleTimeout}); another runner may have taken it, or it was cancelled");

    public static Ending RunnerTooOld { get; } =
        new("runner-too-old", Step.Watch, "GitHub gives no job to this runner release any more; build and roll out a new image");

    public static Ending RunnerRefused { get; } =
        new("runner-refused", Step.Watch, "GitHub refused the runner's configuration or session; it may have been used or removed before");

    public static Ending SessionConflict { get; } =
        new("session-conflict", Step.Watch, "another runner holds a session with the same configuration");

    public static Ending SpotInterruptedIdle { get; } =
        new("spot-interrupted-idle", Step.Watch, "EC2 takes this spot instance back; no job had begun");

    public static Ending Stopped(string by) => new("stopped", Step.Watch, $"asked to stop by {by}");

    // The machine is not what the launch asks for.
    /// <summary>Sizes in bytes; swap lies on the same disk as scratch, and takes from it.</summary>
    public static Ending ScratchTooSmall(long has, long asked, long swap, bool inMemory) =>
        new("scratch-too-small", Step.LearnIdentity,
            $"scratch holds {has >> 20} MiB {(inMemory ? "of memory" : $"beside {swap >> 20} MiB of swap ({Tags.SwapGiB})")}, and {asked >> 20} MiB are asked for ({Tags.ScratchGiB}); "
            + $"attach an empty volume of at least {(asked + swap + (1L << 30) - 1) >> 30} GiB, take a type with larger instance stores, or ask for less");

    public static Ending SwapTooLarge(long asked, long memory) =>
        new("swap-too-large", Step.LearnIdentity,
            $"the launch asks for {asked >> 20} MiB of swap ({Tags.SwapGiB}), which is in memory here, and memory holds {memory >> 20} MiB; attach an empty volume, or ask for less");

    // The runner did not do what it should.
    public static Ending NotConnected(TimeSpan limit) =>
        new("runner-not-connected", Step.Watch, $"the runner did not connect to GitHub within {limit.TotalSeconds:F0} s; look at egress rules and DNS");

    public static Ending NotListening(TimeSpan limit) =>
        new("runner-not-listening", Step.Watch, $"the runner connected but did not listen for jobs within {limit.TotalSeconds:F0} s");

    public static Ending NotExited(TimeSpan limit) =>
        new("runner-hung", Step.Watch, $"the job was done but the runner did not exit within {limit.TotalSeconds:F0} s");

    public static Ending RunnerExited(int code) =>
        new("runner-exited", Step.Watch, $"the runner exited with {code} before it did a job");

    public static Ending JobLost(int code) =>
        new("job-lost", Step.Watch, $"the runner exited with {code} while its job ran");

    public static Ending JobNotAcquired(TimeSpan limit) =>
        new("job-not-acquired", Step.Watch, $"GitHub offered a job and the runner did not fetch it within {limit.TotalSeconds:F0} s (actions/runner#4668)");

    /// <param name="otherwise">What the runner was asked to stop for.</param>
    public static Ending JobTooLate(Ending otherwise) =>
        new("job-too-late", Step.Watch, $"a job began when the runner was being asked to stop ({otherwise.Name}), and was stopped with it; it can be run again");

    public static Ending WorkerNotStarted(TimeSpan limit) =>
        new("worker-not-started", Step.Watch, $"the runner took a job but no worker process appeared within {limit.TotalSeconds:F0} s");

    public static Ending WorkerHung(string how) =>
        new("worker-hung", Step.Watch, $"{how}; no step of the job ran (actions/runner#4598)");

    public static Ending WorkerLost(TimeSpan limit) =>
        new("worker-lost", Step.Watch, $"the worker process had gone and the runner did not report the job within {limit.TotalSeconds:F0} s");

    // The agent itself was lost: told by its unit, or by no one.
    public static Ending AgentLost(string how) =>
        new("agent-lost", Step.End, $"the agent's process was lost: {how}; a job that ran was lost with it");

    public static Ending WatchFailed(string why) =>
        new("watch-failed", Step.Watch, $"{why}; the job was stopped, since nothing runs that is watched by half");

    // A step could not be proved: no job may run.
    public static Ending NotProved(Step step, string why) => new(NameOfUnproved(step), step, why);

    public static Ending ConfigUnusable(EnvelopeFault fault, string why) =>
        new(fault switch
        {
            EnvelopeFault.Absent => "config-absent",
            EnvelopeFault.WrongVersion => "config-wrong-version",
            EnvelopeFault.Truncated => "config-truncated",
            EnvelopeFault.TooLarge => "config-too-large",
            _ => "config-malformed",
        }, Step.TakeConfig, why);

    /// <summary>The source did not give it up, for as long as that was worth asking.</summary>
    public static Ending ConfigNotTaken(ConfigTrouble trouble, string why) => new(trouble.Ending, Step.TakeConfig, why);

    public static Ending ConfigNotDeleted(string why) => new("config-not-deleted", Step.TakeConfig, why);

    private static string NameOfUnproved(Step step) => step.Number switch
    {
        1 => "root-not-verified",
        2 => "scratch-not-encrypted",
        3 => "swap-not-encrypted",
        4 => "view-not-laid",
        5 => "identity-unknown",
        6 => "config-not-taken",
        7 => "door-not-closed",
        8 => "runner-not-started",
        _ => "agent-failed",
    };
}

/// <summary>A step that cannot go on. The machine ends for the reason it carries.</summary>
internal sealed class EndingException(Ending ending, Exception? inner = null) : Exception(ending.Detail, inner)
{
    public Ending Ending { get; } = ending;
}

/// <summary>How a job came out, by GitHub's names and the runner's numbers: its exit code is 100 plus these.</summary>
internal enum JobResult
{
    Succeeded = 0,
    SucceededWithIssues = 1,
    Failed = 2,
    Canceled = 3,
    Skipped = 4,
    Abandoned = 5,
}
