namespace Mayfly.Lab.GitHub;

internal enum JobState
{
    Queued,
    InProgress,
    Completed,
}

/// <summary>A job of a workflow run: shell commands for a runner that bears all its labels.</summary>
internal sealed class Job(long id, long runId, string name, IReadOnlyList<string> labels, IReadOnlyList<string> steps, DateTimeOffset created)
{
    public long Id { get; } = id;
    public long RunId { get; } = runId;
    public string Name { get; } = name;
    public IReadOnlyList<string> Labels { get; } = labels;
    public IReadOnlyList<string> Steps { get; } = steps;
    public DateTimeOffset Created { get; } = created;
    public Guid JobGuid { get; } = Guid.NewGuid();
    public Guid PlanId { get; } = Guid.NewGuid();
    public string MessageId { get; } = Guid.NewGuid().ToString();
    public JobState State { get; set; } = JobState.Queued;
    public DateTimeOffset? Started { get; set; }
    public DateTimeOffset? Completed { get; set; }

    /// <summary>GitHub's word for the outcome, such as <c>success</c>; null until then.</summary>
    public string? Conclusion { get; set; }

    public Runner? Runner { get; set; }

    /// <summary>Set when a person has cancelled the job while it ran.</summary>
    public bool CancelRequested { get; set; }
}
