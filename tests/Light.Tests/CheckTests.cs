using Mayfly.Contract;
using Xunit;

namespace Mayfly.Light.Tests;

public sealed class CheckTests(LightBed bed)
{
    [Fact]
    public async Task A_check_says_what_holds_and_what_does_not()
    {
        var run = await bed.LaunchAsync();
        var job = await run.QueueAsync(["sleep 300"]);
        await run.WaitForAsync(Milestone.JobStarted);

        var before = await run.Machine.RunAsync("/usr/lib/mayfly/mayfly-agent check; echo exit $?");
        // A hole in the door is seen, and so is a dead backstop.
        var after = await run.Machine.RunAsync("nft flush ruleset; systemctl stop mayfly-deadman.timer; /usr/lib/mayfly/mayfly-agent check; true");

        foreach (var guarantee in (string[])["the configuration is gone from its source", "the metadata service's door is closed", "the job is in its sandbox", "the machine ends with the agent"])
            Assert.Contains($"holds  {guarantee}:", before, StringComparison.Ordinal);
        Assert.Contains("FAILS  the root is verified", before, StringComparison.Ordinal); // a light machine has no verity
        Assert.Contains("exit 1", before, StringComparison.Ordinal);
        Assert.Contains("FAILS  the metadata service's door is closed", after, StringComparison.Ordinal);
        Assert.Contains("FAILS  the machine ends with the agent", after, StringComparison.Ordinal);
        Assert.Null(job.Conclusion);
        run.Machine.Kill();
    }
}
