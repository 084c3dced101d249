using System.Globalization;
using System.Net;
using System.Text.Json.Serialization;
using System.Text.RegularExpressions;

namespace Mayfly.Controller.Reconciliation;

/// <summary>What reconciliation asks of GitHub: runners, runs, jobs, the App's repositories and its delivery log.
/// https://docs.github.com/rest/actions, https://docs.github.com/rest/apps/webhooks</summary>
internal sealed partial class GitHubView(GitHubApp github)
{
    /// <summary>GitHub's most on one page.</summary>
    public const int PageSize = 100;

    /// <summary>A page of a repository's runners; shorter than <see cref="PageSize"/>, it is the last.</summary>
    public async Task<IReadOnlyList<RunnerSeen>> RunnersAsync(Repo repo, int page, CancellationToken cancel) =>
        [.. ((await GetAsync(repo, Paged("actions/runners", page), ViewJson.Default.RunnersAnswer, cancel))?.Runners ?? []).Select(Seen)];

    /// <summary>The runner of that name, or null.</summary>
    public async Task<RunnerSeen?> FindRunnerAsync(Repo repo, string name, CancellationToken cancel) =>
        (await GetAsync(repo, $"actions/runners?name={Uri.EscapeDataString(name)}", ViewJson.Default.RunnersAnswer, cancel))?.Runners.Where(r => r.Name == name).Select(Seen).FirstOrDefault();

    /// <summary>A job as it is now; null if GitHub no longer has it.</summary>
    public async Task<JobSeen?> FindJobAsync(Repo repo, long job, CancellationToken cancel)
    {
        try
        {
            return await GetAsync(repo, string.Create(CultureInfo.InvariantCulture, $"actions/jobs/{job}"), ViewJson.Default.JobSeen, cancel);
        }
        catch (GitHubException e) when (e.Status == HttpStatusCode.NotFound)
        {
            return null;
        }
    }

    /// <summary>A page of a repository's runs in one status, the newest first.</summary>
    public async Task<IReadOnlyList<long>> RunsAsync(Repo repo, string status, int page, CancellationToken cancel) =>
        [.. ((await GetAsync(repo, Paged($"actions/runs?status={status}", page), ViewJson.Default.RunsAnswer, cancel))?.WorkflowRuns ?? []).Select(r => r.Id)];

    /// <summary>A page of a run's jobs, of its latest attempt.</summary>
    public async Task<IReadOnlyList<JobSeen>> JobsAsync(Repo repo, long run, int page, CancellationToken cancel) =>
        (await GetAsync(repo, Paged(string.Create(CultureInfo.InvariantCulture, $"actions/runs/{run}/jobs?filter=latest"), page), ViewJson.Default.JobsAnswer, cancel))?.Jobs ?? [];

    /// <summary>Runs a job again, with those that depend on it, as the run's next attempt.</summary>
    /// <exception cref="GitHubException">403 while the run still goes on.</exception>
    public Task RerunAsync(Repo repo, long job, CancellationToken cancel) =>
        github.PostAsync(repo.Installation, string.Create(CultureInfo.InvariantCulture, $"repos/{repo.FullName}/actions/jobs/{job}/rerun"), cancel);

    /// <summary>A page of the repositories that an installation reaches.</summary>
    public async Task<IReadOnlyList<Repo>> RepositoriesAsync(long installation, int page, CancellationToken cancel) =>
        [.. ((await github.GetAsync(installation, Paged("installation/repositories", page), ViewJson.Default.RepositoriesAnswer, cancel))?.Repositories ?? []).Select(r => new Repo(installation, r.FullName))];

    /// <summary>A page of the App's deliveries, the newest first.</summary>
    /// <param name="cursor">Of the page before; null begins.</param>
    /// <returns>Them, and where the next page begins; null: this is the last.</returns>
    public async Task<(IReadOnlyList<DeliverySeen> Deliveries, string? Next)> DeliveriesAsync(string? cursor, CancellationToken cancel)
    {
        string? next = null;
        var deliveries = await github.AsAppAsync(HttpMethod.Get, $"app/hook/deliveries?per_page={PageSize}{(cursor is null ? "" : $"&cursor={Uri.EscapeDataString(cursor)}")}",
            ViewJson.Default.IReadOnlyListDeliverySeen, headers => next = headers.TryGetValues("Link", out var links) ? NextOf(string.Join(',', links)) : null, cancel);
        return (deliveries ?? [], next);
    }

