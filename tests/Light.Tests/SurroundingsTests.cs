using Mayfly.Contract;
using Xunit;

namespace Mayfly.Light.Tests;

public sealed class SurroundingsTests(LightBed bed)
{
    [Fact]
    public async Task A_full_disk_and_a_lost_network_are_told_of_and_end_nothing()
    {
        var run = await bed.LaunchAsync();
        var job = await run.QueueAsync(["head -c 1G /dev/zero > fill || true; while [ ! -e go ]; do sleep 0.1; done"]);
        await run.WaitForAsync(Milestone.JobStarted);
        await run.Machine.CutNetworkAsync();

        await run.WaitForNoteAsync("the network is lost: no link");
        await run.WaitForNoteAsync("scratch is full: 0.0 GiB of 0.5 GiB left");
        await run.Machine.MendNetworkAsync();
        await run.WaitForNoteAsync("the network is back");
        await run.GoAsync();

        var ending = await run.EndAsync();
        Assert.Equal("job-succeeded", ending.Ending);
        Assert.Equal("success", job.Conclusion);
        Assert.Contains(ending.Events, e => e.Name == "note" && e.Detail.StartsWith("at most: disk 0.5 of 0.5 GiB, memory", StringComparison.Ordinal));
    }
}
