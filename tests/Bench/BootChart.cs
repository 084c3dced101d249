using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;
using Mayfly.Contract;

namespace Mayfly.Bench;

/// <summary>One bar of the boot chart, in seconds since power-on.</summary>
internal sealed record BootStep(string Name, double From, double To);

/// <summary>Where a boot's time goes, as an SVG with one bar a step.</summary>
internal static partial class BootChart
{
    private const int RowHeight = 26;
    private const int Left = 230;
    private const int Width = 640;

    /// <summary>From the firmware to the runner, by what the machine told on its console. Its clock starts with its kernel,
    /// and is set against power-on where its first line was seen.</summary>
    public static IReadOnlyList<BootStep> Steps(BootRun run)
    {
        var events = run.Console.Select(l => (l.At, Event: RootBoot.Told(l.Line))).Where(l => l.Event is not null).Select(l => (l.At, Event: l.Event!)).ToList();
        double When(Func<ConsoleEvent, bool> which) => events.First(e => which(e.Event)).Event.At;
        double Reached(string milestone) => When(e => e.Name == milestone);
        var verified = events.First(e => e.Event.Name == Milestone.RootVerified);
        var kernel = verified.At - verified.Event.At; // when its clock began
        var first = double.Parse(First().Match(events.First(e => e.Event.Name == Milestone.ViewLaid).Event.Detail).Groups[1].Value, CultureInfo.InvariantCulture);
        (string Name, double Until)[] marks =
        [
            ("kernel", first), ("1 verify the root", Reached(Milestone.RootVerified)), ("2 encrypt scratch", Reached(Milestone.ScratchReady)),
            ("3 encrypt swap", Reached(Milestone.SwapReady)), ("4 lay the writable view", Reached(Milestone.ViewLaid)),
            ("systemd, to the agent's start", When(e => e.Detail == RootBoot.ServiceBegan)), ("5 learn who I am", Reached(Milestone.IdentityLearned)),
            ("6 take the configuration", Reached(Milestone.ConfigDeleted)), ("7 close the door", Reached(Milestone.DoorClosed)),
            ("8 start the runner", Reached(Milestone.RunnerStarted)), ("the runner, until it listens", Reached(Milestone.RunnerListening)),
        ];
        var steps = new List<BootStep> { new("firmware, and loading the kernel", 0, kernel) };
        foreach (var (name, until) in marks)
            steps.Add(new BootStep(name, steps[^1].To, Math.Max(steps[^1].To, kernel + until)));
        return steps;
    }

    /// <summary>systemd's own account of its units, the longest first.</summary>
    public static IReadOnlyList<string> Units(BootRun run) =>
        run.Console.Select(l => RootBoot.Told(l.Line)?.Detail).FirstOrDefault(d => d?.StartsWith(RootBoot.UnitsTold, StringComparison.Ordinal) == true)?[RootBoot.UnitsTold.Length..].Split(", ") ?? [];

    public static string Draw(IReadOnlyList<BootStep> steps)
    {
        var scale = Width / steps[^1].To;
        var svg = new StringBuilder();
        svg.AppendLine(CultureInfo.InvariantCulture, $"""<svg xmlns="http://www.w3.org/2000/svg" width="{Left + Width + 90}" height="{(steps.Count * RowHeight) + 40}" font-family="sans-serif" font-size="13">""");
        svg.AppendLine("""<rect width="100%" height="100%" fill="white"/>""");
        for (var i = 0; i < steps.Count; i++)
        {
            var (step, y) = (steps[i], 10 + (i * RowHeight));
            var x = Left + (step.From * scale);
            svg.AppendLine(CultureInfo.InvariantCulture, $"""<text x="{Left - 10}" y="{y + 15}" text-anchor="end">{step.Name.Replace("&", "&amp;", StringComparison.Ordinal)}</text>""");
            svg.AppendLine(CultureInfo.InvariantCulture, $"""<rect x="{x:F1}" y="{y}" width="{Math.Max(1, (step.To - step.From) * scale):F1}" height="{RowHeight - 6}" fill="#3b6ea5"/>""");
            svg.AppendLine(CultureInfo.InvariantCulture, $"""<text x="{Left + (step.To * scale) + 6:F1}" y="{y + 15}">{step.To - step.From:F2} s</text>""");
        }

        svg.AppendLine(CultureInfo.InvariantCulture, $"""<text x="{Left}" y="{(steps.Count * RowHeight) + 28}">seconds since power-on: 0 to {steps[^1].To:F1}</text>""");
        svg.AppendLine("</svg>");
        return svg.ToString();
    }

    [GeneratedRegex(@"in the initrd since ([\d.]+) s")]
    private static partial Regex First();
}
