using Mayfly.Contract;
using Mayfly.Lab.GitHub;
using Xunit;

namespace Mayfly.Light.Tests;

/// <summary>
/// What official runners were seen to do wrong, and what GitHub does to them, each on a machine of its own: it ends, and its
/// ending says why. The runner's phases may take a twentieth of their time here, or so much that the one that is to pass does.
/// </summary>
public abstract class FaultTests(LightBed bed)
{
    internal LightBed Bed => bed;

    /// <summary>One machine with this fault of its registration.</summary>
    /// <param name="idle">Seconds; more than anything else here takes.</param>
    internal async Task<ConsoleEnding> EndWithAsync(string? fault, string idle = "60", Action<Runner>? prepare = null, Func<LightRun, Task>? meanwhile = null)
    {
        var run = await bed.LaunchAsync(spot: false, fault, prepare, (LightBed.PatienceTag, "0.05"), (Tags.IdleTimeout, idle));
        if (meanwhile is not null)
            await meanwhile(run);
        return await run.EndAsync();
    }

    /// <summary>One machine with a job that has this fault.</summary>
    /// <param name="patience">Which part of their time the runner's phases may take.</param>
    internal async Task<(ConsoleEnding Ending, Job Job)> EndJobWithAsync(string fault, string patience)
    {
        var run = await bed.LaunchAsync(spot: false, null, null, (LightBed.PatienceTag, patience));
        var job = await run.QueueAsync(["true"], fault);
        return (await run.EndAsync(), job);
    }
}

public sealed class FaultsBeforeTheJobTests(LightBed bed) : FaultTests(bed)
{
    [Fact]
    public async Task A_runner_that_never_connects() => Assert.Equal("runner-not-connected", (await EndWithAsync(RunnerFault.Silent)).Ending);

    [Fact]
    public async Task A_runner_that_gets_no_session() => Assert.Equal("runner-not-listening", (await EndWithAsync(RunnerFault.NoSession)).Ending);

    [Fact]
    public async Task A_session_that_another_runner_holds() => Assert.Equal("session-conflict", (await EndWithAsync(RunnerFault.SessionHeld)).Ending);

    [Fact]
    public async Task A_runner_that_is_too_old_for_GitHub() => Assert.Equal("runner-too-old", (await EndWithAsync(RunnerFault.TooOld)).Ending);

    [Fact]
    public async Task A_configuration_that_was_used_before() =>
        Assert.Equal("runner-refused", (await EndWithAsync(null, prepare: runner => Bed.Lab.GitHub.Runners.Remove(runner, "its one job was done elsewhere"))).Ending);
}

public sealed class FaultsWhileListeningTests(LightBed bed) : FaultTests(bed)
{
    [Fact]
    public async Task A_runner_that_is_never_given_a_job() => Assert.Equal("idle", (await EndWithAsync(null, idle: "5")).Ending);

    [Fact]
    public async Task A_runner_whose_registration_goes() => Assert.Equal("runner-exited", (await EndWithAsync(null, meanwhile: DeregisterAsync)).Ending);

    [Fact]
    public async Task A_runner_that_listens_for_ever_although_its_registration_is_gone() =>
        Assert.Equal("idle", (await EndWithAsync(RunnerFault.ListensForEver, idle: "5", meanwhile: DeregisterAsync)).Ending);

    [Fact]
    public async Task A_fetch_of_the_job_that_never_returns()
    {
        var ending = await EndWithAsync(RunnerFault.AcquireHangs, meanwhile: run => run.QueueAsync(["true"]));

        Assert.Equal("job-not-acquired", ending.Ending);
        Assert.DoesNotContain(ending.Events, e => e.Name == Milestone.JobStarted);
    }

    /// <summary>It outlives what a fetch may take, six seconds here.</summary>
    [Fact]
    public async Task A_job_that_another_runner_fetched_first() =>
        Assert.Equal("idle", (await EndWithAsync(RunnerFault.AcquireConflicts, idle: "9", meanwhile: run => run.QueueAsync(["true"]))).Ending);

    [Fact]
    public async Task A_runner_that_is_too_old_to_be_given_the_job_that_waits_for_it()
    {
        var ending = await EndWithAsync(RunnerFault.GivenNoJob, idle: "5", meanwhile: run => run.QueueAsync(["true"]));

        Assert.Equal("idle", ending.Ending);
        Assert.Contains("the runner is too old for GitHub: 2.", ending.Detail, StringComparison.Ordinal);
    }

    private async Task DeregisterAsync(LightRun run)
    {
        await run.WaitForAsync(Milestone.RunnerListening);
        Bed.Lab.GitHub.Runners.Remove(run.Runner, "a test");
    }
}

public sealed class FaultsOfTheWorkerTests(LightBed bed) : FaultTests(bed)
{
    [Theory]
    [InlineData(RunnerFault.WorkerMissing, "worker-not-started", "0.1")]
    [InlineData(RunnerFault.WorkerHangs, "worker-hung", "0.1")]
    [InlineData(RunnerFault.ExitsWithWorkerHung, "worker-hung", "1")]
    [InlineData(RunnerFault.WorkerVanishes, "worker-lost", "0.1")]
    [InlineData(RunnerFault.WorkerCrashes, "job-failed", "1")]
    [InlineData(RunnerFault.NeverExits, "runner-hung", "0.1")]
    public async Task A_job_that_ends_by(string fault, string ending, string patience) => Assert.Equal(ending, (await EndJobWithAsync(fault, patience)).Ending.Ending);

    [Fact]
    public async Task A_listener_that_is_killed_in_its_job()
    {
        var run = await Bed.LaunchAsync();
        await run.QueueAsync(["sleep 300"]);
        await run.WaitForAsync(Milestone.JobStarted);

        Assert.True(Mayfly.Lab.Signals.Send(run.Machine.ProcessIds("Runner.Listener")[0], "KILL"));

        Assert.Equal("job-lost", (await run.EndAsync()).Ending);
    }

    [Fact]
    public async Task A_job_that_runs_longer_than_it_may()
    {
        var run = await Bed.LaunchAsync(spot: false, null, null, (Tags.JobTimeout, "3"));
        var job = await run.QueueAsync(["sleep 300"]);

        Assert.Equal("job-timed-out", (await run.EndAsync()).Ending);
        Assert.Equal("failure", job.Conclusion);
    }
}
