namespace Mayfly.Controller;

/// <summary>What to do about an event: closed, so that nothing falls through.</summary>
internal abstract record Decision
{
    private Decision()
    {
    }

    /// <summary>Launch a machine for the job.</summary>
    public sealed record Launch(bool Spot) : Decision;

    /// <summary>Write down that a runner took the job, or how it ended.</summary>
    public sealed record Record : Decision;

    /// <summary>Nothing to do, and why.</summary>
    public sealed record Ignore(string Reason) : Decision;

    /// <summary>The job asks for what is not allowed or not known.</summary>
    public sealed record Refuse(string Reason) : Decision;
}

/// <summary>Decides by the job and the policy alone: no clock, no log, no chance.</summary>
internal static class Decide
{
    public static Decision For(WorkflowJob job, Settings policy)
    {
        if (!job.Labels.Contains(policy.Label, StringComparer.OrdinalIgnoreCase))
            return new Decision.Ignore($"the job does not ask for '{policy.Label}'");
        return job.Action switch
        {
            JobAction.Queued => LaunchFor(job.Labels),
            JobAction.InProgress or JobAction.Completed => new Decision.Record(),
            JobAction.Waiting => new Decision.Ignore("the job waits for its environment; it will be queued again"),
            _ => new Decision.Ignore("an action that Mayfly does not know"),
        };
    }

    private static Decision LaunchFor(IReadOnlyList<string> labels)
    {
        var spot = false;
        foreach (var label in labels.Where(l => l.Contains('=', StringComparison.Ordinal)))
        {
            if (label is "spot=true" or "spot=false")
                spot = label == "spot=true";
            else if (label.StartsWith("spot=", StringComparison.Ordinal))
                return new Decision.Refuse($"label '{label}': spot=true or spot=false is wanted");
            else
                return new Decision.Refuse($"label '{label}' is not known; known are spot=true and spot=false");
        }

        return new Decision.Launch(spot);
    }
}
