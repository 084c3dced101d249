using System.Text.Json.Nodes;
using Mayfly.Lab.GitHub;
using static System.Net.Http.HttpMethod;

namespace Mayfly.Lab.Tests;

/// <summary>Holds the lab's answers against what GitHub publishes of its REST API.</summary>
public sealed class GitHubOpenApiTests
{
    [Fact]
    public async Task Every_answer_obeys_githubs_published_schema()
    {
        var schemas = await OpenApiSchemas.LoadAsync();
        await using var lab = await Lab.StartAsync(new LabOptions { GitHub = new GitHubOptions { RunnerKeys = 1, OtherInstallations = [new(2, "other-org", [], IsSuspended: true)] } });
        await using var receiver = await GitHubReceiver.StartAsync();
        using var app = new GitHubApp(lab);
        lab.GitHub.Webhooks.Target = receiver.Address;
        var (token, itself) = (await app.TokenAsync(), app.Assert());
        var (queued, _) = await lab.GitHub.Jobs.QueueAsync("queued", ["mayfly"], []);
        var (taken, _) = await lab.GitHub.Jobs.QueueAsync("taken", ["mayfly"], []);
        var (done, _) = await lab.GitHub.Jobs.QueueAsync("done", ["mayfly"], []);
        var runner = lab.GitHub.Runners.Register("thief", ["mayfly"]);
        lab.GitHub.Jobs.Steal(taken, runner);
        lab.GitHub.Jobs.Steal(done, lab.GitHub.Runners.Register("other", ["mayfly"]));
        lab.GitHub.Jobs.Complete(done, "failure");
        await lab.GitHub.Webhooks.Settled;
        var delivery = lab.GitHub.Webhooks.Log[0].Id;
        var check = new JsonObject { ["name"] = "mayfly", ["head_sha"] = AppJson.HeadSha, ["conclusion"] = "failure", ["output"] = new JsonObject { ["title"] = "t", ["summary"] = "s" } };
        const string repo = "/repos/{owner}/{repo}";

        var wrong = new List<string>();
        // What is published of the list wants an account that is a user and an enterprise at once; of one installation it is right.
        var (_, installations, _) = await app.SendAsync(Get, "/app/installations", itself);
        foreach (var installation in installations!.AsArray())
            wrong.AddRange((await schemas.OfAsync("get /orgs/{org}/installation", 200)).Validate(installation!.ToJsonString()).Select(e => $"installation: {e}"));
        Assert.Equal(2, installations.AsArray().Count);
        await HoldAsync("post /app/installations/{installation_id}/access_tokens", 201, Post, $"/app/installations/{lab.Options.GitHub.InstallationId}/access_tokens", itself);
        await HoldAsync("get /app/hook/deliveries", 200, Get, "/app/hook/deliveries", itself);
        await HoldAsync("get /app/hook/deliveries/{delivery_id}", 200, Get, $"/app/hook/deliveries/{delivery}", itself);
        await HoldAsync("get /installation/repositories", 200, Get, "/installation/repositories", token);
        await HoldAsync($"post {repo}/actions/runners/generate-jitconfig", 201, Post, $"{app.Repository}/actions/runners/generate-jitconfig", token, GitHubApp.Request("n", "a"));
        await HoldAsync("post /orgs/{org}/actions/runners/generate-jitconfig", 201, Post, "/orgs/octo-org/actions/runners/generate-jitconfig", token, GitHubApp.Request("n", "a"));
        await HoldAsync($"get {repo}/actions/runners", 200, Get, $"{app.Repository}/actions/runners", token);
        await HoldAsync("get /orgs/{org}/actions/runners", 200, Get, "/orgs/octo-org/actions/runners", token);
        await HoldAsync($"get {repo}/actions/runners/{{runner_id}}", 200, Get, $"{app.Repository}/actions/runners/{runner.Id}", token);
        await HoldAsync($"get {repo}/actions/runs", 200, Get, $"{app.Repository}/actions/runs", token);
        await HoldAsync($"get {repo}/actions/runs/{{run_id}}", 200, Get, $"{app.Repository}/actions/runs/{done.RunId}", token);
        await HoldAsync($"get {repo}/actions/runs/{{run_id}}/jobs", 200, Get, $"{app.Repository}/actions/runs/{taken.RunId}/jobs", token);
        await HoldAsync($"get {repo}/actions/runs/{{run_id}}/attempts/{{attempt_number}}/jobs", 200, Get, $"{app.Repository}/actions/runs/{done.RunId}/attempts/1/jobs", token);
        foreach (var job in (Job[])[queued, taken, done])
            await HoldAsync($"get {repo}/actions/jobs/{{job_id}}", 200, Get, $"{app.Repository}/actions/jobs/{job.Id}", token);
        await HoldAsync($"post {repo}/actions/runs/{{run_id}}/cancel", 202, Post, $"{app.Repository}/actions/runs/{queued.RunId}/cancel", token);
        await HoldAsync($"post {repo}/actions/jobs/{{job_id}}/rerun", 201, Post, $"{app.Repository}/actions/jobs/{done.Id}/rerun", token);
        await HoldAsync($"post {repo}/check-runs", 201, Post, $"{app.Repository}/check-runs", token, check);

        Assert.Empty(wrong);

        async Task HoldAsync(string call, int status, HttpMethod method, string path, string bearer, JsonNode? body = null)
        {
            var (answered, answer, _) = await app.SendAsync(method, path, bearer, body);
            if ((int)answered != status)
                wrong.Add($"{call}: {(int)answered} {answer?.ToJsonString()}");
            else
                wrong.AddRange((await schemas.OfAsync(call, status)).Validate(answer!.ToJsonString()).Select(e => $"{call}: {e}"));
        }
    }

    [Fact]
    public async Task The_schemas_notice_a_missing_and_a_wrong_field()
    {
        var schema = await (await OpenApiSchemas.LoadAsync()).OfAsync("get /repos/{owner}/{repo}/actions/runners/{runner_id}", 200);
        var runner = JsonNode.Parse("""{"id":1,"name":"n","os":"linux","status":"online","busy":false,"labels":[]}""")!.AsObject();

        Assert.Empty(schema.Validate(runner.ToJsonString()));
        runner["busy"] = "no";
        Assert.NotEmpty(schema.Validate(runner.ToJsonString()));
        runner.Remove("busy");
        Assert.NotEmpty(schema.Validate(runner.ToJsonString()));
    }
}
