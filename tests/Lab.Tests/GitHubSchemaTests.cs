using System.Reflection;
using System.Text.Json;
using System.Text.Json.Nodes;
using Mayfly.Lab.GitHub;
using NJsonSchema;

namespace Mayfly.Lab.Tests;

/// <summary>Holds the lab's events against what Octokit publishes of GitHub's.</summary>
public sealed class GitHubSchemaTests
{
    private const string Version = "7.6.1";

    private static readonly NpmPackages Octokit = new(
        typeof(GitHubSchemaTests).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>().Single(a => a.Key == "Artifacts").Value!, $"octokit-{Version}",
        $"@octokit/webhooks-schemas@{Version}", $"@octokit/webhooks-examples@{Version}");

    [Fact]
    public async Task Every_event_of_a_jobs_life_obeys_the_official_schema()
    {
        var schema = await JsonSchema.FromJsonAsync(await ReadAsync("webhooks-schemas/schema.json"), TestContext.Current.CancellationToken);

        foreach (var (action, body) in Events())
        {
            var errors = schema.Definitions[$"workflow_job${action}"].Validate(body.ToJsonString());
            Assert.True(errors.Count == 0, $"{action}: {string.Join("; ", errors)}");
        }
    }

    [Fact]
    public async Task The_schema_notices_a_missing_and_a_wrong_field()
    {
        var schema = await JsonSchema.FromJsonAsync(await ReadAsync("webhooks-schemas/schema.json"), TestContext.Current.CancellationToken);
        var queued = schema.Definitions["workflow_job$queued"];
        var body = Events().First(e => e.Action == "queued").Body;

        body["workflow_job"]!["labels"] = "mayfly";
        Assert.NotEmpty(queued.Validate(body.ToJsonString()));
        body["workflow_job"]!["labels"] = new JsonArray("mayfly");
        Assert.Empty(queued.Validate(body.ToJsonString()));
        body["repository"]!.AsObject().Remove("full_name");
        Assert.NotEmpty(queued.Validate(body.ToJsonString()));
    }

    [Fact]
    public async Task Every_event_has_the_fields_of_the_official_examples_and_no_others()
    {
        var examples = JsonNode.Parse(await ReadAsync("webhooks-examples/api.github.com/index.json"))!.AsArray()
            .Single(e => e!["name"]!.ToString() == "workflow_job")!["examples"]!.AsArray();

        foreach (var (action, body) in Events())
        {
            foreach (var part in (string[])["workflow_job", "repository", "sender", "installation"])
            {
                var known = examples.Select(e => e![part] as JsonObject).OfType<JsonObject>().ToList();
                var always = known.Select(e => e.Select(p => p.Key)).Aggregate((a, b) => a.Intersect(b));
                var ever = known.SelectMany(e => e.Select(p => p.Key)).Append("custom_properties").ToHashSet();
                var ours = body[part]!.AsObject();
                Assert.Empty(always.Except(ours.Select(p => p.Key)));
                Assert.Empty(ours.Select(p => p.Key).Except(ever));
                foreach (var (name, value) in ours)
                {
                    var kinds = known.Where(e => e.ContainsKey(name)).Select(e => KindOf(e[name])).Append("null").ToHashSet();
                    Assert.True(name == "custom_properties" || kinds.Contains(KindOf(value)) || kinds.Count == 1, $"{action}: {part}.{name} is a {KindOf(value)}");
                }
            }
        }
    }

    private static string KindOf(JsonNode? node) => node?.GetValueKind() switch
    {
        null => "null",
        JsonValueKind.True or JsonValueKind.False => "boolean",
        var kind => kind.ToString()!,
    };

    private static List<(string Action, JsonObject Body)> Events()
    {
        var options = new GitHubOptions();
        var time = TimeProvider.System;
        var job = new Job(43_000_000_001, 13_000_000_001, "build", ["mayfly", "cpu=4"], ["true"], time.GetUtcNow());
        var events = new List<(string, JsonObject)> { ("queued", WebhookPayload.Of("queued", job, options)) };
        using var runner = new Runner(21, "mayfly-1", ["mayfly", "cpu=4"], "_work");
        (job.Runner, job.State, job.Started) = (runner, JobState.InProgress, time.GetUtcNow());
        events.Add(("in_progress", WebhookPayload.Of("in_progress", job, options)));
        foreach (var conclusion in (string[])["success", "failure", "cancelled"])
        {
            (job.State, job.Conclusion, job.Completed) = (JobState.Completed, conclusion, time.GetUtcNow());
            events.Add(("completed", WebhookPayload.Of("completed", job, options)));
        }

        return events;
    }

    private static async Task<string> ReadAsync(string path) =>
        await File.ReadAllTextAsync(await Octokit.FindAsync(Path.Combine("@octokit", path)), TestContext.Current.CancellationToken);
}
