using System.Globalization;
using System.Text;

namespace Mayfly.Agent;

/// <summary>
/// Looks whether the runner's worker is there and has its job: what the listener says of it is not always so. By the
/// processes of the runner's cgroup, and by the runner's own logs as long as no job's code has run.
/// </summary>
/// <param name="cgroup">The runner's.</param>
/// <param name="diagnostics">Path of the runner's <c>_diag</c>, outside the sandbox.</param>
/// <param name="proc"><c>/proc</c>.</param>
internal sealed class WorkerWatch(string cgroup, string diagnostics, string proc, TimeProvider time)
{
    /// <summary>The worker's first argument; two pipes follow (src/Runner.Listener/JobDispatcher.cs).</summary>
    private const string WorkerArgument = "spawnclient";

    /// <summary>A worker whose log cannot be found or has other words is believed to have its job after this long. The
    /// official one writes them within a second.</summary>
    private static readonly TimeSpan Doubt = TimeSpan.FromSeconds(15);

    private readonly RunnerLog _listenerLog = new("Runner");
    private readonly RunnerLog _workerLog = new("Worker");
    private int _offer;
    private int _worker;
    private long _seen;

    /// <summary>What has happened that the phase does not know of yet.</summary>
    public Happening? Look(Phase phase)
    {
        switch (phase)
        {
            case Phase.Listening or Phase.LastLook:
                _offer = _listenerLog.LastOf(diagnostics, RunnerLog.Acknowledging);
                return _offer > LastGivenUp() ? new Happening.JobOffered()
                    : phase is Phase.LastLook ? new Happening.NoJobOffered()
                    : null;
            case Phase.Acquiring:
                // A further offer means that this one was given up between two looks.
                return Math.Max(LastGivenUp(), _listenerLog.LastOf(diagnostics, RunnerLog.Acknowledging)) > _offer ? new Happening.OfferGivenUp() : null;
            case Phase.Accepted:
                _worker = Processes().FirstOrDefault(IsWorker);
                _seen = time.GetTimestamp();
                // One that came and went between two looks has left its log.
                return _worker != 0 || _workerLog.Says(diagnostics, "") ? new Happening.WorkerStarted() : null;
            case Phase.WorkerStarted:
                // One that went with its job had it, and the next look finds it gone.
                var isThere = IsWorker(_worker);
                return _workerLog.Says(diagnostics, RunnerLog.Received) || (isThere && IsBelieved()) ? new Happening.WorkerAlive()
                    : isThere ? null
                    : new Happening.WorkerLost();
            case Phase.Working when !IsWorker(_worker):
                return new Happening.WorkerLost();
            default:
                return null;
        }
    }

    private int LastGivenUp() => RunnerLog.GivingUp.Max(words => _listenerLog.LastOf(diagnostics, words));

    private bool IsBelieved() => !_workerLog.Says(diagnostics, RunnerLog.Waiting) && time.GetElapsedTime(_seen) > Doubt;

    private IEnumerable<int> Processes()
    {
        try
        {
            return [.. Directory.EnumerateFiles(cgroup, "cgroup.procs", SearchOption.AllDirectories)
                .SelectMany(File.ReadAllLines).Select(line => int.Parse(line, CultureInfo.InvariantCulture))];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return []; // a cgroup of a container has gone meanwhile: the next look tells
        }
    }

    /// <summary>The command line of a process that has gone, or is a zombie, is empty.</summary>
    private bool IsWorker(int process)
    {
        try
        {
            var line = File.ReadAllBytes(Path.Combine(proc, process.ToString(CultureInfo.InvariantCulture), "cmdline"));
            return Encoding.UTF8.GetString(line).Split('\0') is [_, WorkerArgument, ..];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }
}
