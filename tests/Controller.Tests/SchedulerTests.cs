using Mayfly.Lab.Aws;
using Mayfly.Lab.GitHub;

namespace Mayfly.Controller.Tests;

/// <summary>What becomes of a launch that fails, try after try, by a clock that is moved by hand.</summary>
[Collection(Endpoints.Collection)]
public sealed class SchedulerTests : IAsyncLifetime
{
    private static readonly TimeSpan LongestPause = TimeSpan.FromMinutes(5);

    private ReconcileBed _bed = null!;

    public async ValueTask InitializeAsync() => _bed = await ReconcileBed.StartAsync();

    public ValueTask DisposeAsync() => _bed.DisposeAsync();

    [Fact]
    public async Task What_passes_is_tried_again_for_as_long_as_GitHub_keeps_the_job()
    {
        _bed.Lab.Fleet.Refusals["*"] = "InsufficientInstanceCapacity";
        var job = await QueueAsync();
        for (var tries = 1; tries <= 12; tries++)
        {
            var launch = await _bed.TryAsync();
            Assert.Equal((LaunchState.Launching, tries), (launch.State, launch.Tries));
            await _bed.AssertNothingToTryAsync();
            _bed.Move(LongestPause);
        }

        _bed.Lab.Fleet.Refusals.Clear();
        Assert.Equal(LaunchState.Launched, (await _bed.TryAsync()).State);
        Assert.Equal($"mayfly-{job.Id}-1", Assert.Single(_bed.Lab.GitHub.Runners.All).Name);
        Assert.Single(_bed.Living);
    }

    [Fact]
    public async Task However_often_it_was_taken_up_its_pause_is_no_longer_than_the_longest()
    {
        _bed.Lab.Fleet.Refusals["*"] = "InsufficientInstanceCapacity";
        await QueueAsync();
        for (var times = 0; times < 40; times++) // from 5 s on doubled so often it would be longer than any time
            await _bed.TakeUpAsync();
        Assert.Equal(LaunchState.Launching, (await _bed.TryAsync()).State);
        _bed.Move(LongestPause);
        await _bed.TryAsync();
    }

    [Fact]
    public async Task After_a_day_it_is_given_up_with_what_it_failed_of()
    {
        _bed.Lab.Fleet.Refusals["*"] = "InsufficientInstanceCapacity";
        await QueueAsync();
        Assert.Equal(LaunchState.Launching, (await _bed.TryAsync()).State);
        _bed.Move(TimeSpan.FromHours(24) - TimeSpan.FromMinutes(5));
        Assert.Equal(LaunchState.Launching, (await _bed.TryAsync()).State);
        _bed.Move(LongestPause);
        var launch = await _bed.TryAsync();
        Assert.Equal(LaunchState.Refused, launch.State);
        Assert.Contains("InsufficientInstanceCapacity", launch.Reason!, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Its_day_begins_when_its_environment_lets_it_be_queued()
    {
        _bed.Lab.Fleet.Refusals["*"] = "InsufficientInstanceCapacity";
        var job = await QueueAsync();
        await _bed.Intake.FoundAsync([ReconcileBed.JobOf(job, JobAction.Waiting)]);
        _bed.Move(TimeSpan.FromDays(3));
        await _bed.Intake.FoundAsync([ReconcileBed.JobOf(job, JobAction.Queued)]);
        Assert.Equal(LaunchState.Launching, (await _bed.TryAsync()).State);
    }

    [Fact]
    public async Task While_GitHub_is_down_no_more_machines_are_launched_for_nothing_and_a_job_that_is_gone_gets_none()
    {
        _bed.Lab.GitHub.Disturb = (_, path) =>
        {
            if (path.Contains("/actions/", StringComparison.Ordinal))
                throw new GitHubFault(502, "the lab was told to");
        };
        var job = await QueueAsync();
        for (var tries = 1; tries <= 10; tries++)
        {
            Assert.NotEqual(LaunchState.Refused, (await _bed.TryAsync()).State);
            _bed.Move(LongestPause);
        }

        Assert.InRange(_bed.Lab.Fleet.Instances.Count, 0, 1);
        _bed.Lab.GitHub.Disturb = null;
        _bed.Lab.GitHub.Jobs.Cancel(job);
        Assert.Equal(LaunchState.Dropped, (await _bed.TryAsync()).State);
    }

    [Theory]
    [InlineData("Unavailable", 503, true)]
    [InlineData("RequestLimitExceeded", 503, true)]
    [InlineData("InternalError", 500, false)]
    public async Task A_service_that_has_too_much_to_do_is_asked_more_slowly(string code, int status, bool isSlower)
    {
        var refused = 0;
        _bed.Lab.Ec2.Disturb = (action, _) =>
        {
            if (action == "CreateFleet" && refused++ == 0)
                throw new AwsFault(code, "the lab was told to", status);
        };
        await QueueAsync();
        Assert.Equal(LaunchState.Launched, (await _bed.TryAsync()).State);
        Assert.Equal(isSlower, _bed.Sites.At(_bed.Sites.Home).Paces["CreateFleet"].PerSecond < _bed.Settings.CreateFleetPace);
    }

    private async Task<Job> QueueAsync()
    {
        var (job, _) = await _bed.Lab.GitHub.Jobs.QueueAsync("build", ["mayfly"], []);
        await _bed.Intake.FoundAsync([ReconcileBed.JobOf(job, JobAction.Queued)]);
        return job;
    }
}
