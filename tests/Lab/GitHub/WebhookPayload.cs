using System.Text.Json.Nodes;

namespace Mayfly.Lab.GitHub;

/// <summary>The body of a <c>workflow_job</c> event, in the official shape
/// (https://docs.github.com/webhooks/webhook-events-and-payloads#workflow_job); a test holds it against the schema.</summary>
internal static class WebhookPayload
{
    private const string Api = "https://api.github.com";
    private const string Site = "https://github.com";

    public static JsonObject Of(string action, Job job, GitHubOptions options) => new()
    {
        ["action"] = action,
        ["workflow_job"] = WorkflowJob(job, options),
        ["repository"] = AppJson.Repository(RepositoryOf(job, options), options),
        ["sender"] = AppJson.User("octocat", 583231, "User"),
        ["installation"] = new JsonObject { ["id"] = options.InstallationOf(RepositoryOf(job, options)).Id, ["node_id"] = "MDIzOkludGVncmF0aW9uSW5zdGFsbGF0aW9uMQ==" },
    };

    /// <summary>Also what the REST API answers for a job.</summary>
    public static JsonObject WorkflowJob(Job job, GitHubOptions options)
    {
        var name = RepositoryOf(job, options);
        var repository = $"{Api}/repos/{name}";
        var runner = job.State is JobState.Queued or JobState.Waiting ? null : job.Runner;
        return new JsonObject
        {
            ["id"] = job.Id, ["run_id"] = job.RunId, ["workflow_name"] = "ci", ["head_branch"] = "main", ["run_url"] = $"{repository}/actions/runs/{job.RunId}",
            ["run_attempt"] = job.Attempt, ["node_id"] = "CR_lab", ["head_sha"] = AppJson.HeadSha, ["url"] = $"{repository}/actions/jobs/{job.Id}",
            ["html_url"] = $"{Site}/{name}/actions/runs/{job.RunId}/job/{job.Id}",
            ["status"] = job.State switch { JobState.Queued => "queued", JobState.Waiting => "waiting", JobState.InProgress => "in_progress", _ => "completed" },
            ["conclusion"] = job.Conclusion, ["created_at"] = AppJson.Stamp(job.Created), ["started_at"] = AppJson.Stamp(job.Started ?? job.Created),
            ["completed_at"] = job.Completed is { } at ? AppJson.Stamp(at) : null, ["name"] = job.Name, ["steps"] = Steps(job),
            ["check_run_url"] = $"{repository}/check-runs/{job.Id}", ["labels"] = new JsonArray([.. job.Labels.Select(l => JsonValue.Create(l))]),
            ["runner_id"] = runner?.Id, ["runner_name"] = runner?.Name, ["runner_group_id"] = runner is null ? null : 1, ["runner_group_name"] = runner is null ? null : "Default",
        };
    }

    private static string RepositoryOf(Job job, GitHubOptions options) => job.Repository.Length == 0 ? options.FullName : job.Repository;

    private static JsonArray Steps(Job job)
    {
        var steps = new JsonArray();
        if (job.State is JobState.Queued or JobState.Waiting)
            return steps;
        var done = job.State == JobState.Completed;
        steps.Add(new JsonObject
        {
            ["name"] = "Set up job", ["status"] = done ? "completed" : "in_progress", ["conclusion"] = done ? "success" : null, ["number"] = 1,
            ["started_at"] = AppJson.Stamp(job.Started!.Value), ["completed_at"] = done ? AppJson.Stamp(job.Completed!.Value) : null,
        });
        return steps;
    }
}
