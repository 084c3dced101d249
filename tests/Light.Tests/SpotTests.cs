using Mayfly.Contract;
using Xunit;

namespace Mayfly.Light.Tests;

public sealed class SpotTests(LightBed bed)
{
    [Fact]
    public async Task Before_a_job_a_notice_ends_the_machine_at_once()
    {
        var run = await bed.LaunchAsync(spot: true);
        await run.WaitForAsync(Milestone.RunnerListening);

        bed.Lab.Fleet.WarnOfInterruption(run.Instance.Id);

        Assert.Equal("spot-interrupted-idle", (await run.EndAsync()).Ending);
        Assert.Null(run.Runner.Session);
    }

    [Fact]
    public async Task A_job_is_stopped_while_GitHub_can_still_hear_of_it_and_a_recommendation_stops_nothing()
    {
        var run = await bed.LaunchAsync(spot: true);
        var job = await run.QueueAsync(["sleep 300"]);
        await run.WaitForAsync(Milestone.JobStarted);
        bed.Lab.Fleet.RecommendRebalance(run.Instance.Id);
        await run.WaitForNoteAsync("rebalance");
        Assert.Null(job.Conclusion);

        // A notice that comes late: 50 s are left, and the job keeps five of them.
        run.Instance.SpotAction = $$"""{"action": "terminate", "time": "{{TimeProvider.System.GetUtcNow().AddSeconds(50):yyyy-MM-dd'T'HH:mm:ss'Z'}}"}""";

        Assert.Equal("spot-interrupted", (await run.EndAsync()).Ending);
        Assert.Equal("failure", job.Conclusion);
    }

    [Fact]
    public async Task A_job_that_ends_before_its_time_is_up_has_its_result()
    {
        var run = await bed.LaunchAsync(spot: true);
        await run.QueueAsync(["while [ ! -e go ]; do sleep 0.1; done"]);
        await run.WaitForAsync(Milestone.JobStarted);
        bed.Lab.Fleet.WarnOfInterruption(run.Instance.Id);
        await run.WaitForNoteAsync("spot interruption");

        await run.GoAsync();

        Assert.Equal("job-succeeded", (await run.EndAsync()).Ending);
    }

    [Fact]
    public async Task A_metadata_service_that_fails_is_told_of_once_and_ends_nothing()
    {
        var run = await bed.LaunchAsync(spot: true);
        await run.WaitForAsync(Milestone.RunnerListening);
        run.Instance.MetadataFails = true;
        await run.WaitForNoteAsync("cannot be asked for spot notices");
        await run.QueueAsync(["sleep 12"]);

        Assert.Equal("job-succeeded", (await run.EndAsync()).Ending);
        Assert.Single(run.Notes(), n => n.Contains("cannot be asked for spot notices", StringComparison.Ordinal));
    }
}
