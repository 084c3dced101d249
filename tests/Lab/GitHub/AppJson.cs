using System.Globalization;
using System.Text.Json.Nodes;

namespace Mayfly.Lab.GitHub;

/// <summary>What GitHub's answers and events have in common: repositories, users, installations and the App itself, in their
/// official shapes.</summary>
internal static class AppJson
{
    private const string Api = "https://api.github.com";
    private const string Site = "https://github.com";

    /// <summary>The one commit that all runs are of.</summary>
    public static readonly string HeadSha = new('0', 40);

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

    /// <summary>A repository of an installation, in full.</summary>
    public static JsonObject Repository(string fullName, GitHubOptions options)
    {
        var api = $"{Api}/repos/{fullName}";
        var id = 1296269 + options.Installations.SelectMany(i => i.FullNames).ToList().IndexOf(fullName);
        var repository = new JsonObject
        {
            ["id"] = id, ["node_id"] = "R_lab", ["name"] = fullName.Split('/')[1], ["full_name"] = fullName, ["private"] = true,
            ["owner"] = User(fullName.Split('/')[0], 6811672, "Organization"), ["html_url"] = $"{Site}/{fullName}", ["description"] = null, ["fork"] = false, ["url"] = api,
        };
        foreach (var (key, path) in RepositoryLinks)
            repository[key] = api + path;
        foreach (var (key, value) in (ReadOnlySpan<(string, JsonNode?)>)[
            ("created_at", "2024-01-01T00:00:00Z"), ("updated_at", "2026-01-01T00:00:00Z"), ("pushed_at", "2026-01-01T00:00:00Z"),
            ("git_url", $"git://github.com/{fullName}.git"), ("ssh_url", $"git@github.com:{fullName}.git"),
            ("clone_url", $"{Site}/{fullName}.git"), ("svn_url", $"{Site}/{fullName}"), ("homepage", null), ("size", 1),
            ("stargazers_count", 0), ("watchers_count", 0), ("language", "C#"), ("has_issues", true), ("has_projects", true), ("has_downloads", true),
            ("has_wiki", false), ("has_pages", false), ("has_discussions", false), ("forks_count", 0), ("mirror_url", null), ("archived", false), ("disabled", false),
            ("open_issues_count", 0), ("license", null), ("allow_forking", true), ("is_template", false), ("web_commit_signoff_required", false),
            ("topics", new JsonArray()), ("visibility", "private"), ("forks", 0), ("open_issues", 0), ("watchers", 0), ("default_branch", "main"), ("custom_properties", new JsonObject())])
            repository[key] = value;
        return repository;
    }

    public static JsonObject User(string login, long id, string type)
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

    public static string Stamp(DateTimeOffset at) => at.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture);

    public static JsonObject Installation(Installation installation, GitHubOptions options) => new()
    {
        ["id"] = installation.Id, ["account"] = User(installation.Owner, 6811672, "Organization"), ["repository_selection"] = "selected",
        ["access_tokens_url"] = $"{Api}/app/installations/{installation.Id}/access_tokens", ["repositories_url"] = $"{Api}/installation/repositories",
        ["html_url"] = $"{Site}/organizations/{installation.Owner}/settings/installations/{installation.Id}", ["app_id"] = options.AppId, ["app_slug"] = "mayfly",
        ["target_id"] = 6811672, ["target_type"] = "Organization", ["permissions"] = Permissions(options), ["events"] = new JsonArray("workflow_job"),
        ["created_at"] = Created, ["updated_at"] = Created, ["single_file_name"] = null,
        ["suspended_by"] = installation.IsSuspended ? User("octocat", 583231, "User") : null, ["suspended_at"] = installation.IsSuspended ? Created : null,
    };

    public static JsonObject App(GitHubOptions options) => new()
    {
        ["id"] = options.AppId, ["slug"] = "mayfly", ["node_id"] = "A_lab", ["owner"] = User(options.Owner, 6811672, "Organization"), ["name"] = "Mayfly", ["description"] = "",
        ["external_url"] = "https://example.com", ["html_url"] = $"{Site}/apps/mayfly", ["created_at"] = Created, ["updated_at"] = Created,
        ["permissions"] = Permissions(options), ["events"] = new JsonArray("workflow_job"),
    };

    private const string Created = "2024-01-01T00:00:00Z";

    private static JsonObject Permissions(GitHubOptions options) => new([.. options.Permissions.Select(p => KeyValuePair.Create(p.Key, (JsonNode?)JsonValue.Create(p.Value)))]);
}
