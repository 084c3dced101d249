using System.Globalization;

namespace Mayfly.Agent;

/// <summary>
/// systemd's timer that ends the machine without this program. The image has one for the longest limits that tags can set;
/// once the launch's own are known a nearer one is set beside it (docs/decisions/0012).
/// </summary>
internal static class DeadMan
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(30);

    /// <summary>Time for the machine's end itself, and for what passed before the limits were known.</summary>
    private static readonly TimeSpan Slack = TimeSpan.FromMinutes(5);

    /// <summary>Sets the timer; a failure is told of, since the image's own timer holds.</summary>
    /// <param name="note">Tells something worth knowing.</param>
    public static async Task NarrowAsync(Deadlines deadlines, Action<string> note, TimeProvider time, CancellationToken cancel)
    {
        var seconds = (deadlines.Longest + Slack).TotalSeconds.ToString("F0", CultureInfo.InvariantCulture);
        try
        {
            // Without a command the timer is made for the unit that is there already.
            await Command.RunAsync("/usr/bin/systemd-run",
                ["--quiet", "--unit=mayfly-deadman.service", $"--on-active={seconds}s", "--timer-property=AccuracySec=1s"], input: null, Limit, time, cancel);
        }
        catch (CommandException e)
        {
            note($"the dead-man timer could not be set to {seconds} s, the image's own holds: {e.Message}");
        }
    }
}
