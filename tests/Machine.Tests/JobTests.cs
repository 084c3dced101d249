using Mayfly.Contract;
using Xunit;

namespace Mayfly.Machine.Tests;

/// <summary>One job from webhook to termination.</summary>
public sealed class JobTests
{
    [Fact]
    public async Task One_job_runs_on_one_machine_and_leaves_nothing()
    {
        await using var bed = await Bed.MakeAsync();

        // A process that the job leaves behind, with all its pipes open, must not keep the machine alive.
        var output = await bed.RunJobAsync("setsid sleep 3600 &", "echo hello");

        Assert.Equal(["hello"], output);
        Assert.Empty(bed.Lab.Ssm.Parameters);
        Assert.Empty(bed.Lab.GitHub.Runners.All);
        var instance = Assert.Single(bed.Lab.Fleet.Instances);
        Assert.Equal("Client.InstanceInitiatedShutdown", instance.Reason.Code);
        Assert.Equal("job-succeeded", bed.Ending?.Ending);
        Assert.Equal(Milestone.All, bed.Ending!.Events.Select(e => e.Name).Where(n => n != "note"));
        Assert.DoesNotContain(bed.Console, line => line.Contains("PRIVATE KEY", StringComparison.Ordinal) || line.Contains(Envelope.Version, StringComparison.Ordinal));
        Assert.DoesNotContain(bed.ControllerLog, line => line.Contains(Envelope.Version, StringComparison.Ordinal));
    }
}
