using System.Collections.Concurrent;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Mayfly.Lab.GitHub;

/// <summary>
/// What the runner itself talks to: token, session, messages, the run service, and the results service. In the order in
/// which the official runner calls (V2 flow).
/// </summary>
internal sealed class Broker(GitHubOptions options, RunnerRegistry runners, Jobs jobs, Journal journal, TimeProvider time)
{
    /// <summary>How long a message request is held when there is nothing to say.</summary>
    private static readonly TimeSpan LongPoll = TimeSpan.FromSeconds(20);

    private static readonly TimeSpan Lock = TimeSpan.FromMinutes(10);

    /// <summary>What the jobs' steps printed, by job id, as it was uploaded.</summary>
    public ConcurrentDictionary<long, string> Logs { get; } = new();

    public async Task<bool> HandleAsync(HttpContext context, Uri server)
    {
        var path = context.Request.Path.Value ?? "";
        switch (context.Request.Method, path)
        {
            case ("POST", "/_apis/oauth2/token"):
                await IssueTokenAsync(context);
                return true;
            case ("POST", "/broker/session"):
                await CreateSessionAsync(context, RunnerOf(context));
                return true;
            case ("GET", "/broker/message"):
                await NextMessageAsync(context, RunnerOf(context), server);
                return true;
            case ("POST", "/broker/acknowledge"):
                _ = RunnerOf(context);
                await AnswerAsync(context, []);
                return true;
            case ("DELETE", "/broker/session"):
                RunnerOf(context).Session = null;
                await AnswerAsync(context, []);
                return true;
            case ("POST", "/run/acquirejob"):
                await AcquireAsync(context, RunnerOf(context), server);
                return true;
            case ("POST", "/run/renewjob"):
                await RenewAsync(context, RunnerOf(context));
                return true;
            case ("POST", "/run/completejob"):
                await CompleteAsync(context, RunnerOf(context));
                return true;
            default:
                return await HandleResultsAsync(context, path, server);
        }
    }

