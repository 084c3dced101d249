using Mayfly.Aws;
using Mayfly.Controller.Database;
using Mayfly.Controller.Seen;

namespace Mayfly.Controller;

/// <summary>Claims launches from the queue, each job in its turn, and has them launched, several at once.</summary>
internal sealed partial class Scheduler(Store store, Launcher launcher, PolicySource policy, Heart heart, ImageWatch image, QueueWake queue, Health health, AwsSites sites, GitHubApp github, TimeProvider time, ILogger<Scheduler> log) : BackgroundService
{
    /// <summary>Launches under way at once. What paces them are the services' limits, of about two a second; one takes a few seconds.</summary>
    private const int AtOnce = 32;

    /// <summary>Seconds between a launch's first try and its second; it doubles from try to try.</summary>
    private const double FirstPause = 5;

    /// <summary>Seconds at most: a job waits no longer than this for a service that is back.</summary>
    private const double MostPause = 300;

    /// <summary>What passes is outlived: a launch is tried as long as its job can wait. GitHub cancels one that was queued for so long.
    /// https://docs.github.com/actions/reference/limits</summary>
    private static readonly TimeSpan JobLimit = TimeSpan.FromHours(24);

    /// <summary>Launches under way have this long when the controller is asked to stop; then they are undone.
    /// One that is neither finished nor undone is taken up where it stands by the next start, or by another controller.</summary>
    public static readonly TimeSpan FinishLimit = TimeSpan.FromSeconds(15);

    private string? _waitsFor;

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var finish = new CancellationTokenSource(Timeout.InfiniteTimeSpan, time);
        using var stop = stoppingToken.Register(() => finish.CancelAfter(FinishLimit));
        var launches = new HashSet<Task>();
        while (!stoppingToken.IsCancellationRequested)
        {
            health.Turn(nameof(Scheduler), Health.Soon);
            try
            {
                if (Places is > 0 and var free && !heart.Member.IsCancellationRequested)
                {
                    var turns = new Turns(policy.Current, github, sites);
                    foreach (var launch in await store.Queue.ClaimAsync(free, turns.Next))
                        launches.Add(LaunchAsync(launch, finish.Token));
                    await SettleAsync(turns);
                }
            }
            catch (StoreException e)
            {
                LogNotStored(e.Message);
            }

            launches.RemoveWhere(l => l.IsCompleted);
            try
            {
                await queue.WaitAsync(UntilPlace, stoppingToken);
            }
            catch (OperationCanceledException)
            {
                // asked to stop
            }
        }

