using System.Diagnostics;
using Mayfly.Contract;
using Xunit;

namespace Mayfly.Light.Tests;

/// <summary>A serial line that takes nothing, as after Ctrl-S at its far end, stops nothing.</summary>
public sealed class ConsoleTests(LightBed bed)
{
    /// <summary>TCXONC, TCOOFF: what Ctrl-S does to a terminal that listens to it.</summary>
    private const string Stop = "perl -e 'open(my $console, \">\", \"/dev/console\") or die $!; defined ioctl($console, 0x540A, 0) or die $!'";

    [Fact]
    public async Task A_console_that_takes_nothing_any_more_keeps_no_job_and_no_machine()
    {
        var run = await bed.LaunchAsync();
        var job = await run.QueueAsync(["while [ ! -e go ]; do sleep 0.1; done"]);
        await run.WaitForAsync(Milestone.JobStarted);

        await run.Machine.RunAsync(Stop);
        await run.GoAsync();

        await run.TerminatedAsync();
        Assert.Null(run.Ending);
        Assert.Equal("success", job.Conclusion);
        Assert.Equal("Client.InstanceInitiatedShutdown", run.Instance.Reason.Code);
    }

    [Fact]
    public async Task A_console_that_takes_nothing_keeps_no_machine_that_could_not_start()
    {
        var run = await bed.LaunchAsync();
        await run.WaitForAsync(Milestone.RunnerListening);

        await run.Machine.RunAsync($"{Stop} && systemctl start --no-block emergency.service");
        var since = Stopwatch.StartNew();

        await run.TerminatedAsync();
        // The unit's JobTimeoutSec, and what a busy building machine takes.
        Assert.InRange(since.Elapsed, TimeSpan.Zero, TimeSpan.FromSeconds(10 + 60));
        Assert.Equal("Client.InstanceInitiatedShutdown", run.Instance.Reason.Code);
    }

    [Fact]
    public async Task A_stop_character_does_not_stop_the_console()
    {
        var run = await bed.LaunchAsync();
        await run.QueueAsync(["while [ ! -e go ]; do sleep 0.1; done"]);
        await run.WaitForAsync(Milestone.JobStarted);

        // TIOCSTI: as if Ctrl-S had come in.
        await run.Machine.RunAsync("perl -e 'open(my $console, \"+<\", \"/dev/console\") or die $!; my $stop = chr(0x13); defined ioctl($console, 0x5412, $stop) or die $!'");
        await run.GoAsync();

        Assert.Equal("job-succeeded", (await run.EndAsync()).Ending);
    }
}
