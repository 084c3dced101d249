using Mayfly.Controller.Database;

namespace Mayfly.Controller;

/// <summary>Works the inbox off: each delivery is parsed and decided on, and what follows is written down together with its being done.
/// Nothing outside the store is touched here, so that a crash leaves nothing half done.</summary>
internal sealed partial class Intake(Store store, PolicySource policy, InboxWake inbox, QueueWake queue, Seen.Health health, ILogger<Intake> log) : BackgroundService
{
    /// <summary>Deliveries of one transaction.</summary>
    private const int Together = 100;

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        while (!stoppingToken.IsCancellationRequested)
        {
            health.Turn(nameof(Intake), Seen.Health.Soon);
            try
            {
                if (await WorkAsync() == Together)
                    continue;
            }
            catch (StoreException e)
            {
                LogNotStored(e.Message); // they stand in the store, open
            }

            await inbox.WaitAsync(stoppingToken);
        }
    }

    /// <returns>How many were worked on.</returns>
    private async Task<int> WorkAsync()
    {
        var (outcomes, count) = await store.TransactAsync(async sql =>
        {
            var taken = await Deliveries.TakeAsync(sql, Together);
            var said = new List<Action>();
            foreach (var (id, body) in taken)
            {
                said.Add(await ActAsync(sql, id, body));
                await Deliveries.DoneAsync(sql, id);
            }

            return (said, taken.Count);
        });
        foreach (var say in outcomes)
            say();
        if (count > 0)
            queue.Set();
        return count;
    }

    /// <summary>Takes jobs that were found to be queued as if a delivery had told of them.</summary>
    public async Task FoundAsync(IReadOnlyCollection<WorkflowJob> jobs)
    {
        foreach (var say in await store.TransactAsync(async sql =>
        {
            var said = new List<Action>();
            foreach (var job in jobs)
                said.Add(await ActAsync(sql, "none", job));
            return said;
        }))
        {
            say();
        }

        queue.Set();
    }

    /// <returns>What to say of it, once it is stored.</returns>
    private async ValueTask<Action> ActAsync(ISql sql, string delivery, byte[] body)
    {
        WorkflowJob job;
        try
        {
            job = WorkflowJob.Parse(body);
        }
        catch (InvalidDataException e)
        {
            return () => LogUnusable(delivery, e.Message);
        }

        return await ActAsync(sql, delivery, job);
    }

    private async ValueTask<Action> ActAsync(ISql sql, string delivery, WorkflowJob job)
    {
        switch (Decide.For(job, policy.Current))
        {
            case Decision.Launch launch:
                var (found, isNew) = await LaunchQueue.AddAsync(sql, job, launch.Order);
                return isNew ? () => LogQueued(delivery, job.Repository, job.Id, job.Name) : () => LogKnown(delivery, job.Repository, job.Id, found.State.ToString());
            case Decision.Record:
                await Launches.RecordAsync(sql, job);
                return () => LogRecorded(delivery, job.Repository, job.Id, job.Action, job.RunnerName ?? "no runner", job.Conclusion ?? "");
            case Decision.Refuse refuse:
                await LaunchQueue.RefuseAsync(sql, job, refuse.Reason);
                return () => LogRefused(delivery, job.Repository, job.Id, refuse.Reason);
            case Decision.Ignore ignore:
                if (job.Action == JobAction.Waiting)
                    await LaunchQueue.DropAsync(sql, job, ignore.Reason);
                return () => LogIgnored(delivery, job.Repository, job.Id, ignore.Reason);
            default:
                throw new InvalidOperationException("a decision that nobody acts on");
        }
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "delivery {Delivery}: job {Job} '{Name}' of {Repository} is queued")]
    private partial void LogQueued(string delivery, string repository, long job, string name);

    [LoggerMessage(Level = LogLevel.Information, Message = "delivery {Delivery}: job {Job} of {Repository}: {Action}, {Runner} {Conclusion}")]
    private partial void LogRecorded(string delivery, string repository, long job, JobAction action, string runner, string conclusion);

    [LoggerMessage(Level = LogLevel.Information, Message = "delivery {Delivery}: job {Job} of {Repository} is {State} already")]
    private partial void LogKnown(string delivery, string repository, long job, string state); // an enumeration's value would stand in quotes

    [LoggerMessage(Level = LogLevel.Debug, Message = "delivery {Delivery}: job {Job} of {Repository}: {Reason}")]
    private partial void LogIgnored(string delivery, string repository, long job, string reason);

    [LoggerMessage(Level = LogLevel.Error, Message = "delivery {Delivery}: no machine for job {Job} of {Repository}: {Reason}")]
    private partial void LogRefused(string delivery, string repository, long job, string reason);

    [LoggerMessage(Level = LogLevel.Error, Message = "delivery {Delivery} cannot be used: {Reason}")]
    private partial void LogUnusable(string delivery, string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "deliveries could not be worked on: {Reason}")]
    private partial void LogNotStored(string reason);
}
