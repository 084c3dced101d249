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

    private readonly RunnerTokens _tokens = new(time);

    public Results Results { get; } = new(jobs);

    /// <summary>What each job's steps printed, by job id.</summary>
    public IReadOnlyDictionary<long, string> Logs => Results.Logs;

    /// <summary>What a job's own steps printed, without what the image's hooks show before and after them.</summary>
    public IReadOnlyList<string> StepsOutput(long job) =>
    [
        .. Logs.GetValueOrDefault(job, "").Split('\n', StringSplitOptions.RemoveEmptyEntries)
            .SkipWhile(line => !line.StartsWith("Boot ", StringComparison.Ordinal)).Skip(1).TakeWhile(line => line != "High-water marks"),
    ];

    public async Task<bool> HandleAsync(HttpContext context, Uri server)
    {
        var path = context.Request.Path.Value ?? "";
        switch (context.Request.Method, path)
        {
            case ("POST", _) when path.StartsWith("/_apis/oauth2/token/", StringComparison.Ordinal):
                await IssueTokenAsync(context, path.Split('/')[^1], server);
                return true;
            case ("POST", "/broker/session"):
                await CreateSessionAsync(context, RegisteredOf(context));
                return true;
            case ("GET", "/broker/message"):
                await NextMessageAsync(context, RunnerOf(context), server);
                return true;
            case ("POST", "/broker/acknowledge"):
                await AcknowledgeAsync(context, RunnerOf(context));
                return true;
            case ("DELETE", "/broker/session"):
                RunnerOf(context).Session = null;
                context.Response.StatusCode = 204;
                return true;
            case ("POST", "/run/acquirejob"):
                await AcquireAsync(context, RegisteredOf(context), server);
                return true;
            case ("POST", "/run/renewjob"):
                await RenewAsync(context);
                return true;
            case ("POST", "/run/completejob"):
                await CompleteAsync(context);
                return true;
            default:
                return await Results.HandleAsync(context, server);
        }
    }

    private async Task IssueTokenAsync(HttpContext context, string client, Uri server)
    {
        var form = await context.Request.ReadFormAsync(context.RequestAborted);
        var runner = runners.All.FirstOrDefault(r => $"{r.ClientId}" == client);
        var refusal = runner is null ? $"Registration {client} was not found."
            : form["grant_type"] != "client_credentials" || form["client_assertion_type"] != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
                ? "grant_type client_credentials with a JWT assertion is wanted"
                : _tokens.Refusal(form["client_assertion"].ToString(), runner, runner.AuthorizationUrl(server));
        if (refusal is not null)
        {
            // By this error the runner knows that its registration is gone.
            context.Response.StatusCode = 400;
            await AnswerAsync(context, new JsonObject { ["error"] = "invalid_client", ["error_description"] = refusal });
            return;
        }

        runner!.AccessToken = _tokens.Issue(new JsonObject { ["sub"] = client });
        await AnswerAsync(context, new JsonObject { ["access_token"] = runner.AccessToken, ["token_type"] = "bearer", ["expires_in"] = 3000 });
    }

    private static async Task CreateSessionAsync(HttpContext context, Runner runner)
    {
        var request = await ReadAsync(context);
        if (runner.Fault == RunnerFault.NoSession)
            throw new RunnerFailure(503, RunnerFailure.BrokerService, "", "The lab was told to fail");
        if (runner.Session is not null || runner.Fault == RunnerFault.SessionHeld)
            throw new RunnerFailure(409, RunnerFailure.BrokerService, "SessionConflict", $"The runner {runner.Name} already has an active session");
        runner.Session = Guid.NewGuid();
        request["sessionId"] = $"{runner.Session}";
        context.Response.StatusCode = 201;
        await AnswerAsync(context, request);
    }

    private async Task NextMessageAsync(HttpContext context, Runner runner, Uri server)
    {
        var query = context.Request.Query;
        if (runner.Session is null || $"{runner.Session}" != query["sessionId"])
            throw new RunnerFailure(404, RunnerFailure.BrokerService, "SessionNotFound", "No such session");
        if (runner.Fault == RunnerFault.TooOld)
            throw new RunnerFailure(403, RunnerFailure.BrokerService, "RunnerVersionTooOld", "Runner version is too old");
        if (!runner.Listened)
        {
            runner.Listened = true;
            journal.Record("github", "runner listening", runner.Name, query["runnerVersion"].ToString());
        }

        var mayTakeJob = query["status"] != "Busy" && runner is { Job: null, IsRemoved: false } && runner.Fault != RunnerFault.GivenNoJob;
        using var hold = new CancellationTokenSource(LongPoll, time);
        while (!hold.IsCancellationRequested)
        {
            var change = jobs.NextChange;
            // After its job a runner is unregistered and still has a session to close: it is told nothing more.
            if (runner is { IsRemoved: true, Job: null } && runner.Fault != RunnerFault.ListensForEver)
                throw new RunnerFailure(404, RunnerFailure.BrokerService, "RunnerNotFound", "Runner not found");
            if (runner.Job is { CancelRequested: true, CancelDelivered: false } cancelled)
            {
                cancelled.CancelDelivered = true;
                await AnswerAsync(context, MessageOf("JobCancellation", new JsonObject { ["jobId"] = $"{cancelled.JobGuid}", ["timeout"] = "00:05:00" }));
                return;
            }

            if (mayTakeJob && jobs.Offer(runner) is { } offered)
            {
                await AnswerAsync(context, MessageOf("RunnerJobRequest", new JsonObject
                {
                    ["id"] = offered.MessageId, ["runner_request_id"] = offered.MessageId,
                    ["run_service_url"] = new Uri(server, "run/").AbsoluteUri, ["should_acknowledge"] = true, ["billing_owner_id"] = "O_lab",
                }));
                return;
            }

            // A second at a time, since an offer to another runner lapses without a change.
            await jobs.IsWithinAsync(change, TimeSpan.FromSeconds(1), context.RequestAborted);
        }

        context.Response.StatusCode = 202;
    }

    private async Task AcknowledgeAsync(HttpContext context, Runner runner)
    {
        var id = (await ReadAsync(context))["runnerRequestId"]?.ToString();
        if (id is null || jobs.FindByMessage(id)?.OfferedTo != runner)
            throw new RunnerFailure(404, RunnerFailure.BrokerService, "AcknowledgeJobNotFound", "Assigned job no longer exists");
        await AnswerAsync(context, []);
    }

    private async Task AcquireAsync(HttpContext context, Runner runner, Uri server)
    {
        var request = await ReadAsync(context);
        if (runner.Fault == RunnerFault.AcquireHangs)
            await Task.Delay(Timeout.InfiniteTimeSpan, time, context.RequestAborted);
        if (runner.Fault == RunnerFault.AcquireConflicts)
            throw new RunnerFailure(409, RunnerFailure.RunService, "", "Job already acquired");
        var job = jobs.Acquire(runner, request["jobMessageId"]?.ToString() ?? "");
        journal.Record("github", "job assigned", $"{job.Id}", runner.Name);
        // The worker's token is good for this job alone; the runner reads "orchid" from it.
        job.Token = _tokens.Issue(new JsonObject { ["orchid"] = $"{job.PlanId}.{job.Name}.__default", ["scp"] = $"Actions.Results:{job.PlanId}:{job.JobGuid}" });
        await AnswerAsync(context, JobMessage.Of(job, options, server, job.Token, $"ghs_{Guid.NewGuid():N}0000"));
    }

    private async Task RenewAsync(HttpContext context)
    {
        var job = JobOf(context, await ReadAsync(context));
        jobs.Start(job);
        await AnswerAsync(context, new JsonObject { ["lockedUntil"] = (time.GetUtcNow() + Lock).UtcDateTime.ToString("O", System.Globalization.CultureInfo.InvariantCulture) });
    }

    private async Task CompleteAsync(HttpContext context)
    {
        var request = await ReadAsync(context);
        var job = JobOf(context, request);
        jobs.Complete(job, request["conclusion"]?.ToString().ToLowerInvariant() switch
        {
            "succeeded" or "0" or "succeededwithissues" or "1" => "success",
            "canceled" or "3" => "cancelled",
            "skipped" or "4" => "skipped",
            _ => "failure",
        });
        runners.Remove(job.Runner!, "its one job is done");
        context.Response.StatusCode = 204;
    }

    /// <summary>The runner that has this token, registered or not: what it has begun it may end.</summary>
    private Runner RunnerOf(HttpContext context)
    {
        var bearer = context.Request.Headers.Authorization.ToString();
        return runners.Known.FirstOrDefault(r => r.AccessToken is { } token && bearer == $"Bearer {token}")
            ?? throw new RunnerFailure(401, RunnerFailure.BrokerService, "Unauthorized", "No runner has this token");
    }

    private Runner RegisteredOf(HttpContext context) => RunnerOf(context) is { IsRemoved: false } runner
        ? runner
        : throw new RunnerFailure(404, RunnerFailure.BrokerService, "RunnerNotFound", "Runner not found");

    private Job JobOf(HttpContext context, JsonObject request)
    {
        var bearer = context.Request.Headers.Authorization.ToString();
        var job = jobs.All.FirstOrDefault(j => j.Token is { } token && bearer == $"Bearer {token}")
            ?? throw new RunnerFailure(401, RunnerFailure.RunService, "", "No job has this token");
        return request["jobId"]?.ToString() == $"{job.JobGuid}" && request["planId"]?.ToString() == $"{job.PlanId}" && job.State != JobState.Completed
            ? job
            : throw new RunnerFailure(404, RunnerFailure.RunService, "", "Job not found");
    }

    private static JsonObject MessageOf(string type, JsonObject body) => new() { ["messageId"] = System.Security.Cryptography.RandomNumberGenerator.GetInt32(int.MaxValue), ["messageType"] = type, ["body"] = body.ToJsonString() };

    public static async Task<JsonObject> ReadAsync(HttpContext context)
    {
        using var reader = new StreamReader(context.Request.Body);
        try
        {
            var node = JsonNode.Parse(await reader.ReadToEndAsync(context.RequestAborted), new JsonNodeOptions { PropertyNameCaseInsensitive = true });
            return node as JsonObject ?? throw new JsonException();
        }
        catch (JsonException)
        {
            throw new RunnerFailure(400, RunnerFailure.BrokerService, "BadRequest", "A JSON object is wanted");
        }
    }

    public static async Task AnswerAsync(HttpContext context, JsonObject body)
    {
        context.Response.ContentType = "application/json; charset=utf-8";
        await context.Response.WriteAsync(body.ToJsonString(JsonSerializerOptions.Default), context.RequestAborted);
    }
}
