using System.Text.Json.Nodes;
using System.Text.RegularExpressions;

namespace Mayfly.Lab.GitHub;

/// <summary>A call that GitHub knows: who may make it, and what it does.</summary>
/// <param name="Permission">Name and level that an installation's token needs; null where the App itself calls.</param>
internal sealed record Route(string Method, string Template, Regex Path, (string Name, string Level)? Permission, Func<RestCall, Task<(int Status, JsonNode? Body)>> AnswerAsync)
{
    public static Route Of(string call, string? permission, Func<RestCall, Task<(int Status, JsonNode? Body)>> answer)
    {
        var (method, template) = (call.Split(' ')[0], call.Split(' ')[1]);
        var pattern = Regex.Replace(template, @"\{(id|attempt)\}", "(?<$1>[0-9]{1,18})");
        pattern = Regex.Replace(pattern, @"\{(\w+)\}", "(?<$1>[A-Za-z0-9_.-]+)");
        return new Route(method, template, new Regex($"^{pattern}$", RegexOptions.Compiled), permission is null ? null : (permission.Split(':')[0], permission.Split(':')[1]), answer);
    }
}

/// <summary>
/// GitHub's REST API: the calls that Mayfly makes, the permission that each needs, and the limits on all of them. What an
/// installation may not see is not found, as at GitHub. https://docs.github.com/rest
/// </summary>
internal sealed class RestApi
{
    private readonly GitHubServer _server;
    private readonly InstallationTokens _tokens;
    private readonly IReadOnlyList<Route> _routes;

    public RestApi(GitHubServer server, TimeProvider time)
    {
        _server = server;
        _tokens = new InstallationTokens(server.Options, time);
        var (runners, runs, deliveries) = (new RunnerCalls(server), new RunCalls(server), new DeliveryCalls(server, time));
        _routes =
        [
            Route.Of("POST /app/installations/{id}/access_tokens", null, async call => (201, _tokens.Issue(call.Id, await call.ReadAsync()))),
            Route.Of("GET /app/installations", null, call => Ok(call.Page(server.Options.Installations, i => AppJson.Installation(i, server.Options)))),
            Route.Of("GET /app/hook/deliveries", null, call => Ok(deliveries.List(call))),
            Route.Of("GET /app/hook/deliveries/{id}", null, call => Ok(deliveries.Show(call))),
            Route.Of("POST /app/hook/deliveries/{id}/attempts", null, deliveries.AttemptAsync),
            Route.Of("GET /installation/repositories", "metadata:read", call => Ok(RepositoriesOf(call))),
            Route.Of("GET /repos/actions/runner/releases", "metadata:read", call => Ok(call.Page(server.RunnerReleases, Release))),
            .. RunnerRoutes("repos/{owner}/{repo}", "administration", runners),
            .. RunnerRoutes("orgs/{owner}", "organization_self_hosted_runners", runners),
            Route.Of("GET /repos/{owner}/{repo}/actions/runs", "actions:read", call => Ok(runs.List(call))),
            Route.Of("GET /repos/{owner}/{repo}/actions/runs/{id}", "actions:read", call => Ok(runs.Show(call))),
            Route.Of("GET /repos/{owner}/{repo}/actions/runs/{id}/jobs", "actions:read", call => Ok(runs.JobsOf(call))),
            Route.Of("GET /repos/{owner}/{repo}/actions/runs/{id}/attempts/{attempt}/jobs", "actions:read", call => Ok(runs.JobsOf(call))),
            Route.Of("GET /repos/{owner}/{repo}/actions/jobs/{id}", "actions:read", call => Ok(runs.Job(call))),
            Route.Of("POST /repos/{owner}/{repo}/actions/runs/{id}/cancel", "actions:write", call => Done(202, () => runs.Cancel(call))),
            Route.Of("POST /repos/{owner}/{repo}/actions/jobs/{id}/rerun", "actions:write", runs.RerunJobAsync),
            Route.Of("POST /repos/{owner}/{repo}/actions/runs/{id}/rerun-failed-jobs", "actions:write", runs.RerunFailedAsync),
            Route.Of("POST /repos/{owner}/{repo}/check-runs", "checks:write", async call => (201, server.CheckRuns.Create(call.Repository, await call.ReadAsync(), server.Options))),
            Route.Of("PATCH /repos/{owner}/{repo}/check-runs/{id}", "checks:write", async call => (200, server.CheckRuns.Update(call.Repository, call.Id, await call.ReadAsync(), server.Options))),
        ];
    }

