using Mayfly.Lab.Ec2;
using Mayfly.Lab.Machines;

namespace Mayfly.Lab.Tests;

/// <summary>Mostly waits, beside the other tests.</summary>
public sealed class ManyScriptedMachinesTests
{
    [Fact]
    public async Task Five_thousand_do_five_thousand_jobs_at_the_pace_that_the_buckets_allow()
    {
        const int jobs = 5_000;
        var (lab, time) = await ScriptedLab.StartAsync(new MachineScript());
        await using var disposed = lab;
        lab.GitHub.Webhooks.Lanes = 16;
        for (var i = 0; i < jobs; i++)
            _ = lab.GitHub.Jobs.QueueAsync($"job {i}", ["mayfly"], []);
        // Faster than machines can be launched.
        lab.Ssm.Rates.Set("PutParameter", 10);
        var launching = LaunchAllAsync();

        await ScriptedLab.RunAsync(lab, time, () => launching.IsCompleted && lab.Fleet.Instances.All(i => i.State == InstanceState.Terminated));
        await launching;

        Assert.Equal(jobs, lab.GitHub.Jobs.All.Count(j => j.Conclusion == "success"));
        Assert.Equal(jobs, lab.GitHub.Jobs.All.Select(j => j.Runner!.Name).Distinct().Count());
        Assert.Empty(lab.Ssm.Parameters);
        Assert.Empty(lab.GitHub.Runners.All);
        // CreateFleet's 2 a second are what is scarce: (5,000 - 5) / 2 s, and a machine's life after that.
        Assert.InRange((time.GetUtcNow() - ScriptedLab.Start).TotalSeconds, 2_497, 2_900);

        async Task LaunchAllAsync()
        {
            for (var i = 0; i < jobs; i++)
                await ScriptedLab.LaunchAsync(lab, time, $"runner-{i}");
        }
    }
}
