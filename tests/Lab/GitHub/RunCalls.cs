using System.Globalization;
using System.Text.Json.Nodes;

namespace Mayfly.Lab.GitHub;

/// <summary>
/// The calls about workflow runs and their jobs. A run is what its jobs make it: in progress as soon as one is, so a queued
/// job may stand in a run that is in progress. https://docs.github.com/rest/actions/workflow-runs
/// </summary>
internal sealed class RunCalls(GitHubServer server)
{
    public JsonObject List(RestCall call)
    {
        var status = call.Query("status");
        if (status is not ("" or "queued" or "in_progress" or "waiting" or "completed" or "success" or "failure" or "cancelled"))
            throw new GitHubFault(422, "Invalid value for status");
        var runs = server.Jobs.All.Where(j => j.Repository == call.Repository).GroupBy(j => j.RunId).OrderByDescending(g => g.Key)
            .Select(g => (g.Key, Jobs: (IReadOnlyList<Job>)Latest(g))).Where(r => status.Length == 0 || StatusOf(r.Jobs) is var (now, conclusion) && (now == status || conclusion == status)).ToList();
        return call.Page("workflow_runs", runs, r => Json(r.Key, r.Jobs, call.Repository));
    }

    public JsonObject Show(RestCall call) => Json(call.Id, Latest(JobsOfRun(call)), call.Repository);

    /// <summary>Those of one attempt, of the latest one of each, or all.</summary>
    public JsonObject JobsOf(RestCall call)
    {
        var all = JobsOfRun(call);
        List<Job> found;
        if (call.Path.Groups["attempt"].Success)
        {
            var attempt = int.Parse(call.Part("attempt"), CultureInfo.InvariantCulture);
            found = [.. all.Where(j => j.Attempt == attempt)];
            if (found.Count == 0)
                throw new GitHubFault(404, "Not Found");
        }
        else
        {
            found = call.Query("filter") switch
            {
                "" or "latest" => Latest(all),
                "all" => all,
                _ => throw new GitHubFault(422, "Invalid value for filter"),
            };
        }

        return call.Page("jobs", found, j => WebhookPayload.WorkflowJob(j, server.Options));
    }

    public JsonObject Job(RestCall call) => WebhookPayload.WorkflowJob(Find(call), server.Options);

    public void Cancel(RestCall call)
    {
        var jobs = Latest(JobsOfRun(call)).Where(j => j.State != JobState.Completed).ToList();
        if (jobs.Count == 0)
            throw new GitHubFault(409, "Cannot cancel a workflow run that is completed.");
        foreach (var job in jobs)
            server.Jobs.Cancel(job);
    }

    public async Task<(int Status, JsonNode? Body)> RerunJobAsync(RestCall call)
    {
        var job = Find(call);
        RequireCompleted(Latest(server.Jobs.All.Where(j => j.RunId == job.RunId)));
        await server.Jobs.RerunAsync(job);
        return (201, new JsonObject());
    }

    public async Task<(int Status, JsonNode? Body)> RerunFailedAsync(RestCall call)
    {
        var jobs = Latest(JobsOfRun(call));
        RequireCompleted(jobs);
        var failed = jobs.Where(j => j.Conclusion is not ("success" or "skipped")).ToList();
        if (failed.Count == 0)
            throw new GitHubFault(403, "This workflow run cannot be retried");
        foreach (var job in failed)
            await server.Jobs.RerunAsync(job);
        return (201, new JsonObject());
    }

    private static void RequireCompleted(IEnumerable<Job> jobs)
    {
        if (jobs.Any(j => j.State != JobState.Completed))
            throw new GitHubFault(403, "The workflow run containing this job is already running");
    }

    private Job Find(RestCall call) => server.Jobs.Find(call.Id) is var job && job.Repository == call.Repository ? job : throw new GitHubFault(404, "Not Found");

    private List<Job> JobsOfRun(RestCall call) => server.Jobs.All.Where(j => j.RunId == call.Id && j.Repository == call.Repository).OrderBy(j => j.Id).ToList() is { Count: > 0 } jobs
        ? jobs
        : throw new GitHubFault(404, "Not Found");

    /// <summary>Of each job of a run its last execution.</summary>
    private static List<Job> Latest(IEnumerable<Job> jobs) => [.. jobs.GroupBy(j => j.Name).Select(g => g.MaxBy(j => (j.Attempt, j.Id))!).OrderBy(j => j.Id)];

    private static (string Status, string? Conclusion) StatusOf(IReadOnlyList<Job> jobs)
    {
        if (jobs.All(j => j.State == JobState.Completed))
            return ("completed", jobs.Any(j => j.Conclusion == "failure") ? "failure" : jobs.Any(j => j.Conclusion == "cancelled") ? "cancelled" : "success");
        if (jobs.Any(j => j.State is JobState.InProgress or JobState.Completed))
            return ("in_progress", null);
        return (jobs.Any(j => j.State == JobState.Queued) ? "queued" : "waiting", null);
    }

    private JsonObject Json(long id, IReadOnlyList<Job> jobs, string repository)
    {
        var api = $"https://api.github.com/repos/{repository}";
        var run = $"{api}/actions/runs/{id}";
        var (status, conclusion) = StatusOf(jobs);
        var created = AppJson.Stamp(jobs.Min(j => j.Created));
        return new JsonObject
        {
            ["id"] = id, ["name"] = "ci", ["node_id"] = "WFR_lab", ["head_branch"] = "main", ["head_sha"] = AppJson.HeadSha, ["path"] = ".github/workflows/ci.yml", ["display_title"] = "ci",
            ["run_number"] = 1, ["run_attempt"] = jobs.Max(j => j.Attempt), ["event"] = "push", ["status"] = status, ["conclusion"] = conclusion, ["workflow_id"] = 161335,
            ["check_suite_id"] = 414944374, ["check_suite_node_id"] = "CS_lab", ["url"] = run, ["html_url"] = $"https://github.com/{repository}/actions/runs/{id}", ["pull_requests"] = new JsonArray(),
            ["created_at"] = created, ["updated_at"] = AppJson.Stamp(jobs.Max(j => j.Completed ?? j.Started ?? j.Created)), ["run_started_at"] = created,
            ["actor"] = AppJson.User("octocat", 583231, "User"), ["triggering_actor"] = AppJson.User("octocat", 583231, "User"),
            ["jobs_url"] = $"{run}/jobs", ["logs_url"] = $"{run}/logs", ["check_suite_url"] = $"{api}/check-suites/414944374", ["artifacts_url"] = $"{run}/artifacts",
            ["cancel_url"] = $"{run}/cancel", ["rerun_url"] = $"{run}/rerun", ["previous_attempt_url"] = null, ["workflow_url"] = $"{api}/actions/workflows/161335",
            ["head_commit"] = new JsonObject
            {
                ["id"] = AppJson.HeadSha, ["tree_id"] = AppJson.HeadSha, ["message"] = "a commit", ["timestamp"] = created,
                ["author"] = new JsonObject { ["name"] = "octocat", ["email"] = "octocat@example.com" }, ["committer"] = new JsonObject { ["name"] = "octocat", ["email"] = "octocat@example.com" },
            },
            ["repository"] = AppJson.Repository(repository, server.Options), ["head_repository"] = AppJson.Repository(repository, server.Options),
        };
    }
}
