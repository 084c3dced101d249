using System.Collections.Concurrent;
using Mayfly.Contract;
using Mayfly.Controller.Reconciliation;
using Mayfly.Lab.GitHub;

namespace Mayfly.Controller.Tests;

/// <summary>Spot where it does not hold, as the stack is shipped: the launch template alone says which type.</summary>
[Collection(Endpoints.Collection)]
public sealed class TemplateSpotTests : IAsyncLifetime
{
    private readonly ConcurrentDictionary<string, string> _markets = new(); // by client token: a call whose answer comes late is made again

    private ReconcileBed _bed = null!;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        _bed = await ReconcileBed.StartAsync();
        _bed.Lab.Ec2.Disturb = (action, input) =>
        {
            if (action == "CreateFleet")
                _markets[input.Get("ClientToken")!] = input.Get("TargetCapacitySpecification.DefaultTargetCapacityType")!;
        };
    }

    public ValueTask DisposeAsync() => _bed.DisposeAsync();

    [Fact]
    public async Task Often_refused_spot_is_not_asked_for_where_only_the_launch_template_knows_the_type()
    {
        await FailAsync();
        var job = await QueueAsync();
        Assert.Equal(LaunchState.Launched, (await _bed.TryAsync()).State);
        Assert.Equal([$"mayfly-{job.Id}-1-1: on-demand"], AskedFor(job));
    }

    [Fact]
    public async Task Often_taken_back_spot_is_not_asked_for()
    {
        for (var i = 0; i < _bed.Settings.SpotFailures; i++)
        {
            var (taken, _, instance) = await _bed.LaunchAsync("mayfly", "spot=auto");
            Assert.True(instance.Spot);
            var machine = _bed.Machines[instance.Id];
            machine.Console = ConsoleLine.Format(new ConsoleEnding("spot-interrupted", 9, "EC2 takes it back", [])) + "\n";
            machine.Kill();
            await _bed.Lab.Journal.WaitForAsync(_ => instance.StateName == "terminated", World.Limit, Cancel);
            _bed.Lab.GitHub.Jobs.Cancel(taken);
            await _bed.RecordAsync(taken, JobAction.Completed);
            await _bed.Reconciler.PassAsync(Cancel);
        }

        var job = await QueueAsync();
        Assert.Equal(LaunchState.Launched, (await _bed.TryAsync()).State);
        Assert.Equal([$"mayfly-{job.Id}-1-1: on-demand"], AskedFor(job));
    }

    [Fact]
    public async Task A_spot_instance_whose_answer_was_lost_is_found_again_although_spot_is_kept_off_since_then()
    {
        var job = await QueueAsync();
        using var lost = new CancellationTokenSource();
        _bed.Lab.Journal.Recorded += e =>
        {
            if (e.Name == "instance launched")
                lost.Cancel();
        };
        var claimed = await _bed.TryUntilAsync(lost.Token);
        Assert.Equal(LaunchState.Launching, claimed.State);
        await _bed.Store.Launches.AgainAfterAsync(claimed.Id, TimeSpan.FromMinutes(1));
        var first = Assert.Single(_bed.Living);

        await FailAsync();
        _bed.Move(TimeSpan.FromMinutes(1));
        var launch = await _bed.TryAsync();
        Assert.Equal((LaunchState.Launched, first.Id), (launch.State, launch.InstanceId));
        Assert.Equal([$"mayfly-{job.Id}-1-0: spot"], AskedFor(job));
    }

    [Fact]
    public async Task A_pool_that_a_zone_does_not_have_keeps_no_job_from_on_demand()
    {
        await using var bed = await ReconcileBed.StartAsync("default: {instance-types: [m7i.large, m7a.large]}\n");
        bed.Lab.Fleet.Refusals["m7i.large/spot"] = "InvalidFleetConfiguration";
        bed.Lab.Fleet.Refusals["m7a.large/spot"] = "InsufficientInstanceCapacity";
        Assert.False((await bed.LaunchAsync("mayfly", "spot=auto")).Instance.Spot);
    }

    private IEnumerable<string> AskedFor(Job job) => _markets.Where(m => m.Key.StartsWith($"mayfly-{job.Id}-1-", StringComparison.Ordinal)).Select(m => $"{m.Key}: {m.Value}").Order(StringComparer.Ordinal);

    /// <summary>So many jobs without spot that it is kept off.</summary>
    private async Task FailAsync()
    {
        _bed.Lab.Fleet.Refusals["spot"] = "InsufficientInstanceCapacity";
        for (var i = 0; i < _bed.Settings.SpotFailures; i++)
        {
            var (job, _, _) = await _bed.LaunchAsync("mayfly", "spot=auto");
            Assert.Equal([$"mayfly-{job.Id}-1-0: spot", $"mayfly-{job.Id}-1-1: on-demand"], AskedFor(job));
        }

        _bed.Lab.Fleet.Refusals.Clear();
    }

    private async Task<Job> QueueAsync()
    {
        var (job, _) = await _bed.Lab.GitHub.Jobs.QueueAsync("build", ["mayfly", "spot=auto"], []);
        await _bed.Intake.FoundAsync([ReconcileBed.JobOf(job, JobAction.Queued)]);
        return job;
    }
}
