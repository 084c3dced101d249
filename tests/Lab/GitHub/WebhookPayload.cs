using System.Globalization;
using System.Text.Json.Nodes;

namespace Mayfly.Lab.GitHub;

/// <summary>The body of a <c>workflow_job</c> event, in the official shape
/// (https://docs.github.com/webhooks/webhook-events-and-payloads#workflow_job); a test holds it against the schema.</summary>
internal static class WebhookPayload
{
    private const string Api = "https://api.github.com";
    private const string Site = "https://github.com";

    /// <summary>Keys of a repository's links: the path below the repository's own address.</summary>
    private static readonly Dictionary<string, string> RepositoryLinks = new()
    {
        ["forks_url"] = "/forks", ["keys_url"] = "/keys{/key_id}", ["collaborators_url"] = "/collaborators{/collaborator}", ["teams_url"] = "/teams",
        ["hooks_url"] = "/hooks", ["issue_events_url"] = "/issues/events{/number}", ["events_url"] = "/events", ["assignees_url"] = "/assignees{/user}",
        ["branches_url"] = "/branches{/branch}", ["tags_url"] = "/tags", ["blobs_url"] = "/git/blobs{/sha}", ["git_tags_url"] = "/git/tags{/sha}",
        ["git_refs_url"] = "/git/refs{/sha}", ["trees_url"] = "/git/trees{/sha}", ["statuses_url"] = "/statuses/{sha}", ["languages_url"] = "/languages",
        ["stargazers_url"] = "/stargazers", ["contributors_url"] = "/contributors", ["subscribers_url"] = "/subscribers", ["subscription_url"] = "/subscription",
        ["commits_url"] = "/commits{/sha}", ["git_commits_url"] = "/git/commits{/sha}", ["comments_url"] = "/comments{/number}",
        ["issue_comment_url"] = "/issues/comments{/number}", ["contents_url"] = "/contents/{+path}", ["compare_url"] = "/compare/{base}...{head}",
        ["merges_url"] = "/merges", ["archive_url"] = "/{archive_format}{/ref}", ["downloads_url"] = "/downloads", ["issues_url"] = "/issues{/number}",
        ["pulls_url"] = "/pulls{/number}", ["milestones_url"] = "/milestones{/number}", ["notifications_url"] = "/notifications{?since,all,participating}",
        ["labels_url"] = "/labels{/name}", ["releases_url"] = "/releases{/id}", ["deployments_url"] = "/deployments",
    };

    private static readonly Dictionary<string, string> UserLinks = new()
    {
        ["followers_url"] = "/followers", ["following_url"] = "/following{/other_user}", ["gists_url"] = "/gists{/gist_id}", ["starred_url"] = "/starred{/owner}{/repo}",
        ["subscriptions_url"] = "/subscriptions", ["organizations_url"] = "/orgs", ["repos_url"] = "/repos", ["events_url"] = "/events{/privacy}",
        ["received_events_url"] = "/received_events",
    };

    public static JsonObject Of(string action, Job job, GitHubOptions options) => new()
    {
        ["action"] = action,
        ["workflow_job"] = WorkflowJob(job, options),
        ["repository"] = Repository(options),
        ["sender"] = User("octocat", 583231, "User"),
        ["installation"] = new JsonObject { ["id"] = options.InstallationId, ["node_id"] = "MDIzOkludGVncmF0aW9uSW5zdGFsbGF0aW9uMQ==" },
    };

