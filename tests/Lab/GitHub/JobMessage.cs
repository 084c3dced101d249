using System.Text.Json.Nodes;
using System.Text.RegularExpressions;

namespace Mayfly.Lab.GitHub;

/// <summary>
/// The job as the runner gets it from <c>acquirejob</c>: an AgentJobRequestMessage. The names and the two encodings in it
/// (template tokens with <c>type</c>/<c>map</c>, context data with <c>t</c>/<c>d</c>) are the official runner's own.
/// https://github.com/actions/runner/blob/main/src/Sdk/DTPipelines/Pipelines/AgentJobRequestMessage.cs
/// </summary>
internal static class JobMessage
{
    private const int StringToken = 0;
    private const int MappingToken = 2;
    private const int DictionaryContext = 2;

    public static JsonObject Of(Job job, GitHubOptions options, Uri server, string jobToken, string repositoryToken) => new()
    {
        ["messageType"] = "RunnerJobRequest",
        ["plan"] = new JsonObject { ["planType"] = "actions", ["version"] = 0, ["planId"] = $"{job.PlanId}", ["artifactUri"] = "", ["artifactLocation"] = "" },
        ["timeline"] = new JsonObject { ["id"] = $"{job.PlanId}", ["changeId"] = 0, ["location"] = null },
        ["jobId"] = $"{job.JobGuid}",
        ["jobDisplayName"] = job.Name,
        ["jobName"] = "__default",
        ["jobContainer"] = null,
        ["jobServiceContainers"] = null,
        ["jobOutputs"] = null,
        // Both are of the older flow: the lock is kept by renewjob.
        ["requestId"] = 0,
        ["lockedUntil"] = "0001-01-01T00:00:00",
        ["resources"] = new JsonObject
        {
            ["endpoints"] = new JsonArray(new JsonObject
            {
                ["name"] = "SystemVssConnection",
                // The worker completes the job here, and the listener renews it here.
                ["url"] = new Uri(server, "run/").AbsoluteUri,
                ["authorization"] = new JsonObject { ["scheme"] = "OAuth", ["parameters"] = new JsonObject { ["AccessToken"] = jobToken } },
                ["data"] = new JsonObject { ["ResultsServiceUrl"] = new Uri(server, "results/").AbsoluteUri },
                ["isShared"] = false, ["isReady"] = true,
            }),
        },
        ["workspace"] = null,
        ["actionsEnvironment"] = null,
        ["snapshot"] = null,
        ["mask"] = new JsonArray(Mask(jobToken), Mask(repositoryToken)),
        ["environmentVariables"] = new JsonArray(),
        ["defaults"] = new JsonArray(),
        ["fileTable"] = new JsonArray(".github/workflows/ci.yml"),
        ["variables"] = Variables(job, server, repositoryToken),
        ["contextData"] = new JsonObject
        {
            ["github"] = Dictionary(new()
            {
                ["repository"] = options.FullName, ["repository_owner"] = options.Owner, ["repository_id"] = "1", ["repositoryUrl"] = $"git://github.com/{options.FullName}.git",
                ["run_id"] = $"{job.RunId}", ["run_number"] = "1", ["run_attempt"] = "1", ["retention_days"] = "90", ["workflow"] = "ci", ["job"] = job.Name,
                ["actor"] = "octocat", ["triggering_actor"] = "octocat", ["sha"] = new string('0', 40), ["workflow_sha"] = new string('0', 40),
                ["workflow_ref"] = $"{options.FullName}/.github/workflows/ci.yml@refs/heads/main", ["repository_visibility"] = "private", ["ref_protected"] = false, ["ref"] = "refs/heads/main", ["ref_name"] = "main",
                ["ref_type"] = "branch", ["head_ref"] = "", ["base_ref"] = "", ["event_name"] = "push", ["server_url"] = server.AbsoluteUri.TrimEnd('/'),
                ["api_url"] = server.AbsoluteUri.TrimEnd('/'), ["graphql_url"] = new Uri(server, "graphql").AbsoluteUri,
                ["event"] = Dictionary(new() { ["ref"] = "refs/heads/main" }),
            }),
            ["matrix"] = null,
            ["needs"] = Dictionary([]),
            ["inputs"] = Dictionary([]),
            ["vars"] = Dictionary([]),
            ["strategy"] = Dictionary(new() { ["fail-fast"] = true, ["job-index"] = 0, ["job-total"] = 1, ["max-parallel"] = 1 }),
            ["job"] = Dictionary(new() { ["check_run_id"] = job.Id }),
            ["runner"] = null, // the runner makes its own
        },
        ["steps"] = new JsonArray([.. job.Steps.Select((script, index) => Step(script, index + 1))]),
    };

    private static JsonObject Step(string script, int number) => new()
    {
        ["type"] = "action",
        ["reference"] = new JsonObject { ["type"] = "script" },
        ["contextName"] = NameOf(number),
        ["continueOnError"] = null,
        ["timeoutInMinutes"] = null,
        ["inputs"] = new JsonObject
        {
            ["type"] = MappingToken,
            ["map"] = new JsonArray(new JsonObject { ["Key"] = Literal("script"), ["Value"] = Literal(script) }),
        },
        ["condition"] = "success()",
        ["id"] = $"{Guid.NewGuid()}",
        ["name"] = NameOf(number), // without a displayNameToken the runner shows "Run" and the script's first line
    };

    private static JsonObject Variables(Job job, Uri server, string repositoryToken)
    {
        var variables = new JsonObject
        {
            ["system.github.token"] = new JsonObject { ["value"] = repositoryToken, ["isSecret"] = true },
            ["github_token"] = new JsonObject { ["value"] = repositoryToken, ["isSecret"] = true },
        };
        foreach (var (name, value) in (ReadOnlySpan<(string, string)>)[
            ("system.culture", "en-US"), ("system.from_run_service", "true"), ("system.github.job", job.Name),
            ("system.github.results_endpoint", new Uri(server, "results/").AbsoluteUri),
            // Plain HTTP; Azure's own library wants the storage account in the host's name.
            ("system.github.results_upload_with_sdk", "false"),
            ("system.github.token.permissions", """{"Contents":"read","Metadata":"read"}"""),
            ("system.orchestrationId", $"{job.PlanId}.{job.Name}.__default"), ("system.phaseDisplayName", job.Name),
            ("system.runnerEnvironment", "self-hosted"), ("system.runnerGroupName", "Default"), ("system.runner.lowdiskspacethreshold", "100"),
            ("DistributedTask.NewActionMetadata", "true"), ("DistributedTask.EnhancedAnnotations", "true"),
            ("DistributedTask.UploadStepSummary", "true"), ("DistributedTask.MarkJobAsFailedOnWorkerCrash", "true")])
            variables[name] = new JsonObject { ["value"] = value };
        if (job.Fault is { } fault)
            variables[RunnerFault.Variable] = new JsonObject { ["value"] = fault };
        return variables;
    }

    /// <summary>GitHub numbers the steps that have no id from the second on.</summary>
    private static string NameOf(int number) => number == 1 ? "__run" : $"__run_{number}";

    private static JsonObject Mask(string secret) => new() { ["type"] = "regex", ["value"] = Regex.Escape(secret) };

    private static JsonObject Literal(string text) => new() { ["type"] = StringToken, ["lit"] = text };

    private static JsonObject Dictionary(Dictionary<string, JsonNode?> values) => new()
    {
        ["t"] = DictionaryContext,
        ["d"] = new JsonArray([.. values.Select(v => new JsonObject { ["k"] = v.Key, ["v"] = v.Value })]),
    };
}
