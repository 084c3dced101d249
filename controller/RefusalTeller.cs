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

    /// <summary>A commit that was refused so long ago interests nobody any more.</summary>
    private static readonly TimeSpan Limit = TimeSpan.FromHours(1);

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(Every, time);
        while (await timer.WaitForNextTickAsync(stoppingToken))
        {
            try
            {
                if (heart.Leads)
                    await TellAsync(stoppingToken);
            }
            catch (Exception e) when (!stoppingToken.IsCancellationRequested)
            {
                LogFailed(e.Message); // the next look is soon, and finds what this one left
            }
        }
    }

    private async Task TellAsync(CancellationToken cancel)
    {
        foreach (var refusal in await launches.UntoldAsync())
        {
            var way = refusal.HeadSha.Length == 0 ? RefusalWay.Log : policy.Current.For(refusal.Repo.FullName).Refusals;
            try
            {
                if (way != RefusalWay.Log)
                    await github.FailCheckAsync(refusal.Repo, refusal.HeadSha, $"{refusal.Id}", $"No machine for job '{Ask.Shown(refusal.Name)}'", refusal.Words, cancel);
            }
            catch (GitHubException e) when (e.IsFinal || time.GetUtcNow() - refusal.Since > Limit)
            {
                LogUntold(refusal.Id, "a check", e.Message);
            }

            try
            {
                if (way == RefusalWay.Cancel)
                    await github.CancelRunAsync(refusal.Repo, refusal.RunId, cancel);
            }
            catch (GitHubException e) when (e.IsFinal || e.Status == System.Net.HttpStatusCode.Conflict || time.GetUtcNow() - refusal.Since > Limit)
            {
                LogUntold(refusal.Id, "cancelling the run", e.Message); // a conflict: it has ended already
            }

            await launches.ToldAsync(refusal.Id);
        }
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "the refusal of {Launch} could not be told by {Way}: {Reason}")]
    private partial void LogUntold(LaunchId launch, string way, string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "refusals could not be told: {Reason}")]
    private partial void LogFailed(string reason);
}