    public async Task<(int Status, JsonNode? Body)> AnswerAsync(HttpContext context)
    {
        _server.Limits.Begin();
        try
        {
            var path = context.Request.Path.Value ?? "";
            var (route, match) = _routes.Where(r => r.Method == context.Request.Method).Select(r => (r, r.Path.Match(path))).FirstOrDefault(r => r.Item2.Success);
            if (route is null)
                throw new GitHubFault(404, "Not Found");
            return await route.AnswerAsync(Admit(route, match, context));
        }
        finally
        {
            _server.Limits.End();
        }
    }

    private static Route[] RunnerRoutes(string scope, string permission, RunnerCalls runners) =>
    [
        Route.Of($"POST /{scope}/actions/runners/generate-jitconfig", $"{permission}:write", runners.GenerateJitConfigAsync),
        Route.Of($"GET /{scope}/actions/runners", $"{permission}:read", call => Ok(runners.List(call))),
        Route.Of($"GET /{scope}/actions/runners/{{id}}", $"{permission}:read", call => Ok(runners.Show(call))),
        Route.Of($"DELETE /{scope}/actions/runners/{{id}}", $"{permission}:write", call => Done(204, () => runners.Delete(call))),
    ];

    /// <summary>Who calls, whether often enough, and whether it may: in this order, as GitHub does.</summary>
    private RestCall Admit(Route route, Match match, HttpContext context)
    {
        void Count(string caller) => _server.Limits.Take(caller, route.Method, context.Request.Path.Value ?? "", $"{route.Method} {route.Template}", context.Response.Headers);
        if (route.Permission is not { } needed)
        {
            _tokens.RequireApp(context);
            Count($"app ID {_server.Options.AppId}");
            return new RestCall(context, match, null);
        }

        var token = _tokens.Require(context);
        Count($"installation ID {token.Installation.Id}");
        var call = new RestCall(context, match, token.Installation);
        if (match.Groups["repo"].Success ? !token.Repositories.Contains(call.Repository) : match.Groups["owner"].Success && call.Part("owner") != token.Installation.Owner)
            throw new GitHubFault(404, "Not Found");
        return InstallationTokens.Includes(token.Permissions, needed.Name, needed.Level) ? call : throw new GitHubFault(403, "Resource not accessible by integration");
    }

    private JsonObject RepositoriesOf(RestCall call)
    {
        var page = call.Page("repositories", [.. _tokens.Require(call.Context).Repositories], name => AppJson.Repository(name, _server.Options));
        page["repository_selection"] = "selected";
        return page;
    }

    private static JsonObject Release((string Version, DateTimeOffset At) release) => new()
    {
        ["tag_name"] = $"v{release.Version}", ["name"] = $"v{release.Version}", ["draft"] = false, ["prerelease"] = false,
        ["created_at"] = AppJson.Stamp(release.At), ["published_at"] = AppJson.Stamp(release.At),
    };

    private static Task<(int Status, JsonNode? Body)> Ok(JsonNode body) => Task.FromResult((200, (JsonNode?)body));

    /// <summary>204 has no body; 202 has an empty object.</summary>
    private static Task<(int Status, JsonNode? Body)> Done(int status, Action act)
    {
        act();
        return Task.FromResult((status, status == 204 ? null : (JsonNode?)new JsonObject()));
    }
}
