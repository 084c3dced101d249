using System.Reflection;
using System.Text;
using System.Text.Json.Nodes;
using Mayfly.Lab.GitHub;
using Mayfly.Lab.Tests;
using Microsoft.AspNetCore.Http;

namespace Mayfly.Controller.Tests;

/// <summary>What Octokit publishes of GitHub's events: twice, out of order, incomplete and for others.</summary>
[Collection(Endpoints.Collection)]
public sealed class OfficialEventsTests : IAsyncLifetime
{
    private const string Version = "7.6.1";

    private static readonly NpmPackages Octokit = new(
        typeof(OfficialEventsTests).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>().Single(a => a.Key == "Artifacts").Value!, $"octokit-{Version}",
        $"@octokit/webhooks-schemas@{Version}", $"@octokit/webhooks-examples@{Version}");

    private ReconcileBed _bed = null!;

    public async ValueTask InitializeAsync() => _bed = await ReconcileBed.StartAsync();

    public ValueTask DisposeAsync() => _bed.DisposeAsync();

    [Fact]
    public async Task Every_example_is_read_or_refused_by_name()
    {
        var examples = await ExamplesAsync();
        Assert.True(examples.Count >= 7);
        foreach (var example in examples)
        {
            var bytes = Encoding.UTF8.GetBytes(example.ToJsonString());
            if (example["installation"] is null) // of a repository's own webhook
                Assert.Contains("installation.id is missing", Assert.Throws<InvalidDataException>(() => WorkflowJob.Parse(bytes)).Message, StringComparison.Ordinal);
            else
                Assert.NotEqual(JobAction.Other, WorkflowJob.Parse(bytes).Action);
        }
    }

    [Fact]
    public async Task Events_of_an_installation_or_repository_that_is_not_ours_leave_nothing()
    {
        foreach (var example in await ExamplesAsync())
        {
            Assert.Equal(403, Refused(example.DeepClone().AsObject()));
            example["installation"] = new JsonObject { ["id"] = 87_654_321 };
            Assert.Equal(403, Refused(example)); // of Codertocat/Hello-World and the like
        }
    }

    /// <summary>In each order, each event once or twice: no machine for a job that is done, and who did it is known.</summary>
    [Fact]
    public async Task In_whatever_order_and_however_often_a_jobs_events_come_it_is_done_by_the_runner_that_did_it()
    {
        var number = 0L;
        foreach (var order in Orders([JobAction.Queued, JobAction.InProgress, JobAction.Completed]))
        {
            number++;
            foreach (var action in order.Concat(order.Take((int)(number % 3))))
                await TellAsync(await OfficialAsync(action, number));
            var job = (await _bed.Store.Launches.FindAsync(new LaunchId("octo-org/octo-repo", $"{number}-1")))!;
            Assert.Equal(LaunchState.Dropped, job.State);
            Assert.Equal(((await OfficialAsync(JobAction.Completed, number)).RunnerName, (await OfficialAsync(JobAction.Completed, number)).Conclusion), (job.RunnerName, job.Conclusion));
        }

        Assert.Empty(await _bed.Store.Queue.ClaimAsync(100, (waiting, _, _) => waiting.FirstOrDefault()));
    }

    [Fact]
    public async Task Queued_waiting_queued_is_one_machine_and_none_while_it_waits()
    {
        await TellAsync(await OfficialAsync(JobAction.Queued, 1));
        await TellAsync(await OfficialAsync(JobAction.Waiting, 1));
        Assert.Empty(await ClaimAsync());
        await TellAsync(await OfficialAsync(JobAction.Queued, 1));
        await TellAsync(await OfficialAsync(JobAction.Queued, 1));
        Assert.Single(await ClaimAsync());
    }

    [Fact]
    public async Task A_job_that_was_cancelled_before_pick_up_gets_no_machine_in_either_order()
    {
        var cancelled = (await OfficialAsync(JobAction.Completed, 1)) with { RunnerName = null, Conclusion = "cancelled" };
        await TellAsync(await OfficialAsync(JobAction.Queued, 1));
        await TellAsync(cancelled);
        await TellAsync(cancelled with { Id = 2 });
        await TellAsync(await OfficialAsync(JobAction.Queued, 2));
        Assert.Empty(await ClaimAsync());
    }

    private Task<List<LaunchRecord>> ClaimAsync() => _bed.Store.Queue.ClaimAsync(10, (waiting, _, _) => waiting.FirstOrDefault());

    private Task TellAsync(WorkflowJob job) => _bed.Intake.FoundAsync([job]);

    private static int? Refused(JsonObject example)
    {
        var body = Encoding.UTF8.GetBytes(example.ToJsonString());
        var headers = new HeaderDictionary
        {
            ["X-Hub-Signature-256"] = Webhooks.Sign(Encoding.UTF8.GetString(Some.Secret), body), ["X-GitHub-Delivery"] = $"{Guid.NewGuid()}", ["X-GitHub-Event"] = "workflow_job",
        };
        return Controller.Delivery.Verify(headers, body, [Some.Secret], Some.Settings()).Refusal?.Status;
    }

    /// <summary>An example of this action, told of a job and a repository of ours.</summary>
    private static async Task<WorkflowJob> OfficialAsync(JobAction action, long job)
    {
        var name = action switch { JobAction.Queued => "queued", JobAction.InProgress => "in_progress", JobAction.Completed => "completed", _ => "waiting" };
        var example = (await ExamplesAsync()).First(e => (string?)e["action"] == name && e["workflow_job"] is JsonObject);
        example["installation"] = new JsonObject { ["id"] = 87_654_321 };
        example["repository"]!["full_name"] = "octo-org/octo-repo";
        (example["workflow_job"]!["id"], example["workflow_job"]!["run_attempt"], example["workflow_job"]!["labels"]) = (job, 1, new JsonArray("mayfly"));
        if (action is JobAction.InProgress or JobAction.Completed)
            example["workflow_job"]!["runner_name"] = "GitHub Actions 5"; // the examples are of several jobs
        return WorkflowJob.Parse(Encoding.UTF8.GetBytes(example.ToJsonString()));
    }

    private static async Task<IReadOnlyList<JsonObject>> ExamplesAsync()
    {
        var index = JsonNode.Parse(await File.ReadAllTextAsync(await Octokit.FindAsync("@octokit/webhooks-examples/api.github.com/index.json"), TestContext.Current.CancellationToken))!.AsArray();
        return [.. index.Single(e => e!["name"]!.ToString() == "workflow_job")!["examples"]!.AsArray().OfType<JsonObject>().Where(e => e["action"] is not null)];
    }

    private static IEnumerable<IReadOnlyList<JobAction>> Orders(IReadOnlyList<JobAction> of) =>
        of.Count == 1 ? [of] : of.SelectMany(first => Orders([.. of.Where(a => a != first)]).Select(rest => (IReadOnlyList<JobAction>)[first, .. rest]));
}
