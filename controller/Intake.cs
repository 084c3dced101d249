using Mayfly.Controller.Database;

namespace Mayfly.Controller;

/// <summary>Works the inbox off: each delivery is parsed and decided on, and what follows is written down together with its being done.
/// Nothing outside the store is touched here, so that a crash leaves nothing half done.</summary>
internal sealed partial class Intake(Store store, PolicySource policy, InboxWake inbox, QueueWake queue, Seen.Health health, ILogger<Intake> log) : BackgroundService
{
    /// <summary>Deliveries of one transaction.</summary>
    private const int Together = 100;

    /// <summary>A delivery that failed so often, at least a second apart, has a fault of its own. What the store fails at altogether, it does not count.</summary>
    public const int MostTries = 10;

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        while (!stoppingToken.IsCancellationRequested)
        {
            health.Turn(nameof(Intake), Seen.Health.Soon);
            try
            {
                if (await WorkAsync())
                    continue;
            }
            catch (Exception e)
            {
                LogFailed(e.Message, Unexpected(e)); // they stand in the store, open
            }

            await inbox.WaitAsync(stoppingToken);
        }
    }

    /// <summary>Works off the oldest deliveries, all in one transaction. Where that fails, each is tried by itself from then on: one that cannot
    /// be stored keeps no other back.</summary>
    /// <returns>Whether there are more.</returns>
    /// <exception cref="StoreException">The store cannot be written.</exception>
    public async Task<bool> WorkAsync()
    {
        var taken = new List<string>();
        try
        {
            if (await WorkAsync(sql => Deliveries.TakeAsync(sql, Together), taken) == Together)
                return true;
        }
        catch (Exception e) when (taken.Count > 0)
        {
            LogFailed(e.Message, Unexpected(e));
            await store.Deliveries.FailAsync(taken, MostTries);
        }

        foreach (var id in await store.Deliveries.FailedAsync(Together))
        {
            health.Turn(nameof(Intake), Seen.Health.Soon); // each may take as long as a whole turn
            try
            {
                await WorkAsync(sql => Deliveries.TakeAsync(sql, id), []);
            }
            catch (Exception e)
            {
                if (await store.Deliveries.FailAsync([id], MostTries) == 0)
                    LogAgain(id, e.Message, Unexpected(e));
                else
                    LogSetAside(id, MostTries, e.Message, Unexpected(e));
            }
        }

        return false;
    }

    /// <param name="taken">Is told which were taken, also where that fails.</param>
    /// <returns>How many were worked on.</returns>
    private async Task<int> WorkAsync(Func<ISql, ValueTask<List<(string Id, byte[] Body)>>> take, List<string> taken)
    {
        var outcomes = await store.TransactAsync(async sql =>
        {
            var deliveries = await take(sql);
            taken.Clear();
            taken.AddRange(deliveries.Select(d => d.Id));
            var said = new List<Action>();
            foreach (var (id, body) in deliveries)
            {
                said.Add(await ActAsync(sql, id, body));
                await Deliveries.DoneAsync(sql, id);
            }

            return said;
        });
        foreach (var say in outcomes)
            say();
        if (outcomes.Count > 0)
            queue.Set();
        return outcomes.Count;
    }

    /// <summary>Where it happened is told only of what nobody reckoned with.</summary>
    private static Exception? Unexpected(Exception e) => e is StoreException ? null : e;

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
    private partial void LogFailed(string reason, Exception? unexpected);

    [LoggerMessage(Level = LogLevel.Warning, Message = "delivery {Delivery} could not be worked on and is tried again: {Reason}")]
    private partial void LogAgain(string delivery, string reason, Exception? unexpected);

    [LoggerMessage(Level = LogLevel.Error, Message = "delivery {Delivery} is set aside after {Tries} tries: {Reason}")]
    private partial void LogSetAside(string delivery, int tries, string reason, Exception? unexpected);
}
