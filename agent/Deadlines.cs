using System.Globalization;

namespace Mayfly.Agent;

/// <summary>How long each phase may last.</summary>
/// <param name="Connect">Until the runner says that it connected.</param>
/// <param name="Listen">Until it listens.</param>
/// <param name="Idle">Until it is offered a job that it gets, from when it first listens.</param>
/// <param name="Acquire">Until it has fetched the job that it was offered.</param>
/// <param name="Worker">Until its worker has appeared, and again until the worker has read its job.</param>
/// <param name="Job">Until the job is done.</param>
/// <param name="Report">Until the runner says how the job of a worker that has gone came out.</param>
/// <param name="Exit">Until the runner exits after its job.</param>
/// <param name="Stop">Until it exits after it was asked to.</param>
internal sealed record Deadlines(
    TimeSpan Connect, TimeSpan Listen, TimeSpan Idle, TimeSpan Acquire, TimeSpan Worker, TimeSpan Job, TimeSpan Report, TimeSpan Exit, TimeSpan Stop)
{
    /// <summary>
    /// The variable that stretches or shortens what the runner's own phases may take: a factor from 0.01 to 100. For machines
    /// that are slower than EC2's, such as emulated ones, and for tests. Set by the unit, never by a tag.
    /// </summary>
    public const string Patience = "MAYFLY_PATIENCE";

    /// <summary>
    /// The runner was seen to connect and listen within a second; two minutes outlast a slow network. A session that another
    /// holds is tried for four minutes, by the runner itself, before it gives up and says so. GitHub fails a job that was
    /// offered and not fetched after ten minutes, and a fetch takes a second. The worker gives up reading its job after 30 s by
    /// itself. After its worker has gone a runner tries to report for as long as the network is lost; GitHub's lock on the job
    /// lasts ten minutes, and no report counts after that. It uploads what is left of its logs before it exits. Stopping by
    /// signal took up to 10 s, plus 10 s for a step that ignores its own signals.
    /// </summary>
    /// <param name="patience">The variable's value; null or empty for 1.</param>
    /// <exception cref="FormatException">The factor is none.</exception>
    public static Deadlines From(LaunchSettings settings, string? patience = null)
    {
        var factor = FactorOf(patience);
        return new Deadlines(
            Connect: Minutes(2), Listen: Minutes(5), settings.IdleTimeout, Acquire: Minutes(2), Worker: Minutes(1), settings.JobTimeout,
            Report: Minutes(10), Exit: Minutes(2), Stop: TimeSpan.FromSeconds(40) * Math.Max(factor, 0.25)); // a step's own end takes 10 s anywhere

        TimeSpan Minutes(double minutes) => TimeSpan.FromMinutes(minutes) * factor;
    }

    /// <summary>A look takes milliseconds, and the round that it waits for asks the metadata service meanwhile.</summary>
    private static readonly TimeSpan LastLook = TimeSpan.FromSeconds(5);

    /// <summary>What all phases together may take. However often a runner listens, it has one idle limit; one fetch may begin before
    /// that has passed, and one after it. A job that begins while its runner is being stopped is stopped in a time of its own.</summary>
    public TimeSpan Longest => Connect + Listen + Idle + LastLook + (2 * Acquire) + (2 * Worker) + Job + Report + Exit + (2 * Stop);

    /// <param name="listened">How long ago the runner first listened. One that did not get the job it was offered listens on in what
    /// is left of the idle limit: offers must not keep a machine for ever.</param>
    public TimeSpan Of(Phase phase, TimeSpan listened) => phase switch
    {
        Phase.Starting => Connect,
        Phase.Connected => Listen,
        Phase.Listening => Idle > listened ? Idle - listened : TimeSpan.Zero,
        Phase.LastLook => LastLook,
        Phase.Acquiring => Acquire,
        Phase.Accepted or Phase.WorkerStarted => Worker,
        Phase.Working => Job,
        Phase.WorkerGone => Report,
        Phase.Finishing => Exit,
        Phase.Stopping => Stop,
        _ => throw new InvalidOperationException($"a phase without a deadline: {phase}"),
    };

    private static double FactorOf(string? patience)
    {
        if (string.IsNullOrEmpty(patience))
            return 1;
        return double.TryParse(patience, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var factor) && factor is >= 0.01 and <= 100
            ? factor
            : throw new FormatException($"{Patience}='{patience}': a factor from 0.01 to 100 is wanted");
    }
}
