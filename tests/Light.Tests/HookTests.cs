using Mayfly.Contract;
using Xunit;

namespace Mayfly.Light.Tests;

/// <summary>What a job's log shows of its machine, and an operator's own hooks. They are put into the job's view here, where
/// an image would have them.</summary>
public sealed class HookTests(LightBed bed)
{
    private const string Hooks = "/run/mayfly/job-root/etc/mayfly/hooks";

    [Fact]
    public async Task The_jobs_log_shows_the_machine_before_its_first_step()
    {
        var run = await bed.LaunchAsync();
        var job = await run.QueueAsync(["echo first step; fallocate -l 300M fill"]);

        await run.EndAsync();

        var log = bed.Lab.GitHub.Broker.Logs[job.Id];
        Assert.Contains($"{run.Instance.Id}, m7i.large in {run.Instance.Zone}", log, StringComparison.Ordinal);
        Assert.Contains($"{run.Instance.Spec.ImageId}, root hash light", log, StringComparison.Ordinal);
        Assert.Matches(@"Boot .*7 close the door \d+\.\d\d s", log);
        // The agent looked before and will look again in half a minute: the hook itself sees what the job has left.
        Assert.Matches(@"High-water marks\ndisk 0\.3 of 0\.5 GiB, memory .* GiB, swap ", log);
        Assert.True(log.IndexOf("Boot ", StringComparison.Ordinal) < log.IndexOf("first step", StringComparison.Ordinal));
    }

    [Fact]
    public async Task An_operators_hooks_run_in_the_sandbox_before_and_after_the_job()
    {
        var (job, log) = await RunAsync(
            $"echo 'echo before as $(id -un)' > {Hooks}/job-started.d/10-mine; echo 'echo after' > {Hooks}/job-completed.d/10-mine; chmod +x {Hooks}/*/10-mine; echo ignored > {Hooks}/job-started.d/not-executable");

        Assert.Equal("success", job.Conclusion);
        Assert.Equal(["before as runner", "the job", "after"], log.Where(l => l.StartsWith("before", StringComparison.Ordinal) || l is "the job" or "after"));
    }

    [Theory]
    [InlineData("exit 3", 60, "exited with 3")]
    [InlineData("sleep 600", 1, "took longer than 1 s")]
    public async Task A_hook_that_fails_or_hangs_fails_the_job(string hook, int limit, string why)
    {
        var (job, log) = await RunAsync(
            $"echo '{hook}' > {Hooks}/job-started.d/10-mine; chmod +x {Hooks}/job-started.d/10-mine; sed -i s/limit=60/limit={limit}/ /run/mayfly/job-root/usr/lib/mayfly/hooks/run-hooks");

        Assert.Equal("failure", job.Conclusion);
        Assert.Contains(log, line => line.Contains(why, StringComparison.Ordinal));
        Assert.DoesNotContain("the job", log);
    }

    private async Task<(Lab.GitHub.Job Job, string[] Log)> RunAsync(string prepare)
    {
        var run = await bed.LaunchAsync();
        await run.WaitForAsync(Milestone.RunnerListening);
        await run.Machine.RunAsync(prepare);
        var job = await run.QueueAsync(["echo the job"]);
        await run.EndAsync();
        return (job, bed.Lab.GitHub.Broker.Logs[job.Id].Split('\n'));
    }
}
