namespace Mayfly.Controller;

/// <summary>Where a job's machine stands.</summary>
internal enum LaunchState
{
    /// <summary>Decided on and in the queue: nothing has been asked of GitHub or EC2.</summary>
    Waiting,

    /// <summary>Asked of GitHub and EC2, perhaps more than once. No machine has a configuration yet.</summary>
    Launching,

    /// <summary>The machine runs and its configuration is being stored: from here on it may have taken it.</summary>
    Storing,

    /// <summary>The machine is being ended again, since a part of the launch failed.</summary>
    Undoing,

    /// <summary>The machine runs and its configuration is stored.</summary>
    Launched,

    /// <summary>The machine is gone; its console has been read.</summary>
    Ended,

    /// <summary>No machine: the reason says why.</summary>
    Refused,

    /// <summary>No machine: the job needs none any more, or did not need ours; the reason says why.</summary>
    Dropped,
}

/// <summary>Whether a job that EC2 interrupted is run again.</summary>
internal enum Rerun
{
    /// <summary>The order asks for it and GitHub has not agreed yet: a run that still goes on cannot be run again.</summary>
    Wanted,

    /// <summary>GitHub has begun it.</summary>
    Asked,

    /// <summary>GitHub would not, or it was not needed.</summary>
    GivenUp,
}

/// <summary>Whether it is known what a machine cost.</summary>
internal enum Bill
{
    /// <summary>It is still to be found out.</summary>
    Due,

    Known,

    /// <summary>It could not be found out, and is not tried again.</summary>
    Unknown,
}

/// <summary>Names a launch in the store.</summary>
/// <param name="Key">The job's id and run attempt; a replacement's machine is counted behind (<c>43-1-2</c>).</param>
internal readonly record struct LaunchId(string Repository, string Key)
{
    /// <summary>The instance's tag, and what is said of it in the log.</summary>
    public override string ToString() => $"{Repository}:{Key}";

    /// <summary>As it stands in an instance's tag; null if that is not ours.</summary>
    public static LaunchId? Parse(string tag) => tag.LastIndexOf(':') is > 0 and var colon && tag.Contains('/', StringComparison.Ordinal)
        ? new LaunchId(tag[..colon], tag[(colon + 1)..])
        : null;
}

/// <summary>What is known of one machine for one job.</summary>
internal sealed record LaunchRecord
{
    public required LaunchId Id { get; init; }

    public required LaunchState State { get; init; }

    public required DateTimeOffset ChangedAt { get; init; }

    /// <summary>The App's installation and the repository, for calls to GitHub.</summary>
    public required Repo Repo { get; init; }

    public required long JobId { get; init; }

    public required long RunId { get; init; }

    /// <summary>Of the run: a job that is run again keeps nothing but its name.</summary>
    public required long Attempt { get; init; }

    /// <summary>Which machine of the job's this is, from 1.</summary>
    public required int Machine { get; init; }

    /// <summary>The job's name, for people.</summary>
    public required string Name { get; init; }

    /// <summary>The job's labels, all of which its runner bears.</summary>
    public required IReadOnlyList<string> Labels { get; init; }

    public required Order Order { get; init; }

    public required DateTimeOffset QueuedAt { get; init; }

    /// <summary>How often it was tried to launch it.</summary>
    public required int Tries { get; init; }

    /// <summary>How many client tokens EC2 has answered for good, or were passed over: the next launch is a new request to it.</summary>
    public required int Spent { get; init; }

    /// <summary>From <see cref="LaunchState.Storing"/> on.</summary>
    public required string? InstanceId { get; init; }

    /// <summary>The runner that took the job; null until GitHub has said so. Not always this machine's.</summary>
    public required string? RunnerName { get; init; }

    /// <summary>The job that this machine's runner took; null until GitHub has said so. Not always this machine's.</summary>
    public required long? TookJob { get; init; }

    /// <summary>How the job came out, in GitHub's word.</summary>
    public required string? Conclusion { get; init; }

    /// <summary>Why there is no machine.</summary>
    public required string? Reason { get; init; }

    /// <summary>Why the machine ended, in the agent's words.</summary>
    public required string? Ending { get; init; }

    /// <summary>What the machine did and when: <see cref="Contract.ConsoleEvent"/>s as JSON.</summary>
    public required string? Timeline { get; init; }

    /// <summary>Null if EC2 did not interrupt it, or its order does not ask for that.</summary>
    public Rerun? Rerun { get; init; }

    /// <summary>When the job began, by GitHub's clock; on whichever machine.</summary>
    public DateTimeOffset? StartedAt { get; init; }

    /// <summary>What is to be paid for; null as long as the machine has not ended, and where EC2 no longer named it.</summary>
    public Usage? Usage { get; init; }

    /// <summary>Null as long as the machine has not ended.</summary>
    public Bill? Bill { get; init; }

    /// <summary>What the machine cost, in millionths of a dollar; null unless that is known.</summary>
    public long? MicroUsd { get; init; }

    /// <summary>The name of the runner that is registered for this launch.</summary>
    public string Runner => $"{RunnerPrefix}{Id.Key}";

    /// <summary>Before the names of all runners that Mayfly registers.</summary>
    public const string RunnerPrefix = "mayfly-";
}
