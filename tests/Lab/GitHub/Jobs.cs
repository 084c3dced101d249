using System.Collections.Concurrent;

namespace Mayfly.Lab.GitHub;

/// <summary>The queue: which job goes to which runner, and what the world is told of it.</summary>
internal sealed class Jobs(Webhooks webhooks, Journal journal, TimeProvider time)
{
    private readonly ConcurrentDictionary<long, Job> _jobs = new();
    private TaskCompletionSource _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private long _lastId = 43_000_000_000;

    public IReadOnlyCollection<Job> All => [.. _jobs.Values];

    public Job Find(long id) => _jobs.GetValueOrDefault(id) ?? throw new GitHubFault(404, "Not Found");

    /// <summary>Queues a job and sends the webhook.</summary>
    /// <returns>The job, and the status that the webhook was answered with (0 if it could not be delivered).</returns>
    public async Task<(Job Job, int Status)> QueueAsync(string name, IReadOnlyList<string> labels, IReadOnlyList<string> steps)
    {
        var id = Interlocked.Increment(ref _lastId);
        var job = new Job(id, id - 30_000_000_000, name, labels, steps, time.GetUtcNow());
        _jobs[id] = job;
        Changed();
        return (job, await webhooks.SendAsync(job, "queued"));
    }

    /// <summary>A queued job all of whose labels the runner bears. It stays queued until it is acquired.</summary>
    public Job? Offer(Runner runner) => _jobs.Values.OrderBy(j => j.Id)
        .FirstOrDefault(j => j.State == JobState.Queued && j.Runner is null && j.Labels.All(l => runner.Labels.Contains(l, StringComparer.OrdinalIgnoreCase)));

    /// <exception cref="GitHubFault">404: no such job; 409: another runner was faster.</exception>
    public Job Acquire(Runner runner, string messageId)
    {
        lock (_jobs)
        {
            var job = _jobs.Values.FirstOrDefault(j => j.MessageId == messageId) ?? throw new GitHubFault(404, "Job not found");
            if (job.Runner is not null || job.State != JobState.Queued)
                throw new GitHubFault(409, "Job already acquired");
            (job.Runner, runner.Job) = (runner, job);
            return job;
        }
    }

    /// <summary>The first renewal means that the job runs.</summary>
    public async Task StartAsync(Job job)
    {
        if (job.State != JobState.Queued)
            return;
        (job.State, job.Started) = (JobState.InProgress, time.GetUtcNow());
        journal.Record("github", "job started", $"{job.Id}", job.Runner!.Name);
        await webhooks.SendAsync(job, "in_progress");
    }

    public async Task CompleteAsync(Job job, string conclusion)
    {
        (job.State, job.Completed, job.Conclusion) = (JobState.Completed, time.GetUtcNow(), conclusion);
        job.Started ??= job.Completed;
        journal.Record("github", "job completed", $"{job.Id}", conclusion);
        await webhooks.SendAsync(job, "completed");
    }

    /// <summary>Cancels a job: at once while it is queued, by a message to its runner while it runs.</summary>
    public Task CancelAsync(Job job)
    {
        if (job.State == JobState.Queued && job.Runner is null)
            return CompleteAsync(job, "cancelled");
        job.CancelRequested = true;
        Changed();
        return Task.CompletedTask;
    }

    public async Task ChangedWithinAsync(TimeSpan limit, CancellationToken cancel)
    {
        try
        {
            await _changed.Task.WaitAsync(limit, time, cancel);
        }
        catch (TimeoutException)
        {
            // nothing new: the poll is answered empty
        }
    }

    private void Changed() => Interlocked.Exchange(ref _changed, new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)).TrySetResult();
}
