using System.Collections.Concurrent;
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

    /// <summary>Launches under way have this long when the controller is asked to stop: less than the host waits (30 s).
    /// One that does not finish is taken up where it stands by the next start.</summary>
    private static readonly TimeSpan FinishLimit = TimeSpan.FromSeconds(15);

    /// <summary>Deliveries and launches that are being worked on: each by one at a time.</summary>
    private readonly ConcurrentDictionary<string, bool> _underWay = new();

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var finish = new CancellationTokenSource(Timeout.InfiniteTimeSpan, time);
        using var stop = stoppingToken.Register(() => finish.CancelAfter(FinishLimit));
        foreach (var id in store.OpenDeliveries())
            inbox.Add(id);
        await Parallel.ForEachAsync(inbox.ReadAllAsync(stoppingToken), new ParallelOptions { MaxDegreeOfParallelism = AtOnce },
            async (id, _) => await WorkAsync(id, stoppingToken, finish.Token));
    }

    private async Task WorkAsync(string id, CancellationToken stop, CancellationToken finish)
    {
        if (stop.IsCancellationRequested || !_underWay.TryAdd(id, true))
            return;
        var attempt = 1;
        try
        {
            if (store.Take(id) is not var (body, number))
                return;
            attempt = number;
            await WorkAsync(id, body, attempt, finish);
            store.Done(id);
        }
        catch (Exception) when (finish.IsCancellationRequested)
        {
            // it stands in the store and is found at the next start
        }
        catch (Exception e)
        {
            // Whatever it is: one delivery must not stop the others, and all its tries are counted.
            var pause = FirstPause * Math.Pow(2, attempt - 1);
            LogRetry(id, attempt, pause, e.Message, e is AwsException or GitHubException or HttpRequestException or TimeoutException or OperationCanceledException ? null : e);
            _ = AgainAsync(id, pause, stop);
        }
        finally
        {
            _underWay.TryRemove(id, out _);
        }
    }

    private async Task WorkAsync(string id, byte[] body, int attempt, CancellationToken cancel)
    {
        WorkflowJob job;
        try
        {
            job = WorkflowJob.Parse(body);
        }
        catch (InvalidDataException e)
        {
            LogUnusable(id, e.Message);
            return;
        }

        try
        {
            await ActAsync(job, cancel);
        }
        catch (Exception e) when (e is LaunchRefusedException || (attempt >= MostAttempts && !cancel.IsCancellationRequested))
        {
            store.Refused(job.Repository, job.Key, e.Message);
            LogRefused(id, job.Repository, job.Id, e.Message);
        }
    }

    private async Task ActAsync(WorkflowJob job, CancellationToken cancel)
    {
        switch (Decide.For(job, settings))
        {
            case Decision.Launch launch:
                await LaunchOnceAsync(job, launch, cancel);
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

    /// <summary>A job can be queued by several deliveries (with environments: queued, waiting, queued), even at the same moment.</summary>
    private async Task LaunchOnceAsync(WorkflowJob job, Decision.Launch launch, CancellationToken cancel)
    {
        var launching = $"{job.Repository}:{job.Key}";
        if (!_underWay.TryAdd(launching, true))
        {
            LogKnown(job.Repository, job.Id, LaunchState.Launching);
            return;
        }

        try
        {
            var before = store.Begin(job.Repository, job.Key);
            if (before.State is LaunchState.Launched or LaunchState.Ended or LaunchState.Refused)
            {
                LogKnown(job.Repository, job.Id, before.State);
                return;
            }

            var instance = await launcher.LaunchAsync(job, launch, before, cancel);
            store.Launched(job.Repository, job.Key, instance);
            LogLaunched(job.Repository, job.Id, job.Name, instance);
        }
        finally
        {
            _underWay.TryRemove(launching, out _);
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
    private partial void LogRetry(string delivery, int attempt, TimeSpan pause, string reason, Exception? unexpected);
}

/// <summary>Ids of deliveries that wait for the worker. What counts is in the store; this only wakes.</summary>
internal sealed class Inbox
{
    private readonly Channel<string> _channel = Channel.CreateUnbounded<string>();

    public void Add(string id) => _channel.Writer.TryWrite(id);

    public IAsyncEnumerable<string> ReadAllAsync(CancellationToken cancel) => _channel.Reader.ReadAllAsync(cancel);
}
