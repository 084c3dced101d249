namespace Mayfly.Controller.Policies;

/// <summary>What to do about an event: closed, so that nothing falls through.</summary>
internal abstract record Decision
{
    private Decision()
    {
    }

    /// <summary>Launch a machine for the job.</summary>
    public sealed record Launch(Order Order) : Decision;

    /// <summary>Write down that a runner took the job, or how it ended.</summary>
    public sealed record Record : Decision;

    /// <summary>Nothing to do, and why.</summary>
    public sealed record Ignore(string Reason) : Decision;

    /// <summary>The job asks for what is not allowed or not known: names the label, the value and what is allowed.</summary>
    public sealed record Refuse(string Reason) : Decision;
}

/// <summary>Decides by the job and the policy alone: no clock, no log, no chance.</summary>
internal static class Decide
{
    public static Decision For(WorkflowJob job, Policy policy)
    {
        if (!Ask.Concerns(job.Labels, policy.Label))
            return new Decision.Ignore($"the job does not ask for '{policy.Label}'");
        return job.Action switch
        {
            JobAction.Queued => LaunchFor(job, policy),
            JobAction.InProgress or JobAction.Completed => new Decision.Record(),
            JobAction.Waiting => new Decision.Ignore("the job waits for its environment; it will be queued again"),
            _ => new Decision.Ignore("an action that Mayfly does not know"),
        };
    }

    private static Decision LaunchFor(WorkflowJob job, Policy policy)
    {
        var (ask, reason) = Ask.Parse(job.Labels, policy.Label);
        if (reason is not null)
            return new Decision.Refuse(reason);
        var rules = policy.For(job.Repository);
        return rules.Forbids(ask) is var (key, why)
            ? new Decision.Refuse($"{ask.Source(key)}: {why}, by the policy for {job.Repository}")
            : new Decision.Launch(rules.OrderFor(ask));
    }
}
