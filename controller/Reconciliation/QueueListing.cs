namespace Mayfly.Controller.Reconciliation;

/// <summary>
/// Finds queued jobs that no delivery told of, by listing: of each repository the runs that are queued or under way, of each
/// run its jobs. Each look goes on where the last one stopped, within its budget of calls.
/// </summary>
internal sealed partial class QueueListing(Intake intake, GitHubView github, Repositories repositories, ILogger<QueueListing> log)
{
    /// <summary>Calls of one look: at one in two minutes 1,200 an hour, of the 5,000 that an installation has at least.</summary>
    private const int MostCalls = 40;

    /// <summary>A repository with more runs under way cannot hold the others up; those beyond have their turn as the others end.</summary>
    private const int MostPages = 5;

    private readonly Queue<(Repo Repo, long Run)> _runs = new();
    private int _turn;

    public async Task LookAsync(CancellationToken cancel)
    {
        await repositories.ReadAsync(cancel);
        var (calls, turns) = (0, 0);
        while (calls < MostCalls)
        {
            if (_runs.TryDequeue(out var run))
                calls += await OrNothingAsync(run.Repo, () => LookAtJobsAsync(run.Repo, run.Run, cancel), cancel);
            else if (turns++ < repositories.All.Count && repositories.All[_turn++ % repositories.All.Count] is var repo)
                calls += await OrNothingAsync(repo, () => LookAtRunsAsync(repo, cancel), cancel);
            else
                return; // each has had its turn
        }
    }

    /// <returns>Calls made.</returns>
    private async Task<int> LookAtRunsAsync(Repo repo, CancellationToken cancel)
    {
        var (calls, found) = (0, new SortedSet<long>());
        foreach (var status in (string[])["queued", "in_progress"]) // a run under way can have jobs that wait
        {
            for (var page = 1; page <= MostPages; page++)
            {
                var runs = await github.RunsAsync(repo, status, page, cancel);
                calls++;
                found.UnionWith(runs);
                if (runs.Count < GitHubView.PageSize)
                    break;
            }
        }

        foreach (var run in found) // the oldest first
            _runs.Enqueue((repo, run));
        return calls;
    }

    private async Task<int> LookAtJobsAsync(Repo repo, long run, CancellationToken cancel)
    {
        for (var page = 1; ; page++)
        {
            var jobs = await github.JobsAsync(repo, run, page, cancel);
            var queued = jobs.Where(j => j.Status == "queued").Select(j => new WorkflowJob(
                JobAction.Queued, repo.Installation, repo.FullName, j.Id, j.RunId, j.RunAttempt ?? 1, j.Name ?? "", j.Labels ?? [], null, null) { HeadSha = j.HeadSha ?? "" }).ToList();
            if (queued.Count > 0)
                await intake.FoundAsync(queued);
            if (jobs.Count < GitHubView.PageSize)
                return page;
        }
    }

    private async Task<int> OrNothingAsync(Repo repo, Func<Task<int>> look, CancellationToken cancel)
    {
        try
        {
            return await look();
        }
        catch (Exception e) when (e is GitHubException or HttpRequestException or TaskCanceledException && !cancel.IsCancellationRequested)
        {
            LogNotListed(repo.FullName, e.Message);
            return 1;
        }
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "could not list queued jobs of {Repository}: {Reason}")]
    private partial void LogNotListed(string repository, string reason);
}
