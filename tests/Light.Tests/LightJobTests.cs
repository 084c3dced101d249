using Mayfly.Contract;
using Xunit;

namespace Mayfly.Light.Tests;

public sealed class LightJobTests(LightBed bed)
{
    [Fact]
    public async Task One_job_runs_from_step_5_to_power_off()
    {
        var run = await bed.LaunchAsync();
        var job = await run.QueueAsync(["id -un", "test \"$(cat /proc/1/comm)\" = tini"]);

        var ending = await run.EndAsync();

        Assert.Equal("job-succeeded", ending.Ending);
        Assert.Equal("success", job.Conclusion);
        Assert.Equal(["runner"], bed.Lab.GitHub.Broker.StepsOutput(job.Id));
        Assert.Matches("High-water marks\ndisk .* GiB, memory .* GiB, swap none\n", bed.Lab.GitHub.Broker.Logs[job.Id]);
        Assert.Equal("Client.InstanceInitiatedShutdown", run.Instance.Reason.Code);
        Assert.Equal(Milestone.All.SkipWhile(m => m != Milestone.IdentityLearned), ending.Events.Select(e => e.Name).Where(n => n != "note"));
    }

    [Fact]
    public async Task A_machine_that_is_stopped_in_its_job_tells_GitHub_first()
    {
        var run = await bed.LaunchAsync();
        var job = await run.QueueAsync(["sleep 300"]);
        await run.WaitForAsync(Milestone.JobStarted);

        await run.Machine.RunAsync("systemctl stop --no-block mayfly-agent.service");

        Assert.Equal("stopped", (await run.EndAsync()).Ending);
        Assert.Equal("failure", job.Conclusion);
    }
}
