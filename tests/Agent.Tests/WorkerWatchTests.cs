using Xunit;

namespace Mayfly.Agent.Tests;

/// <summary>Against folders that look like a cgroup, <c>/proc</c> and the runner's <c>_diag</c>.</summary>
public sealed class WorkerWatchTests : IDisposable
{
    private readonly string _cgroup = Directory.CreateTempSubdirectory("mayfly-cgroup-").FullName;
    private readonly string _diagnostics = Directory.CreateTempSubdirectory("mayfly-diag-").FullName;
    private readonly string _proc = Directory.CreateTempSubdirectory("mayfly-proc-").FullName;

    public WorkerWatchTests() => File.WriteAllText(Path.Combine(_cgroup, "cgroup.procs"), "");

    [Fact]
    public void A_worker_is_found_by_its_argument()
    {
        var watch = Make();
        Assert.Null(watch.Look(new Phase.Accepted()));

        AddProcess(7, "Runner.Listener\0run\0");
        AddProcess(8, "/x/Runner.Worker\0spawnclient\0101\0102\0");

        Assert.IsType<Happening.WorkerStarted>(watch.Look(new Phase.Accepted()));
        Assert.Null(watch.Look(new Phase.Working()));
        Directory.Delete(Path.Combine(_proc, "8"), recursive: true);
        Assert.IsType<Happening.WorkerLost>(watch.Look(new Phase.Working()));
    }

    [Fact]
    public void A_worker_that_came_and_went_between_two_looks_was_there()
    {
        var watch = Make();
        File.WriteAllText(Path.Combine(_diagnostics, "Worker_20261121-080000-utc.log"), "");

        Assert.IsType<Happening.WorkerStarted>(watch.Look(new Phase.Accepted()));
        Assert.IsType<Happening.WorkerLost>(watch.Look(new Phase.WorkerStarted()));
    }

    [Fact]
    public void A_worker_that_went_with_its_job_had_it()
    {
        var watch = Make();
        File.WriteAllText(Path.Combine(_diagnostics, "Worker_20261121-080000-utc.log"), $"{RunnerLog.Waiting}\n{RunnerLog.Received}\n");

        Assert.IsType<Happening.WorkerStarted>(watch.Look(new Phase.Accepted()));
        Assert.IsType<Happening.WorkerAlive>(watch.Look(new Phase.WorkerStarted()));
        Assert.IsType<Happening.WorkerLost>(watch.Look(new Phase.Working()));
    }

    [Fact]
    public void A_job_is_offered_when_the_listeners_log_says_so()
    {
        var watch = Make();
        Assert.Null(watch.Look(new Phase.Listening()));

        File.WriteAllText(Path.Combine(_diagnostics, "Runner_20261121-080000-utc.log"), $"[INFO] {RunnerLog.Acknowledging} 'x'\n");

        Assert.IsType<Happening.JobOffered>(watch.Look(new Phase.Listening()));
    }

    [Theory]
    [InlineData("[INFO] Skipping message Job. Job already acquired")]
    [InlineData("[ERR ] Caught exception from acquiring job message: System.Net.Http.HttpRequestException")]
    [InlineData("[INFO] Acknowledging runner request 'y'.")]
    public void An_offer_is_given_up_when_the_listeners_log_says_so_or_tells_of_another(string line)
    {
        var watch = Make();
        var log = Path.Combine(_diagnostics, "Runner_20261121-080000-utc.log");
        File.WriteAllText(log, $"[INFO] {RunnerLog.Acknowledging} 'x'\n");
        Assert.IsType<Happening.JobOffered>(watch.Look(new Phase.Listening()));
        Assert.Null(watch.Look(new Phase.Acquiring(IsLast: false)));

        File.AppendAllText(log, line + "\n");

        Assert.IsType<Happening.OfferGivenUp>(watch.Look(new Phase.Acquiring(IsLast: false)));
    }

    [Fact]
    public void An_offer_that_was_given_up_is_none_and_the_next_one_is()
    {
        var watch = Make();
        var log = Path.Combine(_diagnostics, "Runner_20261121-080000-utc.log");
        File.WriteAllText(log, $"[INFO] {RunnerLog.Acknowledging} 'x'\n[INFO] {RunnerLog.GivingUp[0]} Job already acquired\n");
        Assert.Null(watch.Look(new Phase.Listening()));
        Assert.IsType<Happening.NoJobOffered>(watch.Look(new Phase.LastLook()));

        File.AppendAllText(log, $"[INFO] {RunnerLog.Acknowledging} 'y'\n");

        Assert.IsType<Happening.JobOffered>(watch.Look(new Phase.LastLook()));
        Assert.Null(watch.Look(new Phase.Acquiring(IsLast: true)));
    }

    [Fact]
    public void A_worker_has_its_job_when_its_log_says_so()
    {
        var watch = Make();
        AddProcess(8, "/x/Runner.Worker\0spawnclient\0101\0102\0");
        watch.Look(new Phase.Accepted());
        var log = Path.Combine(_diagnostics, "Worker_20261121-080000-utc.log");
        File.WriteAllText(log, RunnerLog.Waiting + "\n");
        Assert.Null(watch.Look(new Phase.WorkerStarted()));

        File.AppendAllText(log, RunnerLog.Received + "\n");

        Assert.IsType<Happening.WorkerAlive>(watch.Look(new Phase.WorkerStarted()));
    }

    public void Dispose()
    {
        foreach (var folder in (string[])[_cgroup, _diagnostics, _proc])
            Directory.Delete(folder, recursive: true);
    }

    private WorkerWatch Make() => new(_cgroup, _diagnostics, _proc, TimeProvider.System);

    private void AddProcess(int id, string commandLine)
    {
        Directory.CreateDirectory(Path.Combine(_proc, $"{id}"));
        File.WriteAllText(Path.Combine(_proc, $"{id}", "cmdline"), commandLine);
        File.AppendAllText(Path.Combine(_cgroup, "cgroup.procs"), $"{id}\n");
    }
}
