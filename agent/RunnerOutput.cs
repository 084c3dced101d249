using System.Globalization;

namespace Mayfly.Agent;

/// <summary>The lines of the official runner's standard output that tell of its state (seen with release 2.336).</summary>
internal static class RunnerOutput
{
    private const string Connected = "√ Connected to GitHub";
    private const string Listening = "Listening for Jobs";
    private const string Running = "Running job: ";
    private const string Job = "Job ";
    private const string Completed = " completed with result: ";

    /// <summary>Characters of the UTC time that begins a line, such as <c>2026-11-21 08:00:00Z</c>.</summary>
    private const int TimeLength = 20;

    /// <summary>Reads a line from its start, since a job may be named like anything that follows. A step's output does not
    /// reach the listener's standard output, but a job with sudo can open it: what it forges there ends its own machine
    /// early, and no more.</summary>
    public static Happening? Parse(string line)
    {
        if (line == Connected)
            return new Happening.RunnerConnected();
        if (TextOf(line) is not { } text)
            return null;
        if (text == Listening)
            return new Happening.RunnerListening();
        if (text.StartsWith(Running, StringComparison.Ordinal))
            return new Happening.JobStarted(text[Running.Length..]);
        if (text.StartsWith(Job, StringComparison.Ordinal)
            && text.LastIndexOf(Completed, StringComparison.Ordinal) is var completed and > 0
            && Enum.TryParse<JobResult>(text[(completed + Completed.Length)..].Trim(), out var result))
            return new Happening.JobDone(result);
        return null;
    }

    /// <summary>What follows the time; null where there is none.</summary>
    private static string? TextOf(string line) =>
        line.Length > TimeLength + 2 && line[TimeLength] == ':' && line[TimeLength + 1] == ' '
            && DateTime.TryParseExact(line.AsSpan(0, TimeLength), "u", CultureInfo.InvariantCulture, DateTimeStyles.None, out _)
            ? line[(TimeLength + 2)..]
            : null;
}
