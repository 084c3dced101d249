using System.Globalization;
using Mayfly.Contract;
using Mayfly.Lab;
using Xunit;

namespace Mayfly.Light.Tests;

/// <summary>What ends a machine without the agent: systemd's timers.</summary>
public sealed class DeadManTests(LightBed bed)
{
    [Fact]
    public async Task A_machine_that_nothing_else_ends_is_ended_by_its_timer()
    {
        // Neither the agent nor its watchdog is there any more.
        var run = await bed.LaunchAsync(spot: false, null, null, (LightBed.UnitTag, "WatchdogSec=0"));
        await run.QueueAsync(["sleep 300"]);
        await run.WaitForAsync(Milestone.JobStarted);
        await run.DeadManIsSetAsync();
        // A check is not content with what the unit's own file says.
        Assert.Contains("FAILS  the machine ends with the agent: WatchdogUSec=", await run.Machine.RunAsync("/usr/lib/mayfly/mayfly-agent check; true"), StringComparison.Ordinal);
        Assert.True(Signals.Send(await run.AgentAsync(), "STOP"));

        await run.Machine.RunAsync(
            "mkdir -p /run/systemd/system/mayfly-ceiling.timer.d && printf '[Timer]\\nOnActiveSec=\\nOnActiveSec=1\\n' > /run/systemd/system/mayfly-ceiling.timer.d/soon.conf && systemctl daemon-reload && systemctl restart mayfly-ceiling.timer");

        await run.TerminatedAsync();
        Assert.Equal("Client.InstanceInitiatedShutdown", run.Instance.Reason.Code);
        Assert.Contains(run.Console, line => line.Contains("outlived every limit of its launch", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_machine_that_may_not_power_off_is_terminated_through_the_API_by_itself()
    {
        var run = await bed.LaunchAsync(spot: false, null, null, (LightBed.ArgumentTag, "--drop-capability=CAP_SYS_BOOT"));
        await run.QueueAsync(["true"]);

        Assert.Equal("job-succeeded", (await run.EndAsync()).Ending);
        Assert.Equal("Client.UserInitiatedShutdown", run.Instance.Reason.Code);
        Assert.Contains(run.Notes(), note => note.StartsWith("the power-off was refused: reboot LINUX_REBOOT_CMD_POWER_OFF: Operation not permitted", StringComparison.Ordinal));
    }

    [Fact]
    public async Task The_image_has_a_timer_for_the_longest_life_and_the_agent_sets_one_for_its_launch()
    {
        var run = await bed.LaunchAsync(spot: false, null, null, (Tags.IdleTimeout, "600"), (Tags.JobTimeout, "1000"));
        await run.QueueAsync(["while [ ! -e go ]; do sleep 0.1; done"]);
        await run.WaitForAsync(Milestone.JobStarted);

        await run.DeadManIsSetAsync();
        // The runner's own phases sum up to 26 minutes and 25 s, and there are 5 minutes of slack.
        Assert.Equal(600 + 1000 + (26 * 60) + 25 + 300, await SecondsOfAsync(run, "mayfly-deadman.timer"));
        Assert.Equal(((6 * 24) + 1) * 3600, await SecondsOfAsync(run, "mayfly-ceiling.timer"));
        foreach (var timer in (string[])["mayfly-deadman.timer", "mayfly-ceiling.timer"])
            Assert.Equal("mayfly-deadman.service active", await run.Machine.RunAsync($"echo -n $(systemctl show {timer} --property=ActiveState --property=Unit --value)"));

        await run.GoAsync();
        Assert.Equal("job-succeeded", (await run.EndAsync()).Ending);
    }

    /// <summary>What a timer was set to, in seconds after its start.</summary>
    private static async Task<long> SecondsOfAsync(LightRun run, string timer)
    {
        // { OnActiveUSec=6d 1h ; next_elapse=... }: systemd's words are read by its own program.
        var span = await run.Machine.RunAsync($"systemctl show {timer} --property=TimersMonotonic --value | sed 's/.*OnActiveUSec=\\([^;]*\\) ;.*/\\1/' | xargs -I{{}} systemd-analyze timespan '{{}}' | awk '$1 ~ /s:$/ {{ print $2 }}'");
        return long.Parse(span.Trim(), CultureInfo.InvariantCulture) / 1_000_000;
    }
}
