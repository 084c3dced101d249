using System.Net;
using System.Security.Cryptography;
using System.Text.Json.Nodes;
using Mayfly.Contract;
using Mayfly.Lab.GitHub;

namespace Mayfly.Lab.Tests;

public sealed class GitHubTests
{
    [Fact]
    public async Task An_app_proves_itself_and_gets_a_token_for_an_hour()
    {
        await using var lab = await Lab.StartAsync(new LabOptions());
        using var app = new GitHubApp(lab);

        var (status, answer) = await app.CallAsync(HttpMethod.Post, $"/app/installations/{lab.Options.GitHub.InstallationId}/access_tokens", app.Assert());

        Assert.Equal(HttpStatusCode.Created, status);
        Assert.StartsWith("ghs_", answer!["token"]!.ToString(), StringComparison.Ordinal);
        Assert.InRange(DateTimeOffset.Parse(answer["expires_at"]!.ToString(), null) - TimeProvider.System.GetUtcNow(), TimeSpan.FromMinutes(59), TimeSpan.FromMinutes(60));
    }

    [Theory]
    [InlineData(30, -1, "'Expiration time' claim ('exp')")]
    [InlineData(30, 700, "'Expiration time' claim ('exp') is too far in the future")]
    [InlineData(-90, 400, "'Issued at' claim ('iat')")]
    public async Task An_assertion_outside_its_time_is_refused(int issuedAgo, int expiresIn, string message)
    {
        await using var lab = await Lab.StartAsync(new LabOptions());
        using var app = new GitHubApp(lab);

        var (status, answer) = await app.CallAsync(HttpMethod.Get, "/app/hook/deliveries", app.Assert(issuedAgo, expiresIn));

        Assert.Equal(HttpStatusCode.Unauthorized, status);
        Assert.StartsWith(message, answer!["message"]!.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_foreign_key_a_wrong_issuer_and_no_assertion_at_all_are_refused()
    {
        await using var lab = await Lab.StartAsync(new LabOptions());
        using var app = new GitHubApp(lab);
        using var foreign = RSA.Create(2048);

        foreach (var bearer in (string?[])[app.Assert(key: foreign), app.Assert(issuer: "1"), "ghs_none", null])
            Assert.Equal(HttpStatusCode.Unauthorized, (await app.CallAsync(HttpMethod.Get, "/app/hook/deliveries", bearer)).Status);
    }

    [Fact]
    public async Task A_call_without_a_user_agent_is_forbidden()
    {
        await using var lab = await Lab.StartAsync(new LabOptions());
        using var app = new GitHubApp(lab);

        Assert.Equal(HttpStatusCode.Forbidden, (await app.CallAsync(HttpMethod.Get, "/app/hook/deliveries", app.Assert(), withUserAgent: false)).Status);
    }

    [Fact]
    public async Task A_jit_config_is_as_large_as_githubs_and_its_envelope_fits_a_standard_parameter()
    {
        await using var lab = await Lab.StartAsync(new LabOptions());
        using var app = new GitHubApp(lab);

        var (status, answer) = await app.RegisterAsync(await app.TokenAsync(), "mayfly-1", "mayfly");

        Assert.Equal(HttpStatusCode.Created, status);
        var encoded = answer!["encoded_jit_config"]!.ToString();
        Assert.InRange(encoded.Length, 3_700, 4_700); // GitHub's are about 4,320: its addresses are longer than the lab's
        using var files = RunnerFiles.ParseJitConfig(encoded);
        Assert.InRange(Envelope.Pack(files).Length, 1_800, Envelope.MaxCharacters);
        Assert.Equal(["mayfly"], answer["runner"]!["labels"]!.AsArray().Select(l => l!["name"]!.ToString()));
    }

    [Fact]
    public async Task A_runners_name_cannot_be_used_twice()
    {
        await using var lab = await Lab.StartAsync(new LabOptions());
        using var app = new GitHubApp(lab);
        var token = await app.TokenAsync();
        await app.RegisterAsync(token, "mayfly-1", "mayfly");

        Assert.Equal(HttpStatusCode.Conflict, (await app.RegisterAsync(token, "MAYFLY-1", "mayfly")).Status);
    }

    public static TheoryData<string> WrongRequests => new(
        """{"runner_group_id":1,"labels":["a"]}""", """{"name":"","runner_group_id":1,"labels":["a"]}""", """{"name":"n","labels":["a"]}""",
        """{"name":"n","runner_group_id":"1","labels":["a"]}""", """{"name":"n","runner_group_id":1}""", """{"name":"n","runner_group_id":1,"labels":[]}""",
        $$"""{"name":"n","runner_group_id":1,"labels":[{{string.Join(',', Enumerable.Repeat("\"a\"", 101))}}]}""");

    [Theory]
    [MemberData(nameof(WrongRequests))]
    public async Task A_jit_config_needs_a_name_a_group_and_1_to_100_labels(string request)
    {
        await using var lab = await Lab.StartAsync(new LabOptions());
        using var app = new GitHubApp(lab);

        var (status, _) = await app.CallAsync(HttpMethod.Post, $"{app.Repository}/actions/runners/generate-jitconfig", await app.TokenAsync(), JsonNode.Parse(request));

        Assert.Equal(HttpStatusCode.UnprocessableEntity, status);
        Assert.Empty(lab.GitHub.Runners.All);
    }

    [Fact]
    public async Task Another_repository_is_not_found_and_an_apps_assertion_is_no_token()
    {
        await using var lab = await Lab.StartAsync(new LabOptions());
        using var app = new GitHubApp(lab);
        var request = GitHubApp.Request("n", "a");

        Assert.Equal(HttpStatusCode.NotFound, (await app.CallAsync(HttpMethod.Post, "/repos/octo-org/other/actions/runners/generate-jitconfig", await app.TokenAsync(), request)).Status);
        Assert.Equal(HttpStatusCode.Unauthorized, (await app.CallAsync(HttpMethod.Post, $"{app.Repository}/actions/runners/generate-jitconfig", app.Assert(), request)).Status);
    }

    [Fact]
    public async Task A_runner_can_be_listed_and_deleted()
    {
        await using var lab = await Lab.StartAsync(new LabOptions());
        using var app = new GitHubApp(lab);
        var token = await app.TokenAsync();
        await app.RegisterAsync(token, "mayfly-1", "mayfly");
        var (_, list) = await app.CallAsync(HttpMethod.Get, $"{app.Repository}/actions/runners?name=mayfly-1", token);
        var runner = list!["runners"]!.AsArray().Single()!;
        Assert.Equal("offline", runner["status"]!.ToString());

        Assert.Equal(HttpStatusCode.NoContent, (await app.CallAsync(HttpMethod.Delete, $"{app.Repository}/actions/runners/{runner["id"]}", token)).Status);
        Assert.Equal(HttpStatusCode.NotFound, (await app.CallAsync(HttpMethod.Delete, $"{app.Repository}/actions/runners/{runner["id"]}", token)).Status);
    }

    [Fact]
    public async Task A_webhook_is_signed_over_its_raw_body_and_bears_githubs_headers()
    {
        await using var lab = await Lab.StartAsync(new LabOptions());
        await using var receiver = await GitHubReceiver.StartAsync();
        lab.GitHub.Webhooks.Target = receiver.Address;

        var (job, status) = await lab.GitHub.Jobs.QueueAsync("build", ["mayfly"], ["true"]);

        Assert.Equal(202, status);
        var (headers, body) = receiver.Received.Single();
        Assert.Equal(Webhooks.Sign(lab.Options.GitHub.WebhookSecret, body), headers["X-Hub-Signature-256"]);
        Assert.Equal("workflow_job", headers["X-GitHub-Event"]);
        Assert.Equal("application/json", headers["Content-Type"]);
        Assert.StartsWith("GitHub-Hookshot/", headers["User-Agent"], StringComparison.Ordinal);
        Assert.True(Guid.TryParse(headers["X-GitHub-Delivery"], out _));
        Assert.All((string[])["X-GitHub-Hook-ID", "X-GitHub-Hook-Installation-Target-ID", "X-GitHub-Hook-Installation-Target-Type"], name => Assert.True(headers.ContainsKey(name)));
        Assert.Equal(job.Id, (long)JsonNode.Parse(body)!["workflow_job"]!["id"]!);
    }

    [Fact]
    public async Task A_failed_delivery_stays_failed_until_another_attempt_is_asked_for()
    {
        await using var lab = await Lab.StartAsync(new LabOptions());
        await using var receiver = await GitHubReceiver.StartAsync();
        using var app = new GitHubApp(lab);
        lab.GitHub.Webhooks.Target = receiver.Address;
        receiver.Status = 500;
        await lab.GitHub.Jobs.QueueAsync("build", ["mayfly"], ["true"]);
        Assert.Single(receiver.Received);

        receiver.Status = 202;
        var failed = lab.GitHub.Webhooks.Log.Single();
        Assert.True(failed.Id > 1L << 53);
        Assert.Equal(HttpStatusCode.Accepted, (await app.CallAsync(HttpMethod.Post, $"/app/hook/deliveries/{failed.Id}/attempts", app.Assert())).Status);

        Assert.Equal([500, 202], lab.GitHub.Webhooks.Log.Select(d => d.Status));
        Assert.Equal(failed.Guid, lab.GitHub.Webhooks.Log[1].Guid);
        Assert.Equal(receiver.Received[0].Body, receiver.Received[1].Body);
        Assert.Equal(receiver.Received[0].Headers["X-GitHub-Delivery"], receiver.Received[1].Headers["X-GitHub-Delivery"]);
    }
}