    private async Task IssueTokenAsync(HttpContext context)
    {
        var form = await context.Request.ReadFormAsync(context.RequestAborted);
        if (form["grant_type"] != "client_credentials" || form["client_assertion_type"] != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
            throw new GitHubFault(400, "grant_type client_credentials with a JWT assertion is wanted");
        var assertion = form["client_assertion"].ToString();
        var runner = runners.All.FirstOrDefault(r => Jwt.Verify(assertion, r.Key) is { } claims && (string?)claims["sub"] == $"{r.ClientId}"
            && (long?)claims["exp"] > time.GetUtcNow().ToUnixTimeSeconds())
            ?? throw new GitHubFault(401, "The assertion is not signed by a registered runner");
        runner.AccessToken = Convert.ToHexStringLower(System.Security.Cryptography.RandomNumberGenerator.GetBytes(24));
        await AnswerAsync(context, new JsonObject { ["access_token"] = runner.AccessToken, ["token_type"] = "bearer", ["expires_in"] = 3000 });
    }

    private static async Task CreateSessionAsync(HttpContext context, Runner runner)
    {
        if (runner.Session is not null)
            throw new GitHubFault(409, "The runner already has a session");
        runner.Session = Guid.NewGuid();
        await AnswerAsync(context, new JsonObject
        {
            ["sessionId"] = $"{runner.Session}", ["ownerName"] = runner.Name, ["useFipsEncryption"] = false,
            ["agent"] = new JsonObject { ["id"] = runner.Id, ["name"] = runner.Name, ["version"] = "2.336.0", ["status"] = 0 },
        });
    }

    private async Task NextMessageAsync(HttpContext context, Runner runner, Uri server)
    {
        if ($"{runner.Session}" != context.Request.Query["sessionId"])
            throw new GitHubFault(404, "No such session");
        if (!runner.Listened)
        {
            runner.Listened = true;
            journal.Record("github", "runner listening", runner.Name, context.Request.Query["runnerVersion"].ToString());
        }

        if (runner.Job is null && jobs.Offer(runner) is { } offered)
        {
            await AnswerAsync(context, MessageOf("RunnerJobRequest", new JsonObject
            {
                ["id"] = offered.MessageId, ["runner_request_id"] = offered.MessageId,
                ["run_service_url"] = new Uri(server, "run/").AbsoluteUri, ["should_acknowledge"] = true, ["billing_owner_id"] = "1",
            }));
            return;
        }

        if (runner.Job is { CancelRequested: true } cancelled)
        {
            await AnswerAsync(context, MessageOf("JobCancellation", new JsonObject { ["jobId"] = $"{cancelled.JobGuid}", ["timeout"] = "00:05:00" }));
            return;
        }

        await jobs.ChangedWithinAsync(LongPoll, context.RequestAborted);
        context.Response.StatusCode = 202;
    }

    private async Task AcquireAsync(HttpContext context, Runner runner, Uri server)
    {
        var request = await ReadAsync(context);
        var job = jobs.Acquire(runner, (string?)request["jobMessageId"] ?? "");
        journal.Record("github", "job assigned", $"{job.Id}", runner.Name);
        await AnswerAsync(context, JobMessage.Of(job, options, server, runner.AccessToken!, time.GetUtcNow() + Lock));
    }

    private async Task RenewAsync(HttpContext context, Runner runner)
    {
        var job = JobOf(runner, await ReadAsync(context));
        await jobs.StartAsync(job);
        await AnswerAsync(context, new JsonObject { ["lockedUntil"] = (time.GetUtcNow() + Lock).ToString("O", System.Globalization.CultureInfo.InvariantCulture) });
    }

    private async Task CompleteAsync(HttpContext context, Runner runner)
    {
        var request = await ReadAsync(context);
        var job = JobOf(runner, request);
        await AnswerAsync(context, []);
        await jobs.CompleteAsync(job, request["conclusion"]?.ToString().ToLowerInvariant() switch
        {
            "succeeded" or "0" => "success",
            "canceled" or "3" => "cancelled",
            "skipped" or "4" => "skipped",
            _ => "failure",
        });
        runners.Remove(runner, "its one job is done");
    }

    /// <summary>The results service: asks where logs may be put, takes them, and takes the steps' states.</summary>
    private async Task<bool> HandleResultsAsync(HttpContext context, string path, Uri server)
    {
        if (path.StartsWith("/results/twirp/", StringComparison.Ordinal) && context.Request.Method == "POST")
        {
            var runner = RunnerOf(context);
            await ReadAsync(context);
            var answer = new JsonObject { ["ok"] = true, ["soft_size_limit"] = "104857600", ["blob_storage_type"] = "BLOB_STORAGE_TYPE_AZURE" };
            foreach (var kind in (string[])["logs_url", "summary_url", "diag_logs_url"])
                answer[kind] = new Uri(server, $"results/blob/{runner.Job?.Id}/{Guid.NewGuid()}").AbsoluteUri;
            await AnswerAsync(context, answer);
            return true;
        }

        if (path.StartsWith("/results/blob/", StringComparison.Ordinal) && context.Request.Method == "PUT")
        {
            using var reader = new StreamReader(context.Request.Body);
            var text = await reader.ReadToEndAsync(context.RequestAborted);
            if (long.TryParse(path.Split('/')[3], out var id))
                Logs.AddOrUpdate(id, text, (_, before) => before + text);
            context.Response.StatusCode = 201;
            return true;
        }

        return false;
    }

    private Runner RunnerOf(HttpContext context)
    {
        var bearer = context.Request.Headers.Authorization.ToString();
        return runners.All.FirstOrDefault(r => r.AccessToken is { } token && bearer == $"Bearer {token}")
            ?? throw new GitHubFault(401, "No runner has this token");
    }

    private static Job JobOf(Runner runner, JsonObject request) =>
        runner.Job is { } job && Guid.TryParse((string?)request["jobId"], out var id) && id == job.JobGuid
            ? job
            : throw new GitHubFault(404, "The runner does not have this job");

    private static JsonObject MessageOf(string type, JsonObject body) => new() { ["messageId"] = 1, ["messageType"] = type, ["body"] = body.ToJsonString() };

    private static async Task<JsonObject> ReadAsync(HttpContext context)
    {
        using var reader = new StreamReader(context.Request.Body);
        var node = JsonNode.Parse(await reader.ReadToEndAsync(context.RequestAborted), new JsonNodeOptions { PropertyNameCaseInsensitive = true });
        return node as JsonObject ?? throw new GitHubFault(400, "A JSON object is wanted");
    }

    private static async Task AnswerAsync(HttpContext context, JsonObject body)
    {
        context.Response.ContentType = "application/json; charset=utf-8";
        await context.Response.WriteAsync(body.ToJsonString(JsonSerializerOptions.Default), context.RequestAborted);
    }
}