        await Task.WhenAll(launches);
    }

    /// <summary>Launches that can be begun now. No more are claimed: whose turn it is is decided when a place comes free, not before.</summary>
    private int Places => Math.Min(AtOnce - store.Queue.AtWork, sites.LaunchesLeft(policy.Current.Sites));

    /// <summary>When to look again: as soon as a place comes free by itself.</summary>
    private TimeSpan UntilPlace => sites.UntilLaunch(policy.Current.Sites) is { } until && until < Wake.LookEvery ? until : Wake.LookEvery;

    /// <summary>Refuses what never fits, and says once what the others wait for.</summary>
    private async Task SettleAsync(Turns turns)
    {
        foreach (var (id, reason) in turns.TooLarge)
        {
            if (await store.Queue.RefuseWaitingAsync(id, reason))
                LogTooLarge(id, reason);
        }

        if (turns.WaitsFor is { } waitsFor && waitsFor != _waitsFor)
            LogWaiting(waitsFor);
        _waitsFor = turns.WaitsFor;
    }

    /// <summary>One try of a launch that was claimed. However it comes out, that is written down.</summary>
    internal async Task LaunchAsync(LaunchRecord launch, CancellationToken finish)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(finish, heart.Member);
        try
        {
            if (launch.InstanceId is null && image.AgeOf(launch.Order.Source) is RunnerAge.TooOld { Reason: var reason })
                throw new LaunchRefusedException(reason) { IsForUser = true };
            var instance = await launcher.LaunchAsync(launch, limit.Token, heart.Member);
            await store.Launches.LaunchedAsync(launch.Id, instance);
            Count("launched");
            Figures.QueuedToLaunched.Record((time.GetUtcNow() - launch.QueuedAt).TotalSeconds);
            LogLaunched(launch.Id.Repository, launch.JobId, launch.Name, instance);
        }
        catch (Exception) when (limit.IsCancellationRequested)
        {
            LogLeft(launch.Id.Repository, launch.JobId); // it stands in the store and is taken up from there
        }
        catch (ClaimLostException e)
        {
            LogLost(e.Message);
        }
        catch (JobGoneException e)
        {
            Count("gone");
            await WriteAsync(() => store.Launches.DroppedAsync(launch.Id, e.Message), limit.Token);
            LogRefused(launch.Id.Repository, launch.JobId, e.Message);
        }
        catch (Exception e) when (e is LaunchRefusedException || time.GetUtcNow() - launch.QueuedAt >= JobLimit)
        {
            Count("refused");
            await WriteAsync(() => store.Launches.RefusedAsync(launch.Id, e.Message, e is LaunchRefusedException { IsForUser: true }), limit.Token);
            LogRefused(launch.Id.Repository, launch.JobId, e.Message);
        }
        catch (Exception e)
        {
            // Whatever it is: one launch must not stop the others.
            var pause = TimeSpan.FromSeconds(Math.Min(FirstPause * Math.Pow(2, launch.Tries - 1), MostPause));
            Count("failed");
            await WriteAsync(() => store.Launches.AgainAfterAsync(launch.Id, pause), limit.Token);
            LogRetry(launch.Id.Repository, launch.JobId, launch.Tries, pause, e.Message,
                e is AwsException or GitHubException or HttpRequestException or TimeoutException or OperationCanceledException or StoreException ? null : e);
        }
        finally
        {
            store.Queue.Left(launch.Id);
            queue.Set();
        }
    }

    private static void Count(string outcome) => Figures.Launches.Add(1, new KeyValuePair<string, object?>("outcome", outcome));

    /// <summary>Tries until it is written down: nobody else takes the launch up while this controller is alive.</summary>
    private async Task WriteAsync(Func<Task> write, CancellationToken cancel)
    {
        while (!cancel.IsCancellationRequested)
        {
            try
            {
                await write();
                return;
            }
            catch (ClaimLostException e)
            {
                LogLost(e.Message);
                return;
            }
            catch (StoreException e)
            {
                LogNotStored(e.Message);
                await Task.WhenAny(Task.Delay(Wake.LookEvery, time, cancel));
            }
        }
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "launched {Instance} for job {Job} '{Name}' of {Repository}")]
    private partial void LogLaunched(string repository, long job, string name, string instance);

    [LoggerMessage(Level = LogLevel.Information, Message = "jobs wait: {Reason}")]
    private partial void LogWaiting(string reason);

    [LoggerMessage(Level = LogLevel.Error, Message = "no machine for {Launch}: {Reason}")]
    private partial void LogTooLarge(LaunchId launch, string reason);

    [LoggerMessage(Level = LogLevel.Error, Message = "no machine for job {Job} of {Repository}: {Reason}")]
    private partial void LogRefused(string repository, long job, string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "job {Job} of {Repository}: attempt {Attempt} failed, again in {Pause}: {Reason}")]
    private partial void LogRetry(string repository, long job, int attempt, TimeSpan pause, string reason, Exception? unexpected);

    [LoggerMessage(Level = LogLevel.Warning, Message = "job {Job} of {Repository}: its launch is left where it stands, for whoever takes it up")]
    private partial void LogLeft(string repository, long job);

    [LoggerMessage(Level = LogLevel.Warning, Message = "{Reason}")]
    private partial void LogLost(string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "the store does not answer: {Reason}")]
    private partial void LogNotStored(string reason);
}
