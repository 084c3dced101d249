using System.Threading.Channels;
using Mayfly.Aws;

namespace Mayfly.Controller;

/// <summary>Works the inbox off: each delivery is parsed, decided on and acted on, and only then done.</summary>
internal sealed partial class Worker(Store store, Launcher launcher, Settings settings, Inbox inbox, TimeProvider time, ILogger<Worker> log) : BackgroundService
{
    /// <summary>Launches under way at once: EC2's bucket refills at about two a second, and a launch takes a few seconds.</summary>
    private const int AtOnce = 16;

    /// <summary>Tries of one delivery, with pauses that double from 5 s: some ten minutes in all, then it is given up.</summary>
    private const int MostAttempts = 8;

    private static readonly TimeSpan FirstPause = TimeSpan.FromSeconds(5);

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        foreach (var id in store.OpenDeliveries())
            inbox.Add(id);
        await Parallel.ForEachAsync(inbox.ReadAllAsync(stoppingToken), new ParallelOptions { MaxDegreeOfParallelism = AtOnce, CancellationToken = stoppingToken },
            async (id, cancel) => await WorkAsync(id, cancel));
    }

    private async Task WorkAsync(string id, CancellationToken cancel)
    {
        if (store.Take(id) is not var (body, attempt))
            return;
        try
        {
            var job = WorkflowJob.Parse(body);
            try
            {
                await ActAsync(job, cancel);
            }
            catch (Exception e) when (e is LaunchRefusedException || (attempt >= MostAttempts && !cancel.IsCancellationRequested))
            {
                store.Refused(job.Repository, job.Key, e.Message);
                LogRefused(id, job.Repository, job.Id, e.Message);
            }

            store.Done(id);
        }
        catch (InvalidDataException e)
        {
            store.Done(id);
            LogUnusable(id, e.Message);
        }
        catch (Exception e) when (e is AwsException or GitHubException or HttpRequestException or TimeoutException
            || (e is OperationCanceledException && !cancel.IsCancellationRequested))
        {
            var pause = FirstPause * Math.Pow(2, attempt - 1);
            LogRetry(id, attempt, pause, e.Message);
            _ = AgainAsync(id, pause, cancel);
        }
    }

    private async Task ActAsync(WorkflowJob job, CancellationToken cancel)
    {
        switch (Decide.For(job, settings))
        {
            case Decision.Launch launch:
                var before = store.Begin(job.Repository, job.Key);
                if (before.State != LaunchState.Launching)
                {
                    LogKnown(job.Repository, job.Id, before.State);
                    break;
                }

                await LaunchAsync(job, launch, before.Undone, cancel);
                break;
            case Decision.Record:
                store.Recorded(job);
                LogRecorded(job.Repository, job.Id, job.Action, job.RunnerName ?? "no runner", job.Conclusion ?? "");
                break;
            case Decision.Refuse refuse:
                store.Begin(job.Repository, job.Key);
                throw new LaunchRefusedException(refuse.Reason);
            case Decision.Ignore ignore:
                LogIgnored(job.Repository, job.Id, ignore.Reason);
                break;
        }
    }

    private async Task LaunchAsync(WorkflowJob job, Decision.Launch launch, int undone, CancellationToken cancel)
    {
        try
        {
            var instance = await launcher.LaunchAsync(job, launch, undone, cancel);
            store.Launched(job.Repository, job.Key, instance);
            LogLaunched(job.Repository, job.Id, job.Name, instance);
        }
        catch
        {
            store.Undone(job.Repository, job.Key);
            throw;
        }
    }

    private async Task AgainAsync(string id, TimeSpan pause, CancellationToken cancel)
    {
        try
        {
            await Task.Delay(pause, time, cancel);
            inbox.Add(id);
        }
        catch (OperationCanceledException)
        {
            // it stands in the store and is found at the next start
        }
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "launched {Instance} for job {Job} '{Name}' of {Repository}")]
    private partial void LogLaunched(string repository, long job, string name, string instance);

    [LoggerMessage(Level = LogLevel.Information, Message = "job {Job} of {Repository}: {Action}, {Runner} {Conclusion}")]
    private partial void LogRecorded(string repository, long job, JobAction action, string runner, string conclusion);

    [LoggerMessage(Level = LogLevel.Information, Message = "job {Job} of {Repository} is {State} already")]
    private partial void LogKnown(string repository, long job, LaunchState state);

    [LoggerMessage(Level = LogLevel.Debug, Message = "job {Job} of {Repository}: {Reason}")]
    private partial void LogIgnored(string repository, long job, string reason);

    [LoggerMessage(Level = LogLevel.Error, Message = "delivery {Delivery}: no machine for job {Job} of {Repository}: {Reason}")]
    private partial void LogRefused(string delivery, string repository, long job, string reason);

    [LoggerMessage(Level = LogLevel.Error, Message = "delivery {Delivery} cannot be used: {Reason}")]
    private partial void LogUnusable(string delivery, string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "delivery {Delivery}: attempt {Attempt} failed, again in {Pause}: {Reason}")]
    private partial void LogRetry(string delivery, int attempt, TimeSpan pause, string reason);
}

/// <summary>Ids of deliveries that wait for the worker. What counts is in the store; this only wakes.</summary>
internal sealed class Inbox
{
    private readonly Channel<string> _channel = Channel.CreateUnbounded<string>();

    public void Add(string id) => _channel.Writer.TryWrite(id);

    public IAsyncEnumerable<string> ReadAllAsync(CancellationToken cancel) => _channel.Reader.ReadAllAsync(cancel);
}
