using System.Globalization;
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

    [Fact]
    public async Task An_hour_of_supervision_takes_a_second_of_processor_time_at_most()
    {
        var minute = TimeSpan.FromMinutes(1);
        var run = await bed.LaunchAsync(spot: true);
        await run.QueueAsync(["while [ ! -e go ]; do sleep 5; done"]);
        await run.WaitForAsync(Milestone.JobStarted);
        // The first rounds bring code and connections in.
        await Task.Delay(TimeSpan.FromSeconds(15), TimeProvider.System, TestContext.Current.CancellationToken);

        var before = run.Machine.AgentCpuSeconds();
        await Task.Delay(minute, TimeProvider.System, TestContext.Current.CancellationToken);
        var hour = (run.Machine.AgentCpuSeconds() - before) * 60;

        TestContext.Current.TestOutputHelper?.WriteLine(string.Create(CultureInfo.InvariantCulture, $"agent: {hour:F2} s of processor time for an hour of supervision, spot notices included"));
        Assert.InRange(hour, 0, 1);
        await run.GoAsync();
        Assert.Equal("job-succeeded", (await run.EndAsync()).Ending);
    }
}