    /// <summary>Has a delivery sent again, under the id that it had.</summary>
    public Task RedeliverAsync(long delivery, CancellationToken cancel) =>
        github.AsAppAsync(HttpMethod.Post, string.Create(CultureInfo.InvariantCulture, $"app/hook/deliveries/{delivery}/attempts"), ViewJson.Default.JobSeen, null, cancel);

    /// <summary>The runner's own releases, the newest first; none where GitHub Enterprise Server has no such repository.</summary>
    public async Task<IReadOnlyList<ReleaseSeen>> RunnerReleasesAsync(long installation, CancellationToken cancel)
    {
        try
        {
            return await github.GetAsync(installation, $"repos/actions/runner/releases?per_page={PageSize}", ViewJson.Default.IReadOnlyListReleaseSeen, cancel) ?? [];
        }
        catch (GitHubException e) when (e.Status == HttpStatusCode.NotFound)
        {
            return [];
        }
    }

    private Task<TAnswer?> GetAsync<TAnswer>(Repo repo, string path, System.Text.Json.Serialization.Metadata.JsonTypeInfo<TAnswer> type, CancellationToken cancel)
        where TAnswer : class => github.GetAsync(repo.Installation, $"repos/{repo.FullName}/{path}", type, cancel);

    private static string Paged(string path, int page) =>
        string.Create(CultureInfo.InvariantCulture, $"{path}{(path.Contains('?', StringComparison.Ordinal) ? '&' : '?')}per_page={PageSize}&page={page}");

    private static RunnerSeen Seen(RunnersAnswer.Runner runner) => new(runner.Id, runner.Name, runner.Status == "online", runner.Busy);

    /// <summary>https://docs.github.com/rest/using-the-rest-api/using-pagination-in-the-rest-api#using-link-headers</summary>
    private static string? NextOf(string link) => NextLink().Match(link) is { Success: true } next ? Uri.UnescapeDataString(next.Groups[1].Value) : null;

    [GeneratedRegex("<[^<>]*[?&]cursor=([^&<>]+)[^<>]*>; *rel=\"next\"")]
    private static partial Regex NextLink();
}

/// <param name="Status"><c>queued</c>, <c>waiting</c>, <c>pending</c>, <c>in_progress</c> or <c>completed</c>.</param>
internal sealed record JobSeen(long Id, long RunId, long? RunAttempt, string? Name, string? Status, string? Conclusion, string? RunnerName, IReadOnlyList<string>? Labels, string? HeadSha);

/// <param name="Id">Of this attempt at it; passes 2^53.</param>
/// <param name="Guid">What the webhook is told, the same for every attempt.</param>
/// <param name="StatusCode">Of our answer; 0 if there was none.</param>
internal sealed record DeliverySeen(long Id, string Guid, DateTimeOffset DeliveredAt, int StatusCode, string? Event, long? InstallationId);

internal sealed record ReleaseSeen(string TagName, bool Draft, bool Prerelease, DateTimeOffset? PublishedAt);

internal sealed record RunnersAnswer(IReadOnlyList<RunnersAnswer.Runner> Runners)
{
    internal sealed record Runner(long Id, string Name, string? Status, bool Busy);
}

internal sealed record RunsAnswer(IReadOnlyList<RunsAnswer.Run> WorkflowRuns)
{
    internal sealed record Run(long Id);
}

internal sealed record JobsAnswer(IReadOnlyList<JobSeen> Jobs);

internal sealed record RepositoriesAnswer(IReadOnlyList<RepositoriesAnswer.Repository> Repositories)
{
    internal sealed record Repository(string FullName);
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(RunnersAnswer))]
[JsonSerializable(typeof(RunsAnswer))]
[JsonSerializable(typeof(JobsAnswer))]
[JsonSerializable(typeof(JobSeen))]
[JsonSerializable(typeof(RepositoriesAnswer))]
[JsonSerializable(typeof(IReadOnlyList<DeliverySeen>))]
[JsonSerializable(typeof(IReadOnlyList<ReleaseSeen>))]
internal sealed partial class ViewJson : JsonSerializerContext;
