using System.Collections.Concurrent;

namespace Mayfly.Lab.GitHub;

/// <summary>
/// The queue: which job goes to which runner, and what the world is told of it. For tests: <see cref="QueueAsync"/>,
/// <see cref="HoldAsync"/> and <see cref="ReleaseAsync"/> (an environment's approval), <see cref="Start"/>,
/// <see cref="Complete"/>, <see cref="Cancel"/>, <see cref="Steal"/> and <see cref="RerunAsync"/>.
/// </summary>
internal sealed class Jobs(GitHubOptions options, Webhooks webhooks, Journal journal, TimeProvider time)
{
    /// <summary>A job that its runner did not acquire is offered again after this long.</summary>
    private static readonly TimeSpan OfferHold = TimeSpan.FromSeconds(60);

    private readonly ConcurrentDictionary<long, Job> _jobs = new();
    private readonly ConcurrentDictionary<string, Job> _byMessage = new();
    /// <summary>Those that no runner has, oldest first.</summary>
    private readonly SortedDictionary<long, Job> _queue = [];
    private TaskCompletionSource _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private long _lastId = 43_000_000_000;

    public IReadOnlyCollection<Job> All => [.. _jobs.Values];

    public Job Find(long id) => _jobs.GetValueOrDefault(id) ?? throw new GitHubFault(404, "Not Found");

    public Job? FindByMessage(string id) => _byMessage.GetValueOrDefault(id);

    /// <summary>Queues a job and sends the webhook.</summary>
    /// <param name="repository">Its full name; the lab's first one where nothing is said.</param>
    /// <param name="run">An existing run to put it into; one of its own where nothing is said.</param>
    /// <returns>The job, and the status that the webhook was answered with (0 if it could not be delivered).</returns>
    public async Task<(Job Job, int Status)> QueueAsync(
        string name, IReadOnlyList<string> labels, IReadOnlyList<string> steps, string? fault = null, string? repository = null, long? run = null)
    {
        var id = Interlocked.Increment(ref _lastId);
        var job = Add(new Job(id, run ?? id - 30_000_000_000, name, labels, steps, time.GetUtcNow()) { Fault = fault, Repository = repository ?? options.FullName });
        return (job, await webhooks.SendAsync(job, "queued"));
    }

    /// <summary>The job is run again, as the next attempt under an id of its own.</summary>
    public async Task<Job> RerunAsync(Job job)
    {
        var id = Interlocked.Increment(ref _lastId);
        var again = Add(new Job(id, job.RunId, job.Name, job.Labels, job.Steps, time.GetUtcNow()) { Repository = job.Repository, Attempt = job.Attempt + 1 });
        await webhooks.SendAsync(again, "queued");
        return again;
    }

    /// <summary>A queued job waits for an environment's approval from now on: no runner gets it.</summary>
    /// <returns>What the webhook was answered with.</returns>
    public async Task<int> HoldAsync(Job job)
    {
        lock (_jobs)
        {
            _queue.Remove(job.Id);
            job.State = JobState.Waiting;
        }

        return await webhooks.SendAsync(job, "waiting");
    }

    /// <summary>The environment is approved: the job is queued once more, and told of once more.</summary>
    public async Task<int> ReleaseAsync(Job job)
    {
        lock (_jobs)
        {
            job.State = JobState.Queued;
            _queue[job.Id] = job;
        }

        Changed();
        return await webhooks.SendAsync(job, "queued");
    }

    /// <summary>A queued job all of whose labels the runner bears. It stays queued until it is acquired, and is held for
    /// the runner meanwhile.</summary>
    public Job? Offer(Runner runner)
    {
        lock (_jobs)
        {
            var now = time.GetUtcNow();
            var job = _queue.Values.FirstOrDefault(j => (j.OfferedTo is null || now >= j.OfferedAt + OfferHold) && runner.Serves(j));
            if (job is not null)
                (job.OfferedTo, job.OfferedAt) = (runner, now);
            return job;
        }
    }

    /// <exception cref="RunnerFailure">404: no such job; 409: another runner was faster.</exception>
    public Job Acquire(Runner runner, string messageId)
    {
        lock (_jobs)
        {
            var job = FindByMessage(messageId) ?? throw new RunnerFailure(404, RunnerFailure.RunService, "", "Job not found");
            if (job.Runner is not null || job.State != JobState.Queued || job.OfferedTo != runner)
                throw new RunnerFailure(409, RunnerFailure.RunService, "", "Job already acquired");
            (job.Runner, runner.Job) = (runner, job);
            _queue.Remove(job.Id);
            return job;
        }
    }

    /// <summary>A runner takes a queued job and starts it, whomever it was meant for: with equal labels any runner may.</summary>
    public void Steal(Job job, Runner by)
    {
        lock (_jobs)
        {
            if (job.State != JobState.Queued || job.Runner is not null)
                throw new InvalidOperationException($"job {job.Id} is not queued any more");
            (job.Runner, by.Job, job.OfferedTo) = (by, job, by);
            by.Session ??= Guid.NewGuid();
            _queue.Remove(job.Id);
        }

        Start(job);
    }

    /// <summary>The first renewal means that the job runs.</summary>
    public void Start(Job job)
    {
        lock (_jobs)
        {
            if (job.State != JobState.Queued)
                return;
            (job.State, job.Started) = (JobState.InProgress, time.GetUtcNow());
            _queue.Remove(job.Id);
        }

        journal.Record("github", "job started", $"{job.Id}", job.Runner!.Name);
        _ = webhooks.SendAsync(job, "in_progress");
    }

    public void Complete(Job job, string conclusion)
    {
        lock (_jobs)
        {
            if (job.State == JobState.Completed)
                return;
            (job.State, job.Completed, job.Conclusion) = (JobState.Completed, time.GetUtcNow(), conclusion);
            job.Started ??= job.Completed;
            _queue.Remove(job.Id);
        }

        journal.Record("github", "job completed", $"{job.Id}", conclusion);
        _ = webhooks.SendAsync(job, "completed");
    }

    /// <summary>Cancels a job: at once while it is queued, by a message to its runner while it runs.</summary>
    public void Cancel(Job job)
    {
        if (job.State is JobState.Queued or JobState.Waiting && job.Runner is null)
            Complete(job, "cancelled");
        job.RequestCancel();
        Changed();
    }

    /// <summary>Completes at the next change. Taken before looking, so that no change falls between.</summary>
    public Task NextChange => _changed.Task;

    /// <summary>False if the time ran out.</summary>
    public async Task<bool> IsWithinAsync(Task change, TimeSpan limit, CancellationToken cancel)
    {
        try
        {
            await change.WaitAsync(limit, time, cancel);
            return true;
        }
        catch (TimeoutException)
        {
            return false;
        }
    }

    public void Changed() => Interlocked.Exchange(ref _changed, new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)).TrySetResult();

    private Job Add(Job job)
    {
        _jobs[job.Id] = job;
        _byMessage[job.MessageId] = job;
        lock (_jobs)
            _queue[job.Id] = job;
        Changed();
        return job;
    }
}
