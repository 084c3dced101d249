using System.Globalization;
using System.Text.Json.Nodes;

namespace Mayfly.Lab.GitHub;

/// <summary>
/// The job as the runner gets it from <c>acquirejob</c>: an AgentJobRequestMessage. The names and the two encodings in it
/// (template tokens with <c>type</c>/<c>map</c>, context data with <c>t</c>/<c>d</c>) are the official runner's own.
/// https://github.com/actions/runner/blob/main/src/Sdk/DTPipelines/Pipelines/AgentJobRequestMessage.cs
/// </summary>
internal static class JobMessage
{
    private const int MappingToken = 2;
    private const int DictionaryContext = 2;

    public static JsonObject Of(Job job, GitHubOptions options, Uri server, string accessToken, DateTimeOffset lockedUntil) => new()
    {
        ["messageType"] = "RunnerJobRequest",
        ["plan"] = new JsonObject
        {
            ["scopeIdentifier"] = $"{job.PlanId}", ["planType"] = "free", ["version"] = 12, ["planId"] = $"{job.PlanId}",
            ["planGroup"] = "actions", ["features"] = 0, ["owner"] = new JsonObject { ["id"] = 0, ["name"] = "Community" },
        },
        ["timeline"] = new JsonObject { ["id"] = $"{job.PlanId}", ["changeId"] = 1, ["location"] = null },
        ["jobId"] = $"{job.JobGuid}",
        ["jobDisplayName"] = job.Name,
        ["jobName"] = job.Name,
        ["requestId"] = 0,
        ["lockedUntil"] = lockedUntil.ToString("O", CultureInfo.InvariantCulture),
        ["resources"] = new JsonObject
        {
            ["endpoints"] = new JsonArray(new JsonObject
            {
                ["name"] = "SystemVssConnection",
                ["url"] = new Uri(server, "pipelines/").AbsoluteUri,
                ["authorization"] = new JsonObject { ["scheme"] = "OAuth", ["parameters"] = new JsonObject { ["AccessToken"] = accessToken } },
                ["data"] = new JsonObject
                {
                    ["CacheServerUrl"] = new Uri(server, "cache/").AbsoluteUri, ["PipelinesServiceUrl"] = new Uri(server, "pipelines/").AbsoluteUri,
                    ["ResultsServiceUrl"] = new Uri(server, "results/").AbsoluteUri, ["GenerateIdTokenUrl"] = "",
                },
                ["isShared"] = false, ["isReady"] = true,
            }),
        },
        ["workspace"] = new JsonObject(),
        ["mask"] = new JsonArray(),
        ["environmentVariables"] = new JsonArray(),
        ["defaults"] = new JsonArray(),
        ["fileTable"] = new JsonArray(".github/workflows/ci.yml"),
        ["variables"] = new JsonObject
        {
            ["system.github.job"] = Variable(job.Name),
            ["system.github.token"] = new JsonObject { ["value"] = "ghs_lab", ["isSecret"] = true },
            ["github_token"] = new JsonObject { ["value"] = "ghs_lab", ["isSecret"] = true },
            ["system.github.token.permissions"] = Variable("{\"Metadata\":\"read\"}"),
            ["system.github.results_endpoint"] = Variable(new Uri(server, "results/").AbsoluteUri),
            ["system.phaseDisplayName"] = Variable(job.Name),
            ["system.culture"] = Variable("en-US"),
            ["system.orchestrationId"] = Variable($"{job.PlanId}.{job.Name}.__default"),
            ["system.runnerGroupName"] = Variable("Default"),
            ["DistributedTask.NewActionMetadata"] = Variable("true"),
        },
        ["contextData"] = new JsonObject
        {
            ["github"] = Dictionary(new()
            {
                ["repository"] = options.FullName, ["repository_owner"] = options.Owner, ["repository_id"] = "1", ["repositoryUrl"] = $"git://github.com/{options.FullName}.git",
                ["run_id"] = $"{job.RunId}", ["run_number"] = "1", ["run_attempt"] = "1", ["retention_days"] = "90", ["workflow"] = "ci", ["job"] = job.Name,
                ["actor"] = "octocat", ["triggering_actor"] = "octocat", ["sha"] = new string('0', 40), ["ref"] = "refs/heads/main", ["ref_name"] = "main",
                ["ref_type"] = "branch", ["head_ref"] = "", ["base_ref"] = "", ["event_name"] = "push", ["server_url"] = server.AbsoluteUri.TrimEnd('/'),
                ["api_url"] = server.AbsoluteUri.TrimEnd('/'), ["graphql_url"] = new Uri(server, "graphql").AbsoluteUri, ["workspace"] = "",
                ["event"] = Dictionary([]),
            }),
            ["matrix"] = null,
            ["needs"] = Dictionary([]),
            ["inputs"] = Dictionary([]),
            ["vars"] = Dictionary([]),
            ["strategy"] = Dictionary(new() { ["fail-fast"] = "true" }),
        },
        ["steps"] = new JsonArray([.. job.Steps.Select((script, index) => Step(script, index + 1))]),
    };

    private static JsonObject Step(string script, int number) => new()
    {
        ["type"] = "action",
        ["reference"] = new JsonObject { ["type"] = "script" },
        ["contextName"] = $"__run_{number}",
        ["inputs"] = new JsonObject
        {
            ["type"] = MappingToken,
            ["map"] = new JsonArray(new JsonObject { ["Key"] = "script", ["Value"] = script }),
        },
        ["condition"] = "success()",
        ["id"] = $"{Guid.NewGuid()}",
        ["name"] = $"__run_{number}",
        ["displayNameToken"] = $"Run {script.Split('\n')[0]}",
    };

    private static JsonObject Variable(string value) => new() { ["value"] = value };

    private static JsonObject Dictionary(Dictionary<string, JsonNode?> values) => new()
    {
        ["t"] = DictionaryContext,
        ["d"] = new JsonArray([.. values.Select(v => new JsonObject { ["k"] = v.Key, ["v"] = v.Value })]),
    };
}
