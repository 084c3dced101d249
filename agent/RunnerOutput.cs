namespace Mayfly.Agent;

/// <summary>The lines of the official runner's standard output that tell of its state (seen with release 2.336).</summary>
internal static class RunnerOutput
{
    private const string Connected = "Connected to GitHub";
    private const string Listening = "Z: Listening for Jobs";
    private const string Running = "Z: Running job: ";
    private const string Job = "Z: Job ";
    private const string Completed = " completed with result: ";

    /// <summary>Reads a line. The runner's own lines begin with the UTC time. A step's output does not reach the listener's
    /// standard output, but a job with sudo can open it: what it forges there ends its own machine early, and no more.</summary>
    public static Happening? Parse(string line)
    {
        if (line.EndsWith(Connected, StringComparison.Ordinal))
            return new Happening.RunnerConnected();
        if (line.EndsWith(Listening, StringComparison.Ordinal))
            return new Happening.RunnerListening();
        if (line.IndexOf(Running, StringComparison.Ordinal) is var running and > 0)
            return new Happening.JobStarted(line[(running + Running.Length)..]);
        if (line.Contains(Job, StringComparison.Ordinal)
            && line.LastIndexOf(Completed, StringComparison.Ordinal) is var completed and > 0
            && Enum.TryParse<JobResult>(line[(completed + Completed.Length)..].Trim(), out var result))
            return new Happening.JobDone(result);
        return null;
    }
}
