using Mayfly.Contract;
using Mayfly.Lab.Machines;
using Xunit;

namespace Mayfly.Light.Tests;

public sealed class CheckTests(LightBed bed)
{
    [Fact]
    public async Task A_check_says_what_holds_and_what_does_not()
    {
        var run = await bed.LaunchAsync(spot: false, null, null, (Tags.Egress, "allow"), (Tags.EgressAllow, $"{LabNetwork.Inside}"));
        var job = await run.QueueAsync(["sleep 300"]);
        await run.WaitForAsync(Milestone.JobStarted);

        await run.DeadManIsSetAsync();
        var before = await run.Machine.RunAsync("/usr/lib/mayfly/mayfly-agent check; echo exit $?");
        // A unit that is not what its file says is seen; and a hole in the door, and a dead backstop.
        var changed = await run.Machine.RunAsync("""
            cd /run/systemd/system/mayfly-agent.service.d; printf '[Unit]\nFailureAction=none\n' > zz.conf; systemctl daemon-reload
            nft delete table inet mayfly_egress; /usr/lib/mayfly/mayfly-agent check; rm zz.conf; systemctl daemon-reload
            """);
        var after = await run.Machine.RunAsync("nft flush ruleset; systemctl stop mayfly-deadman.timer; /usr/lib/mayfly/mayfly-agent check; true");

        foreach (var guarantee in (string[])["the configuration is gone from its source", "the metadata service's door is closed", "the egress policy is in force", "the job is in its sandbox", "the agent's memory is locked and never dumped", "the machine ends with the agent"])
            Assert.Contains($"holds  {guarantee}:", before, StringComparison.Ordinal);
        Assert.Contains("FAILS  the root is verified", before, StringComparison.Ordinal); // a light machine has no verity
        Assert.Contains("FAILS  the machine ends with systemd", before, StringComparison.Ordinal); // whose systemd has no watchdog
        Assert.Contains("holds  the metadata service's door is closed", changed, StringComparison.Ordinal);
        Assert.Contains("FAILS  the egress policy is in force", changed, StringComparison.Ordinal);
        Assert.Contains("FAILS  the machine ends with the agent", changed, StringComparison.Ordinal);
        Assert.Contains("exit 1", before, StringComparison.Ordinal);
        Assert.Contains("FAILS  the metadata service's door is closed", after, StringComparison.Ordinal);
        Assert.Contains("FAILS  the machine ends with the agent", after, StringComparison.Ordinal);
        Assert.Null(job.Conclusion);
        run.Machine.Kill();
    }
}
