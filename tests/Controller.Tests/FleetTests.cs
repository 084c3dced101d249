using System.Collections.Concurrent;
using Mayfly.Contract;

namespace Mayfly.Controller.Tests;

/// <summary>Pools, markets and what EC2 answers of them: the real program against the lab.</summary>
public sealed class FleetTests
{
    private static readonly string[] Auto = ["mayfly", "spot=auto"];

    [Fact]
    public async Task Without_spot_capacity_a_job_that_may_runs_on_demand_at_once()
    {
        await using var world = await World.StartAsync();
        world.Lab.Fleet.Refusals["spot"] = "InsufficientInstanceCapacity";
        var (job, _) = await world.Lab.GitHub.Jobs.QueueAsync("build", Auto, []);
        await world.LineAsync("no spot instance, so one on demand", "InsufficientInstanceCapacity");
        await world.AssertLaunchedOnceAsync(job);
        Assert.False(world.Living[0].Spot);
        Assert.DoesNotContain(world.Log, line => line.Contains("failed", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Without_spot_capacity_a_job_that_wants_spot_alone_waits_for_it()
    {
        await using var world = await World.StartAsync();
        world.Lab.Fleet.Refusals["spot"] = "InsufficientInstanceCapacity";
        var (job, _) = await world.Lab.GitHub.Jobs.QueueAsync("build", ["mayfly", "spot=true"], []);
        await world.LineAsync("attempt 1 failed", "InsufficientInstanceCapacity");
        world.AssertNothingLeft();
        world.Lab.Fleet.Refusals.Clear();
        await world.AssertLaunchedOnceAsync(job);
        Assert.True(world.Living[0].Spot);
    }

    [Fact]
    public async Task A_quota_is_said_and_no_other_market_is_tried()
    {
        await using var world = await World.StartAsync();
        world.Lab.Fleet.Refusals["spot"] = "VcpuLimitExceeded";
        var (job, _) = await world.Lab.GitHub.Jobs.QueueAsync("build", Auto, []);
        await world.LineAsync("no machine for job", $"{job.Id}", "VcpuLimitExceeded");
        world.AssertNothingLeft();
        Assert.Empty(world.Lab.Fleet.Instances);
    }

    [Fact]
    public async Task Throttled_in_a_fleets_answer_it_asks_for_spot_again()
    {
        await using var world = await World.StartAsync();
        world.Lab.Fleet.Refusals["spot"] = "RequestLimitExceeded";
        var (job, _) = await world.Lab.GitHub.Jobs.QueueAsync("build", Auto, []);
        await world.LineAsync("attempt 1 failed", "RequestLimitExceeded");
        world.Lab.Fleet.Refusals.Clear();
        await world.AssertLaunchedOnceAsync(job);
        Assert.True(world.Living[0].Spot);
    }

    [Fact]
    public async Task A_pool_that_refuses_beside_one_that_serves_undoes_nothing()
    {
        await using var world = await World.StartAsync(controller: false);
        await world.StartControllerAsync(new Dictionary<string, string> { ["Mayfly__InstanceTypes"] = "m7i.large,m7a.large" });
        world.Lab.Fleet.Refusals["m7i.large"] = "InsufficientInstanceCapacity";
        var (job, _) = await world.Lab.GitHub.Jobs.QueueAsync("build", ["mayfly"], []);
        await world.LineAsync("m7a.large", "serves; others refused", "InsufficientInstanceCapacity");
        await world.AssertLaunchedOnceAsync(job);
        Assert.Single(world.Lab.Fleet.Instances);
    }

    [Fact]
    public async Task Of_two_instances_that_one_request_launched_one_is_ended()
    {
        await using var world = await World.StartAsync();
        world.Lab.Fleet.TooMany = 1;
        var (job, _) = await world.Lab.GitHub.Jobs.QueueAsync("build", ["mayfly"], []);
        await world.AssertLaunchedOnceAsync(job);
        Assert.Equal(2, world.Lab.Fleet.Instances.Count);
    }

    [Fact]
    public async Task Killed_while_it_falls_back_it_goes_on_with_the_machine_on_demand()
    {
        await using var world = await World.StartAsync();
        world.Lab.Fleet.Refusals["spot"] = "InsufficientInstanceCapacity";
        var killed = world.KillAt("ec2", "instance launched");
        var (job, _) = await world.Lab.GitHub.Jobs.QueueAsync("build", Auto, []);
        await killed;
        world.Lab.Fleet.Refusals.Clear(); // spot is to be had again, and is not asked for
        await world.StartControllerAsync();
        await world.AssertLaunchedOnceAsync(job);
        Assert.False(Assert.Single(world.Lab.Fleet.Instances).Spot);
    }

    [Fact]
    public async Task Where_spot_fails_often_it_is_kept_off()
    {
        await using var world = await World.StartAsync(controller: false);
        await world.StartControllerAsync(new Dictionary<string, string> { ["Mayfly__InstanceTypes"] = "m7i.large", ["Mayfly__Spot__Failures"] = "2" });
        world.Lab.Fleet.Refusals["spot"] = "InsufficientInstanceCapacity";
        var markets = new ConcurrentDictionary<string, string>(); // by client token: a call whose answer comes late is made again
        world.Lab.Ec2.Disturb = (action, input) =>
        {
            if (action == "CreateFleet")
                markets[input.Get("ClientToken")!] = input.Get("TargetCapacitySpecification.DefaultTargetCapacityType")!;
        };
        for (var i = 0; i < 3; i++)
        {
            var (job, _) = await world.Lab.GitHub.Jobs.QueueAsync("build", Auto, []);
            await world.LineAsync("launched i-", $"job {job.Id} ");
        }

        await world.LineAsync("spot instances of m7i in eu-central-1 fail");
        Assert.Equal(["spot", "on-demand", "spot", "on-demand", "on-demand"], markets.OrderBy(m => m.Key, StringComparer.Ordinal).Select(m => m.Value));
    }

    [Fact]
    public async Task What_a_job_asks_for_is_what_is_launched()
    {
        await using var world = await World.StartAsync(controller: false);
        Directory.CreateDirectory(world.Folder);
        var policy = Path.Combine(world.Folder, "policy.yaml");
        await File.WriteAllTextAsync(policy, "default: {allow: {cpu: 16, ram: 64, disk: 200, families: [m7i, r7i], zones: [eu-central-1a, eu-central-1b]}}\n", TestContext.Current.CancellationToken);
        await world.StartControllerAsync(new Dictionary<string, string> { ["Mayfly__Policy"] = policy });
        var (job, _) = await world.Lab.GitHub.Jobs.QueueAsync("build", ["mayfly/cpu=8/ram=40/family=m7i+r7i/disk=100/zone=eu-central-1b"], []);
        await world.AssertLaunchedOnceAsync(job);
        var instance = Assert.Single(world.Lab.Fleet.Instances);
        Assert.Equal(("r7i.2xlarge", "eu-central-1b", "100"), (instance.Type, instance.Zone, instance.Tags[Tags.ScratchGiB]));
        Assert.InRange(Assert.Single(instance.Spec.BlockDevices).SizeGiB, 101, 120);
        Assert.True(instance.Spec.BlockDevices[0].Encrypted);
    }
}
