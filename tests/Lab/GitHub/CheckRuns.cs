using System.Collections.Concurrent;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;

namespace Mayfly.Lab.GitHub;

/// <summary>A check run that the App made: how a reason reaches the user.</summary>
internal sealed record CheckRun(long Id, string Repository, string Name, string HeadSha, string Status, string? Conclusion, string? Title, string? Summary, DateTimeOffset Started, DateTimeOffset? Completed);

/// <summary>Check runs. Tests look at <see cref="All"/>. https://docs.github.com/rest/checks/runs</summary>
internal sealed partial class CheckRuns(Journal journal, TimeProvider time)
{
    private readonly ConcurrentDictionary<long, CheckRun> _runs = new();
    private long _lastId;

    public IReadOnlyList<CheckRun> All => [.. _runs.Values.OrderBy(r => r.Id)];

    public JsonObject Create(string repository, JsonObject request, GitHubOptions options)
    {
        var (name, sha) = ((string?)request["name"], (string?)request["head_sha"]);
        if (string.IsNullOrEmpty(name) || sha is null)
            throw new GitHubFault(422, "Invalid request.\n\n\"name\", \"head_sha\" weren't supplied.");
        if (!ShaPattern().IsMatch(sha))
            throw new GitHubFault(422, $"No commit found for SHA: {sha}");
        return Keep(new CheckRun(Interlocked.Increment(ref _lastId), repository, name, sha, "queued", null, null, null, time.GetUtcNow(), null), request, options);
    }

    public JsonObject Update(string repository, long id, JsonObject request, GitHubOptions options) =>
        _runs.TryGetValue(id, out var run) && run.Repository == repository ? Keep(run, request, options) : throw new GitHubFault(404, "Not Found");

    private JsonObject Keep(CheckRun run, JsonObject request, GitHubOptions options)
    {
        var conclusion = (string?)request["conclusion"] ?? run.Conclusion;
        // A conclusion completes it; completed without one it cannot be.
        var status = request["conclusion"] is null ? (string?)request["status"] ?? run.Status : "completed";
        if (status is not ("queued" or "in_progress" or "completed") || (status == "completed") != (conclusion is not null)
            || conclusion is not (null or "action_required" or "cancelled" or "failure" or "neutral" or "success" or "skipped" or "timed_out"))
            throw new GitHubFault(422, "Invalid request.\n\nstatus must be one of queued, in_progress, completed, and a conclusion goes with completed.");
        var (title, summary) = (run.Title, run.Summary);
        if (request["output"] is JsonObject output)
        {
            (title, summary) = ((string?)output["title"] ?? title, (string?)output["summary"]);
            if (summary is null || summary.Length > 65_535)
                throw new GitHubFault(422, "Invalid request.\n\noutput needs a summary of at most 65535 characters.");
        }

        var kept = run with { Status = status, Conclusion = conclusion, Title = title, Summary = summary, Completed = status == "completed" ? time.GetUtcNow() : null };
        _runs[run.Id] = kept;
        journal.Record("github", "check run", kept.Repository, $"{kept.Name}: {kept.Conclusion ?? kept.Status}");
        var api = $"https://api.github.com/repos/{kept.Repository}/check-runs/{kept.Id}";
        return new JsonObject
        {
            ["id"] = kept.Id, ["name"] = kept.Name, ["node_id"] = "CR_lab", ["head_sha"] = kept.HeadSha, ["external_id"] = (string?)request["external_id"] ?? "",
            ["url"] = api, ["html_url"] = $"https://github.com/{kept.Repository}/runs/{kept.Id}", ["details_url"] = (string?)request["details_url"], ["status"] = kept.Status, ["conclusion"] = kept.Conclusion,
            ["started_at"] = AppJson.Stamp(kept.Started), ["completed_at"] = kept.Completed is { } at ? AppJson.Stamp(at) : null,
            ["output"] = new JsonObject { ["title"] = kept.Title, ["summary"] = kept.Summary, ["text"] = null, ["annotations_count"] = 0, ["annotations_url"] = $"{api}/annotations" },
            ["check_suite"] = new JsonObject { ["id"] = 5 }, ["app"] = AppJson.App(options), ["pull_requests"] = new JsonArray(),
        };
    }

    [GeneratedRegex("^[0-9a-f]{40}$")]
    private static partial Regex ShaPattern();
}
