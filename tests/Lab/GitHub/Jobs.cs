using System.Collections.Concurrent;

namespace Mayfly.Lab.GitHub;

/// <summary>The queue: which job goes to which runner, and what the world is told of it.</summary>
internal sealed class Jobs(Webhooks webhooks, Journal journal, TimeProvider time)
{
    private readonly ConcurrentDictionary<long, Job> _jobs = new();
    /// <summary>A job that its runner did not acquire is offered again after this long.</summary>
    private static readonly TimeSpan OfferHold = TimeSpan.FromSeconds(60);

    private TaskCompletionSource _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private long _lastId = 43_000_000_000;

    public IReadOnlyCollection<Job> All => [.. _jobs.Values];

    public Job Find(long id) => _jobs.GetValueOrDefault(id) ?? throw new GitHubFault(404, "Not Found");

    /// <summary>Queues a job and sends the webhook.</summary>
    /// <returns>The job, and the status that the webhook was answered with (0 if it could not be delivered).</returns>
    public async Task<(Job Job, int Status)> QueueAsync(string name, IReadOnlyList<string> labels, IReadOnlyList<string> steps, string? fault = null)
    {
        var id = Interlocked.Increment(ref _lastId);
        var job = new Job(id, id - 30_000_000_000, name, labels, steps, time.GetUtcNow()) { Fault = fault };
        _jobs[id] = job;
        Changed();
        return (job, await webhooks.SendAsync(job, "queued"));
    }

    /// <summary>A queued job all of whose labels the runner bears. It stays queued until it is acquired, and is held for
    /// the runner meanwhile.</summary>
    public Job? Offer(Runner runner)
    {
        lock (_jobs)
        {
            var now = time.GetUtcNow();
            var job = _jobs.Values.OrderBy(j => j.Id).FirstOrDefault(j => j.State == JobState.Queued && j.Runner is null
                && (j.OfferedTo is null || now >= j.OfferedAt + OfferHold) && j.Labels.All(l => runner.Labels.Contains(l, StringComparer.OrdinalIgnoreCase)));
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
            var job = _jobs.Values.FirstOrDefault(j => j.MessageId == messageId) ?? throw new RunnerFailure(404, RunnerFailure.RunService, "", "Job not found");
            if (job.Runner is not null || job.State != JobState.Queued || job.OfferedTo != runner)
                throw new RunnerFailure(409, RunnerFailure.RunService, "", "Job already acquired");
            (job.Runner, runner.Job) = (runner, job);
            return job;
        }
    }

    /// <summary>The first renewal means that the job runs.</summary>
    public void Start(Job job)
    {
        lock (_jobs)
        {
            if (job.State != JobState.Queued)
                return;
            (job.State, job.Started) = (JobState.InProgress, time.GetUtcNow());
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
        }

        journal.Record("github", "job completed", $"{job.Id}", conclusion);
        _ = webhooks.SendAsync(job, "completed");
    }

    /// <summary>Cancels a job: at once while it is queued, by a message to its runner while it runs.</summary>
    public void Cancel(Job job)
    {
        if (job.State == JobState.Queued && job.Runner is null)
            Complete(job, "cancelled");
        job.CancelRequested = true;
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
}
