using System.Globalization;

namespace Mayfly.Agent;

/// <summary>
/// systemd's timer that ends the machine without this program. The image has one for the longest limits that tags can set;
/// once the launch's own are known a nearer one is set beside it (docs/decisions/0012).
/// </summary>
internal static class DeadMan
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(30);

    /// <summary>For a runner that says nothing.</summary>
    private static readonly TimeSpan LongestWait = TimeSpan.FromSeconds(2);

    /// <summary>Time for the machine's end itself, and for what passed before the limits were known.</summary>
    private static readonly TimeSpan Slack = TimeSpan.FromMinutes(5);

    /// <summary>Sets the timer, once the runner has started, which would otherwise wait for systemd-run's and systemd's processor
    /// time. Until then, and if that fails, which is told of, the image's own timer holds.</summary>
    /// <param name="started">The runner has.</param>
    /// <param name="note">Tells something worth knowing.</param>
    /// <param name="ends">The machine ends before: no timer is needed.</param>
    public static async Task NarrowAsync(Deadlines deadlines, Task started, Action<string> note, TimeProvider time, CancellationToken ends)
    {
        await Task.WhenAny(started, Task.Delay(LongestWait, time, ends));
        if (ends.IsCancellationRequested)
            return;
        var seconds = (deadlines.Longest + Slack).TotalSeconds.ToString("F0", CultureInfo.InvariantCulture);
        try
        {
            // Without a command the timer is made for the unit that is there already.
            await Command.RunAsync("/usr/bin/systemd-run",
                ["--quiet", "--unit=mayfly-deadman.service", $"--on-active={seconds}s", "--timer-property=AccuracySec=1s"], input: null, Limit, time, CancellationToken.None);
        }
        catch (CommandException e)
        {
            note($"the dead-man timer could not be set to {seconds} s, the image's own holds: {e.Message}");
        }
    }
}