    /// <summary>Also what the REST API answers for a job.</summary>
    public static JsonObject WorkflowJob(Job job, GitHubOptions options)
    {
        var repository = $"{Api}/repos/{options.FullName}";
        var runner = job.State is JobState.Queued or JobState.Waiting ? null : job.Runner;
        return new JsonObject
        {
            ["id"] = job.Id, ["run_id"] = job.RunId, ["workflow_name"] = "ci", ["head_branch"] = "main", ["run_url"] = $"{repository}/actions/runs/{job.RunId}",
            ["run_attempt"] = job.Attempt, ["node_id"] = "CR_lab", ["head_sha"] = new string('0', 40), ["url"] = $"{repository}/actions/jobs/{job.Id}",
            ["html_url"] = $"{Site}/{options.FullName}/actions/runs/{job.RunId}/job/{job.Id}",
            ["status"] = job.State switch { JobState.Queued => "queued", JobState.Waiting => "waiting", JobState.InProgress => "in_progress", _ => "completed" },
            ["conclusion"] = job.Conclusion, ["created_at"] = Stamp(job.Created), ["started_at"] = Stamp(job.Started ?? job.Created),
            ["completed_at"] = job.Completed is { } at ? Stamp(at) : null, ["name"] = job.Name, ["steps"] = Steps(job),
            ["check_run_url"] = $"{repository}/check-runs/{job.Id}", ["labels"] = new JsonArray([.. job.Labels.Select(l => JsonValue.Create(l))]),
            ["runner_id"] = runner?.Id, ["runner_name"] = runner?.Name, ["runner_group_id"] = runner is null ? null : 1, ["runner_group_name"] = runner is null ? null : "Default",
        };
    }

    private static JsonArray Steps(Job job)
    {
        var steps = new JsonArray();
        if (job.State is JobState.Queued or JobState.Waiting)
            return steps;
        var done = job.State == JobState.Completed;
        steps.Add(new JsonObject
        {
            ["name"] = "Set up job", ["status"] = done ? "completed" : "in_progress", ["conclusion"] = done ? "success" : null, ["number"] = 1,
            ["started_at"] = Stamp(job.Started!.Value), ["completed_at"] = done ? Stamp(job.Completed!.Value) : null,
        });
        return steps;
    }

    private static JsonObject Repository(GitHubOptions options)
    {
        var api = $"{Api}/repos/{options.FullName}";
        var repository = new JsonObject
        {
            ["id"] = 1296269, ["node_id"] = "R_lab", ["name"] = options.Repository, ["full_name"] = options.FullName, ["private"] = true,
            ["owner"] = User(options.Owner, 6811672, "Organization"), ["html_url"] = $"{Site}/{options.FullName}", ["description"] = null, ["fork"] = false, ["url"] = api,
        };
        foreach (var (key, path) in RepositoryLinks)
            repository[key] = api + path;
        foreach (var (key, value) in (ReadOnlySpan<(string, JsonNode?)>)[
            ("created_at", "2024-01-01T00:00:00Z"), ("updated_at", "2026-01-01T00:00:00Z"), ("pushed_at", "2026-01-01T00:00:00Z"),
            ("git_url", $"git://github.com/{options.FullName}.git"), ("ssh_url", $"git@github.com:{options.FullName}.git"),
            ("clone_url", $"{Site}/{options.FullName}.git"), ("svn_url", $"{Site}/{options.FullName}"), ("homepage", null), ("size", 1),
            ("stargazers_count", 0), ("watchers_count", 0), ("language", "C#"), ("has_issues", true), ("has_projects", true), ("has_downloads", true),
            ("has_wiki", false), ("has_pages", false), ("has_discussions", false), ("forks_count", 0), ("mirror_url", null), ("archived", false), ("disabled", false),
            ("open_issues_count", 0), ("license", null), ("allow_forking", true), ("is_template", false), ("web_commit_signoff_required", false),
            ("topics", new JsonArray()), ("visibility", "private"), ("forks", 0), ("open_issues", 0), ("watchers", 0), ("default_branch", "main"), ("custom_properties", new JsonObject())])
            repository[key] = value;
        return repository;
    }

    private static JsonObject User(string login, long id, string type)
    {
        var api = $"{Api}/users/{login}";
        var user = new JsonObject
        {
            ["login"] = login, ["id"] = id, ["node_id"] = "U_lab", ["avatar_url"] = $"https://avatars.githubusercontent.com/u/{id}?v=4", ["gravatar_id"] = "",
            ["url"] = api, ["html_url"] = $"{Site}/{login}", ["type"] = type, ["site_admin"] = false,
        };
        foreach (var (key, path) in UserLinks)
            user[key] = api + path;
        return user;
    }

    private static string Stamp(DateTimeOffset at) => at.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture);
}
