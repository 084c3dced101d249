using System.Net;

namespace Mayfly.Controller;

/// <summary>A refusal that its user has not been told of.</summary>
internal sealed record UntoldRefusal(LaunchId Id, Repo Repo, long JobId, long RunId, string Name, string HeadSha, string Words, DateTimeOffset Since);

/// <summary>
/// Tells users on GitHub why their job gets no machine, as the policy has it: by a failed check on the commit, and by cancelling
/// the run. Whatever way, the log has it already. What an App may not (403) it is not asked for twice.
/// Killed between telling and writing that down, it tells twice, which is better than not at all.
/// </summary>
internal sealed partial class RefusalTeller(Launches launches, GitHubApp github, PolicySource policy, Heart heart, TimeProvider time, ILogger<RefusalTeller> log) : BackgroundService
{
    private static readonly TimeSpan Every = TimeSpan.FromSeconds(2);

    private static readonly TimeSpan FirstPause = TimeSpan.FromSeconds(10);

    /// <summary>A commit that was refused so long ago interests nobody any more.</summary>
    private static readonly TimeSpan Limit = TimeSpan.FromHours(1);

    protected override Task ExecuteAsync(CancellationToken stoppingToken) => heart.LeadAsync(nameof(RefusalTeller), Every, TellAsync, LogFailed, stoppingToken);

    /// <summary>Tells of each refusal by itself: one that cannot be told waits, and keeps no other waiting.</summary>
    internal async Task TellAsync(CancellationToken cancel)
    {
        foreach (var refusal in await launches.UntoldAsync())
        {
            var way = refusal.HeadSha.Length == 0 ? RefusalWay.Log : policy.Current.For(refusal.Repo.FullName).Refusals;
            try
            {
                // First what does no harm when it is asked for again: every check that is posted stays on the commit.
                if (way == RefusalWay.Cancel)
                    await AskAsync(refusal, "cancelling the run", () => github.CancelRunAsync(refusal.Repo, refusal.RunId, cancel), cancel);
                if (way != RefusalWay.Log)
                    await AskAsync(refusal, "a check", () => github.FailCheckAsync(refusal.Repo, refusal.HeadSha, $"{refusal.Id}", $"No machine for job '{Ask.Shown(refusal.Name)}'", refusal.Words, cancel), cancel);
                await launches.ToldAsync(refusal.Id);
            }
            catch (Exception e) when (e is not Database.StoreException && !cancel.IsCancellationRequested)
            {
                var age = AgeOf(refusal);
                var pause = age > FirstPause ? age : FirstPause; // it doubles from try to try
                LogLater(refusal.Id, pause, e.Message);
                await launches.TellAfterAsync(refusal.Id, pause);
            }
        }
    }

    /// <summary>Asks GitHub, and says if that is in vain.</summary>
    private async Task AskAsync(UntoldRefusal refusal, string way, Func<Task> ask, CancellationToken cancel)
    {
        try
        {
            await ask();
        }
        catch (Exception e) when (e is GitHubException { IsFinal: true } or GitHubException { Status: HttpStatusCode.Conflict } || (AgeOf(refusal) > Limit && !cancel.IsCancellationRequested))
        {
            LogUntold(refusal.Id, way, e.Message); // a conflict: the run has ended already
        }
    }

    private TimeSpan AgeOf(UntoldRefusal refusal) => time.GetUtcNow() - refusal.Since;

    [LoggerMessage(Level = LogLevel.Warning, Message = "the refusal of {Launch} could not be told by {Way}: {Reason}")]
    private partial void LogUntold(LaunchId launch, string way, string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "the refusal of {Launch} could not be told, again in {Pause}: {Reason}")]
    private partial void LogLater(LaunchId launch, TimeSpan pause, string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "refusals could not be told: {Reason}")]
    private partial void LogFailed(string reason);
}
