namespace Mayfly.Agent;

/// <summary>What the runner is doing.</summary>
internal abstract record Phase
{
    private Phase()
    {
    }

    public sealed record Starting : Phase;

    public sealed record Connected : Phase;

    public sealed record Listening : Phase;

    /// <summary>The idle limit has passed, and a job may have been offered since the last look.</summary>
    public sealed record LastLook : Phase;

    /// <summary>The runner was offered a job and has to fetch it.</summary>
    /// <param name="IsLast">The idle limit has passed: if it does not get this one, it waits for no other.</param>
    public sealed record Acquiring(bool IsLast) : Phase;

    /// <summary>The runner says that a job runs; its worker has to appear.</summary>
    public sealed record Accepted : Phase;

    /// <summary>The worker is there and has to read its job.</summary>
    public sealed record WorkerStarted : Phase;

    public sealed record Working : Phase;

    /// <summary>The worker has gone, and the runner has to say how the job came out.</summary>
    /// <param name="HadItsJob">Else no step of it ran.</param>
    public sealed record WorkerGone(bool HadItsJob) : Phase;

    /// <summary>The runner said how the job came out, and has to exit by itself.</summary>
    public sealed record Finishing(JobResult Result) : Phase;

    /// <summary>The runner was asked to stop; the machine will end for this reason once it has.</summary>
    /// <param name="WithJob">The reason instead, where it turns out that the runner had just taken a job; null for the same.</param>
    public sealed record Stopping(Ending Ending, Ending? WithJob = null) : Phase;

    /// <summary>Whether no code of a job can have run yet.</summary>
    public bool IsBeforeJob => this is Starting or Connected or Listening or LastLook or Acquiring;
}
