using Mayfly.Contract;

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

    public sealed record Working : Phase;

    /// <summary>The runner said how the job came out, and has to exit by itself.</summary>
    public sealed record Finishing(JobResult Result) : Phase;

    /// <summary>The runner was asked to stop; the machine will end for this reason once it has.</summary>
    public sealed record Stopping(Ending Ending) : Phase;
}

/// <summary>What happened: from the runner's output, its exit, the clock or a signal.</summary>
internal abstract record Happening
{
    private Happening()
    {
    }

    public sealed record RunnerConnected : Happening;

    public sealed record RunnerListening : Happening;

    public sealed record JobStarted(string Name) : Happening;

    public sealed record JobDone(JobResult Result) : Happening;

    public sealed record RunnerExited(int Code) : Happening;

    /// <summary>The phase that was current when the clock was set lasted too long.</summary>
    public sealed record DeadlinePassed : Happening;

    public sealed record StopRequested(string By) : Happening;
}

/// <summary>How long each phase may last.</summary>
internal sealed record Deadlines(TimeSpan Connect, TimeSpan Listen, TimeSpan Idle, TimeSpan Job, TimeSpan Exit, TimeSpan Stop)
{
    /// <summary>The runner was seen to connect and listen within a second; two minutes outlast a slow network and an
    /// emulated machine. It uploads what is left of its logs before it exits. Stopping by signal took up to 10 s, plus
    /// 10 s for a step that ignores its own signals.</summary>
    public static Deadlines From(LaunchSettings settings) => new(
        Connect: TimeSpan.FromMinutes(2), Listen: TimeSpan.FromMinutes(2), settings.IdleTimeout, settings.JobTimeout,
        Exit: TimeSpan.FromMinutes(2), Stop: TimeSpan.FromSeconds(40));

    public TimeSpan Of(Phase phase) => phase switch
    {
        Phase.Starting => Connect,
        Phase.Connected => Listen,
        Phase.Listening => Idle,
        Phase.Working => Job,
        Phase.Finishing => Exit,
        Phase.Stopping => Stop,
        _ => throw new InvalidOperationException($"a phase without a deadline: {phase}"),
    };
}

/// <summary>Step 9, decided: no clock, no input or output.</summary>
internal static class Watch
{
    /// <summary>What to do about a happening: the next phase, and the ending if the machine is to end now. Entering
    /// <see cref="Phase.Stopping"/> means asking the runner to stop.</summary>
    public static (Phase Next, Ending? Ending) On(Phase phase, Happening happening, Deadlines deadlines) => (phase, happening) switch
    {
        (Phase.Stopping stopping, Happening.RunnerExited or Happening.DeadlinePassed) => (phase, stopping.Ending),
        (Phase.Stopping, _) => (phase, null),

        (_, Happening.StopRequested stop) => (new Phase.Stopping(Ending.Stopped(stop.By)), null),

        (Phase.Starting, Happening.RunnerConnected) => (new Phase.Connected(), null),
        (Phase.Starting or Phase.Connected, Happening.RunnerListening) => (new Phase.Listening(), null),
        (Phase.Starting or Phase.Connected or Phase.Listening, Happening.JobStarted) => (new Phase.Working(), null),
        (not Phase.Finishing, Happening.JobDone done) => (new Phase.Finishing(done.Result), null),

        (Phase.Starting, Happening.DeadlinePassed) => (phase, Ending.NotConnected(deadlines.Connect)),
        (Phase.Connected, Happening.DeadlinePassed) => (phase, Ending.NotListening(deadlines.Listen)),
        (Phase.Listening, Happening.DeadlinePassed) => (new Phase.Stopping(Ending.Idle(deadlines.Idle)), null),
        (Phase.Working, Happening.DeadlinePassed) => (new Phase.Stopping(Ending.JobTimedOut(deadlines.Job)), null),
        (Phase.Finishing, Happening.DeadlinePassed) => (phase, Ending.NotExited(deadlines.Exit)),

        (_, Happening.RunnerExited exited) => (phase, EndingOf(phase, exited.Code)),

        _ => (phase, null), // said twice, or late: the runner connects anew after a lost network, for one
    };

    /// <summary>
    /// What the runner's exit means. Its codes alone do not tell: 0 follows a refused registration as well as a job
    /// that was interrupted. The results of 100 and above are told only of jobs that ran.
    /// </summary>
    private static Ending EndingOf(Phase phase, int code) => (phase, code) switch
    {
        (Phase.Finishing finishing, _) => Ending.JobEnded(finishing.Result),
        (_, >= 100 and <= 105) => Ending.JobEnded((JobResult)(code - 100)),
        (Phase.Working, _) => Ending.JobLost(code),
        (_, 1) => Ending.RunnerRefused,
        (_, 5) => Ending.SessionConflict,
        (_, 7) => Ending.RunnerTooOld,
        _ => Ending.RunnerExited(code),
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
}
