namespace Mayfly.Lab.GitHub;

internal enum JobState
{
    Queued,
    /// <summary>For an environment's approval.</summary>
    Waiting,
    InProgress,
    Completed,
}

/// <summary>A job of a workflow run: shell commands for a runner that bears all its labels.</summary>
internal sealed class Job(long id, long runId, string name, IReadOnlyList<string> labels, IReadOnlyList<string> steps, DateTimeOffset created)
{
    private readonly TaskCompletionSource _cancelRequested = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public long Id { get; } = id;
    public long RunId { get; } = runId;
    public string Name { get; } = name;
    public IReadOnlyList<string> Labels { get; } = labels;
    public IReadOnlyList<string> Steps { get; } = steps;
    public DateTimeOffset Created { get; } = created;

    /// <summary>Full name of its repository.</summary>
    public string Repository { get; init; } = "";

    /// <summary>Of its run: 1, and one more each time it is run again.</summary>
    public int Attempt { get; init; } = 1;

    public Guid JobGuid { get; } = Guid.NewGuid();
    public Guid PlanId { get; } = Guid.NewGuid();
    public string MessageId { get; } = Guid.NewGuid().ToString();
    public JobState State { get; set; } = JobState.Queued;
    public DateTimeOffset? Started { get; set; }
    public DateTimeOffset? Completed { get; set; }

    /// <summary>GitHub's word for the outcome, such as <c>success</c>; null until then.</summary>
    public string? Conclusion { get; set; }

    /// <summary>The runner that has been told of the job, and when; the job is held for it for a minute.</summary>
    public Runner? OfferedTo { get; set; }

    public DateTimeOffset OfferedAt { get; set; }

    public Runner? Runner { get; set; }

    /// <summary>Bearer token of the worker, once the job is acquired: good for this job alone.</summary>
    public string? Token { get; set; }

    /// <summary>One of <see cref="RunnerFault"/>, for the stand-in.</summary>
    public string? Fault { get; init; }

    /// <summary>Set when a person has cancelled the job while it ran.</summary>
    public bool CancelRequested => _cancelRequested.Task.IsCompleted;

    /// <summary>Completes once somebody has cancelled the job.</summary>
    public Task WhenCancelRequested => _cancelRequested.Task;

    public bool CancelDelivered { get; set; }

    public void RequestCancel() => _cancelRequested.TrySetResult();
}

/// <summary>What a runner or GitHub does wrong when a job's variable or its registration says so; an official runner does not
/// know the variable.</summary>
internal static class RunnerFault
{
    public const string Variable = "mayfly.lab.fault";

    /// <summary>The worker never reads its job; the listener waits for it.</summary>
    public const string WorkerHangs = "worker-hangs";

    /// <summary>The worker never reads its job, and the listener exits 0 (actions/runner#4598).</summary>
    public const string ExitsWithWorkerHung = "exits-with-worker-hung";

    /// <summary>The worker is killed before its first step.</summary>
    public const string WorkerCrashes = "worker-crashes";

    /// <summary>The listener says that a job runs, and starts no worker.</summary>
    public const string WorkerMissing = "worker-missing";

    /// <summary>The worker is killed in its job, and the listener goes on as if it lived.</summary>
    public const string WorkerVanishes = "worker-vanishes";

    /// <summary>The listener reports its job and does not exit.</summary>
    public const string NeverExits = "never-exits";

    // Of the registration rather than of a job; those that the stand-in plays stand in its .runner.

    /// <summary>The listener does nothing at all.</summary>
    public const string Silent = "silent";

    /// <summary>Another holds the runner's session. The stand-in's pauses between its tries are short.</summary>
    public const string SessionHeld = "session-held";

    /// <summary>GitHub fails whoever wants a session.</summary>
    public const string NoSession = "no-session";

    /// <summary>GitHub goes on answering a listener whose registration is gone (actions/runner#4617).</summary>
    public const string ListensForEver = "listens-for-ever";

    /// <summary>The request for the job that was offered is never answered (actions/runner#4668).</summary>
    public const string AcquireHangs = "acquire-hangs";

    /// <summary>The request for the job that was offered is answered with 409: another runner was faster.</summary>
    public const string AcquireConflicts = "acquire-conflicts";

    /// <summary>The release is older than GitHub takes.</summary>
    public const string TooOld = "too-old";

    /// <summary>The release is older than GitHub gives jobs to: the listener connects, listens, and is told nothing.</summary>
    public const string GivenNoJob = "given-no-job";
}
