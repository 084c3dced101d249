using System.Net;
using System.Text.Json.Nodes;
using Mayfly.Lab.GitHub;
using static System.Net.Http.HttpMethod;

namespace Mayfly.Lab.Tests;

public sealed class GitHubRestTests
{
    private static readonly DateTimeOffset Start = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);

    [Fact]
    public async Task Deliveries_come_newest_first_page_by_page_and_are_gone_after_three_days()
    {
        var time = new HandMovedTime(Start);
        await using var lab = await Lab.StartAsync(new LabOptions { Time = time });
        await using var receiver = await GitHubReceiver.StartAsync();
        using var app = new GitHubApp(lab);
        lab.GitHub.Webhooks.Target = receiver.Address;
        for (var i = 0; i < 5; i++)
        {
            receiver.Status = i == 3 ? 500 : 202;
            await lab.GitHub.Jobs.QueueAsync($"job {i}", ["mayfly"], []);
        }

        var (first, next) = await ListAsync("/app/hook/deliveries?per_page=2");
        var (second, last) = await ListAsync(next!);
        var (third, none) = await ListAsync(last!);

        Assert.Null(none);
        Assert.Equal(lab.GitHub.Webhooks.Log.Reverse().Select(d => d.Id), first.Concat(second).Concat(third).Select(d => (long)d!["id"]!));
        Assert.Equal((500, "Invalid HTTP Response: 500"), ((int)first[1]!["status_code"]!, (string)first[1]!["status"]!));
        Assert.Single((await ListAsync("/app/hook/deliveries?status=failure")).Deliveries);
        var (_, shown) = await app.CallAsync(Get, $"/app/hook/deliveries/{first[1]!["id"]}", app.Assert());
        Assert.Equal("job 3", (string)shown!["request"]!["payload"]!["workflow_job"]!["name"]!);
        time.Move(TimeSpan.FromDays(4));
        Assert.Empty((await ListAsync("/app/hook/deliveries")).Deliveries);
        Assert.Equal(HttpStatusCode.NotFound, (await app.CallAsync(Post, $"/app/hook/deliveries/{first[1]!["id"]}/attempts", app.Assert())).Status);

        async Task<(JsonArray Deliveries, string? Next)> ListAsync(string path)
        {
            var (_, body, headers) = await app.SendAsync(Get, path, app.Assert());
            return (body!.AsArray(), GitHubApp.NextOf(headers));
        }
    }

    [Fact]
    public async Task A_delivery_can_be_lost_fail_come_late_twice_or_be_overtaken()
    {
        var time = new HandMovedTime(Start);
        await using var lab = await Lab.StartAsync(new LabOptions { Time = time });
        await using var receiver = await GitHubReceiver.StartAsync();
        lab.GitHub.Webhooks.Target = receiver.Address;
        lab.GitHub.Webhooks.Misdeliver = (job, _) => job.Name switch
        {
            "lost" => Misdelivery.Lost,
            "failed" => Misdelivery.Failed,
            "late" => Misdelivery.Late(TimeSpan.FromMinutes(3)),
            "twice" => Misdelivery.Twice,
            "overtaken" => Misdelivery.Overtaken,
            _ => null,
        };

        foreach (var name in (string[])["lost", "failed", "late", "overtaken", "plain", "twice"])
            await lab.GitHub.Jobs.QueueAsync(name, ["mayfly"], []);
        await lab.GitHub.Webhooks.Settled;

        Assert.Equal(["plain", "overtaken", "twice", "twice"], Names());
        Assert.Equal([0, 202, 202, 202, 202], lab.GitHub.Webhooks.Log.Select(d => d.Status));
        var ids = receiver.Received.Select(r => r.Headers["X-GitHub-Delivery"]).ToList();
        Assert.Equal(ids[2], ids[3]);
        time.Move(TimeSpan.FromMinutes(3));
        await lab.Journal.WaitForAsync(e => e.Name == "webhook queued" && e.Subject == $"{lab.GitHub.Jobs.All.Single(j => j.Name == "late").Id}", TimeSpan.FromSeconds(20), TestContext.Current.CancellationToken);
        Assert.Equal("late", Names()[^1]);

        List<string> Names() => [.. receiver.Received.Select(r => (string)JsonNode.Parse(r.Body)!["workflow_job"]!["name"]!)];
    }

    [Fact]
    public async Task An_installation_sees_its_own_repositories_and_organisation_and_nothing_else()
    {
        var options = new GitHubOptions { OtherRepositories = ["second", "third"], OtherInstallations = [new(2, "other-org", ["theirs"]), new(3, "gone-org", [], IsSuspended: true)] };
        await using var lab = await Lab.StartAsync(new LabOptions { GitHub = options });
        using var app = new GitHubApp(lab);
        var (token, theirs) = (await app.TokenAsync(), await app.TokenAsync(2));

        var (_, installations, _) = await app.SendAsync(Get, "/app/installations", app.Assert());
        Assert.Equal([options.InstallationId, 2, 3], installations!.AsArray().Select(i => (long)i!["id"]!));
        var (_, page, headers) = await app.SendAsync(Get, "/installation/repositories?per_page=2", token);
        Assert.Equal((3, 2), ((int)page!["total_count"]!, page["repositories"]!.AsArray().Count));
        var (_, rest, _) = await app.SendAsync(Get, GitHubApp.NextOf(headers)!, token);
        Assert.Equal("octo-org/third", (string)Assert.Single(rest!["repositories"]!.AsArray())!["full_name"]!);

        Assert.Equal(HttpStatusCode.Created, (await app.CallAsync(Post, "/repos/octo-org/second/actions/runners/generate-jitconfig", token, GitHubApp.Request("n", "a"))).Status);
        Assert.Equal(HttpStatusCode.Created, (await app.CallAsync(Post, "/orgs/octo-org/actions/runners/generate-jitconfig", token, GitHubApp.Request("n", "a"))).Status);
        Assert.Equal(HttpStatusCode.NotFound, (await app.CallAsync(Post, "/repos/octo-org/second/actions/runners/generate-jitconfig", theirs, GitHubApp.Request("m", "a"))).Status);
        Assert.Equal(HttpStatusCode.NotFound, (await app.CallAsync(Get, "/orgs/octo-org/actions/runners", theirs)).Status);
        Assert.Equal(HttpStatusCode.Forbidden, (await app.CallAsync(Post, "/app/installations/3/access_tokens", app.Assert())).Status);
        Assert.Equal(HttpStatusCode.NotFound, (await app.CallAsync(Post, "/app/installations/4/access_tokens", app.Assert())).Status);
    }

    [Fact]
    public async Task A_token_opens_what_was_granted_or_less_and_no_more()
    {
        var options = new GitHubOptions { Permissions = new Dictionary<string, string> { ["administration"] = "read", ["metadata"] = "read", ["checks"] = "write" }, OtherRepositories = ["second"] };
        await using var lab = await Lab.StartAsync(new LabOptions { GitHub = options });
        using var app = new GitHubApp(lab);
        var token = await app.TokenAsync();
        var tokens = $"/app/installations/{options.InstallationId}/access_tokens";

        Assert.Equal(HttpStatusCode.OK, (await app.CallAsync(Get, $"{app.Repository}/actions/runners", token)).Status);
        var (status, refusal) = await app.RegisterAsync(token, "n", "a");
        Assert.Equal((HttpStatusCode.Forbidden, "Resource not accessible by integration"), (status, (string)refusal!["message"]!));
        Assert.Equal(HttpStatusCode.UnprocessableEntity, (await app.CallAsync(Post, tokens, app.Assert(), JsonNode.Parse("""{"permissions":{"actions":"read"}}"""))).Status);
        Assert.Equal(HttpStatusCode.UnprocessableEntity, (await app.CallAsync(Post, tokens, app.Assert(), JsonNode.Parse("""{"repositories":["fourth"]}"""))).Status);
        var (_, less) = await app.CallAsync(Post, tokens, app.Assert(), JsonNode.Parse("""{"repositories":["second"],"permissions":{"administration":"read"}}"""));
        Assert.Equal(HttpStatusCode.NotFound, (await app.CallAsync(Get, $"{app.Repository}/actions/runners", (string)less!["token"]!)).Status);
        Assert.Equal(HttpStatusCode.OK, (await app.CallAsync(Get, "/repos/octo-org/second/actions/runners", (string)less["token"]!)).Status);
        Assert.Equal(HttpStatusCode.Forbidden, (await app.CallAsync(Post, "/repos/octo-org/second/check-runs", (string)less["token"]!)).Status);
    }

    [Fact]
    public async Task Runners_are_told_apart_by_what_they_do_and_a_busy_one_cannot_be_deleted()
    {
        await using var lab = await Lab.StartAsync(new LabOptions { GitHub = new GitHubOptions { RunnerKeys = 1 } });
        using var app = new GitHubApp(lab);
        var token = await app.TokenAsync();
        var (job, _) = await lab.GitHub.Jobs.QueueAsync("build", ["mayfly"], []);
        var busy = lab.GitHub.Runners.Register("thief", ["mayfly"]);
        lab.GitHub.Jobs.Steal(job, busy);
        lab.GitHub.Runners.Register("online", ["mayfly"]).Session = Guid.NewGuid();
        lab.GitHub.Runners.Register("ghost", ["mayfly"]);

        var (_, page) = await app.CallAsync(Get, $"{app.Repository}/actions/runners?per_page=2", token);
        Assert.Equal((3, 2), ((int)page!["total_count"]!, page["runners"]!.AsArray().Count));
        var (_, all) = await app.CallAsync(Get, $"{app.Repository}/actions/runners", token);
        Assert.Equal(
            [("thief", "online", true), ("online", "online", false), ("ghost", "offline", false)],
            all!["runners"]!.AsArray().Select(r => ((string)r!["name"]!, (string)r["status"]!, (bool)r["busy"]!)));
        Assert.Equal(HttpStatusCode.UnprocessableEntity, (await app.CallAsync(Delete, $"{app.Repository}/actions/runners/{busy.Id}", token)).Status);
        Assert.Equal(HttpStatusCode.NotFound, (await app.CallAsync(Delete, $"/orgs/octo-org/actions/runners/{busy.Id}", token)).Status);
        Assert.Equal("thief", job.Runner!.Name);
    }

    [Fact]
    public async Task A_run_is_what_its_jobs_make_it_and_is_cancelled_and_run_again_with_them()
    {
        await using var lab = await Lab.StartAsync(new LabOptions { GitHub = new GitHubOptions { RunnerKeys = 1 } });
        using var app = new GitHubApp(lab);
        var token = await app.TokenAsync();
        var (one, _) = await lab.GitHub.Jobs.QueueAsync("one", ["mayfly"], []);
        var (two, _) = await lab.GitHub.Jobs.QueueAsync("two", ["mayfly"], [], run: one.RunId);

        Assert.Equal(1, await CountAsync("queued"));
        lab.GitHub.Jobs.Steal(one, lab.GitHub.Runners.Register("r", ["mayfly"]));
        Assert.Equal((0, 1), (await CountAsync("queued"), await CountAsync("in_progress")));
        Assert.Equal(HttpStatusCode.Forbidden, await PostAsync($"runs/{one.RunId}/rerun-failed-jobs"));
        Assert.Equal(HttpStatusCode.Accepted, await PostAsync($"runs/{one.RunId}/cancel"));
        Assert.Equal(("cancelled", JobState.InProgress, true), (two.Conclusion, one.State, one.CancelRequested));
        lab.GitHub.Jobs.Complete(one, "success");
        Assert.Equal(HttpStatusCode.Conflict, await PostAsync($"runs/{one.RunId}/cancel"));

        Assert.Equal(HttpStatusCode.Created, await PostAsync($"runs/{one.RunId}/rerun-failed-jobs"));
        Assert.Equal(["two"], await NamesAsync($"runs/{one.RunId}/attempts/2/jobs"));
        Assert.Equal(["one", "two"], await NamesAsync($"runs/{one.RunId}/attempts/1/jobs"));
        Assert.Equal(["one", "two", "two"], await NamesAsync($"runs/{one.RunId}/jobs?filter=all"));
        var latest = (await app.CallAsync(Get, $"{app.Repository}/actions/runs/{one.RunId}/jobs?filter=latest", token)).Answer!["jobs"]!.AsArray();
        Assert.Equal([(1, "success"), (2, null)], latest.Select(j => ((int)j!["run_attempt"]!, (string?)j["conclusion"])));
        Assert.NotEqual(two.Id, (long)latest[1]!["id"]!);
        Assert.Equal(HttpStatusCode.Forbidden, await PostAsync($"jobs/{one.Id}/rerun"));
        Assert.Equal(HttpStatusCode.NotFound, (await app.CallAsync(Get, $"{app.Repository}/actions/runs/{one.RunId}/attempts/3/jobs", token)).Status);

        async Task<int> CountAsync(string status) => (int)(await app.CallAsync(Get, $"{app.Repository}/actions/runs?status={status}", token)).Answer!["total_count"]!;
        async Task<HttpStatusCode> PostAsync(string path) => (await app.CallAsync(Post, $"{app.Repository}/actions/{path}", token)).Status;
        async Task<IEnumerable<string>> NamesAsync(string path) => (await app.CallAsync(Get, $"{app.Repository}/actions/{path}", token)).Answer!["jobs"]!.AsArray().Select(j => (string)j!["name"]!);
    }

    [Fact]
    public async Task A_job_that_waits_for_approval_is_told_of_as_queued_waiting_queued_and_is_not_offered_meanwhile()
    {
        await using var lab = await Lab.StartAsync(new LabOptions { GitHub = new GitHubOptions { RunnerKeys = 1 } });
        var runner = lab.GitHub.Runners.Register("r", ["mayfly"]);
        var (job, _) = await lab.GitHub.Jobs.QueueAsync("deploy", ["mayfly"], []);

        await lab.GitHub.Jobs.HoldAsync(job);
        Assert.Null(lab.GitHub.Jobs.Offer(runner));
        await lab.GitHub.Jobs.ReleaseAsync(job);
        Assert.Equal(job, lab.GitHub.Jobs.Offer(runner));

        Assert.Equal(["queued", "waiting", "queued"], lab.GitHub.Webhooks.Log.Select(d => d.Action));
    }

    [Fact]
    public async Task A_check_run_tells_the_user_why()
    {
        await using var lab = await Lab.StartAsync(new LabOptions());
        using var app = new GitHubApp(lab);
        var token = await app.TokenAsync();
        var request = new JsonObject
        {
            ["name"] = "mayfly", ["head_sha"] = AppJson.HeadSha, ["conclusion"] = "failure", ["output"] = new JsonObject { ["title"] = "No machine", ["summary"] = "cpu=many is no number" },
        };

        Assert.Equal(HttpStatusCode.Created, (await app.CallAsync(Post, $"{app.Repository}/check-runs", token, request)).Status);
        var made = Assert.Single(lab.GitHub.CheckRuns.All);
        Assert.Equal(("completed", "failure", "cpu=many is no number"), (made.Status, made.Conclusion, made.Summary));
        foreach (var wrong in (string[])["""{"name":"n"}""", """{"name":"n","head_sha":"main"}""", """{"name":"n","head_sha":"0000000000000000000000000000000000000000","status":"completed"}"""])
            Assert.Equal(HttpStatusCode.UnprocessableEntity, (await app.CallAsync(Post, $"{app.Repository}/check-runs", token, JsonNode.Parse(wrong))).Status);
    }
}
