using Mayfly.Contract;

namespace Mayfly.Agent;

/// <summary>Step 9, decided: no clock, no input or output.</summary>
internal static class Watch
{
    /// <summary>What to do about a happening: the next phase, and the ending if the machine is to end now. Entering
    /// <see cref="Phase.Stopping"/> means asking the runner to stop.</summary>
    public static (Phase Next, Ending? Ending) On(Phase phase, Happening happening, Deadlines deadlines) => (phase, happening) switch
    {
        (Phase.Stopping stopping, Happening.RunnerExited or Happening.DeadlinePassed) => (phase, stopping.Ending),
        (Phase.Stopping { WithJob: { } ending }, Happening.JobStarted) => (new Phase.Stopping(ending), null),
        (Phase.Stopping, _) => (phase, null),

        (_, Happening.StopRequested stop) => (new Phase.Stopping(Ending.Stopped(stop.By)), null),

        (_, Happening.SandboxFailed failed) => (phase, Ending.NotProved(Step.StartRunner, $"the sandbox: {failed.Why}")),

        // The runner is asked to stop, so that GitHub hears of it; one that is done anyway may finish.
        (not Phase.Finishing, Happening.WatchFailed failed) => (new Phase.Stopping(Ending.WatchFailed(failed.Why)), null),

        // A machine without a job ends at once. A job gets what is left of the notice but the time that its end takes.
        ({ IsBeforeJob: true }, Happening.SpotNoticed or Happening.SpotDue) =>
            (new Phase.Stopping(Ending.SpotInterruptedIdle, WithJob: Ending.SpotInterrupted), null),
        (not Phase.Finishing, Happening.SpotDue) => (new Phase.Stopping(Ending.SpotInterrupted), null),

        (Phase.Starting, Happening.RunnerConnected) => (new Phase.Connected(), null),
        (Phase.Starting or Phase.Connected, Happening.RunnerListening) => (new Phase.Listening(), null),
        (Phase.Listening or Phase.LastLook, Happening.JobOffered) => (new Phase.Acquiring(IsLast: phase is Phase.LastLook), null),
        (Phase.Acquiring { IsLast: false }, Happening.OfferGivenUp) => (new Phase.Listening(), null),
        ({ IsBeforeJob: true }, Happening.JobStarted) => (new Phase.Accepted(), null),
        (Phase.Accepted, Happening.WorkerStarted) => (new Phase.WorkerStarted(), null),
        (Phase.WorkerStarted, Happening.WorkerAlive) => (new Phase.Working(), null),
        (Phase.WorkerStarted or Phase.Working, Happening.WorkerLost) => (new Phase.WorkerGone(HadItsJob: phase is Phase.Working), null),
        (not Phase.Finishing, Happening.JobDone done) => (new Phase.Finishing(done.Result), null),

        (Phase.Starting, Happening.DeadlinePassed) => (phase, Ending.NotConnected(deadlines.Connect)),
        (Phase.Connected, Happening.DeadlinePassed) => (phase, Ending.NotListening(deadlines.Listen)),
        (Phase.Finishing, Happening.DeadlinePassed) => (phase, Ending.NotExited(deadlines.Exit)),
        (Phase.Listening, Happening.DeadlinePassed) => (new Phase.LastLook(), null),
        (Phase.LastLook, Happening.NoJobOffered or Happening.DeadlinePassed) or (Phase.Acquiring, Happening.OfferGivenUp) => (StopWithoutJob(Ending.Idle(deadlines.Idle)), null),
        (Phase.Acquiring, Happening.DeadlinePassed) => (StopWithoutJob(Ending.JobNotAcquired(deadlines.Acquire)), null),
        (_, Happening.DeadlinePassed) => (new Phase.Stopping(EndingOfLate(phase, deadlines)), null),

        (_, Happening.RunnerExited exited) => (phase, EndingOf(phase, exited.Code)),

        _ => (phase, null), // said twice, or late: the runner connects anew after a lost network, for one
    };

    /// <summary>The milestone that a happening is, if it is one.</summary>
    public static string? MilestoneOf(Happening happening) => happening switch
    {
        Happening.RunnerConnected => Milestone.RunnerConnected,
        Happening.RunnerListening => Milestone.RunnerListening,
        Happening.JobStarted => Milestone.JobStarted,
        Happening.JobDone => Milestone.JobDone,
        _ => null,
    };

    private static Phase.Stopping StopWithoutJob(Ending ending) => new(ending, WithJob: Ending.JobTooLate(ending));

    /// <summary>Phases in which GitHub still counts on the runner: it is asked to stop, so that GitHub hears of it.</summary>
    private static Ending EndingOfLate(Phase phase, Deadlines deadlines) => phase switch
    {
        Phase.Accepted => Ending.WorkerNotStarted(deadlines.Worker),
        Phase.WorkerStarted => Ending.WorkerHung($"the worker had not read its job after {deadlines.Worker.TotalSeconds:F0} s"),
        Phase.WorkerGone => Ending.WorkerLost(deadlines.Report),
        _ => Ending.JobTimedOut(deadlines.Job),
    };

    /// <summary>
    /// What the runner's exit means. Its codes alone do not tell: 0 follows a refused registration as well as a job
    /// that was interrupted. The results of 100 and above are told only of jobs that ran.
    /// </summary>
    private static Ending EndingOf(Phase phase, int code) => (phase, code) switch
    {
        (Phase.Finishing finishing, _) => Ending.JobEnded(finishing.Result),
        (_, >= 100 and <= 105) => Ending.JobEnded((JobResult)(code - 100)),
        (Phase.Accepted or Phase.WorkerStarted or Phase.WorkerGone { HadItsJob: false }, 0) => Ending.WorkerHung("the runner gave up on its worker and exited with 0"),
        ({ IsBeforeJob: false }, _) => Ending.JobLost(code),
        (_, 1) => Ending.RunnerRefused,
        (_, 5) => Ending.SessionConflict,
        (_, 7) => Ending.RunnerTooOld,
        _ => Ending.RunnerExited(code),
    };
}
