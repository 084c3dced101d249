using System.Collections.Concurrent;
using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;

namespace Mayfly.Lab.GitHub;

/// <summary>GitHub's REST API, as far as Mayfly calls it, with the same refusals; the runner's own protocol is in
/// <see cref="Broker"/>. https://docs.github.com/rest/actions/self-hosted-runners</summary>
internal sealed partial class GitHubServer : IDisposable
{
    private readonly GitHubOptions _options;
    private readonly TimeProvider _time;
    private readonly ConcurrentDictionary<string, DateTimeOffset> _installationTokens = new();

    public GitHubServer(GitHubOptions options, Journal journal, TimeProvider time)
    {
        _options = options;
        _time = time;
        Webhooks = new Webhooks(options, journal, time);
        Jobs = new Jobs(options, Webhooks, journal, time);
        Runners = new RunnerRegistry(options, journal, time);
        Broker = new Broker(options, Runners, Jobs, journal, time);
    }

    public GitHubOptions Options => _options;

    public Webhooks Webhooks { get; }

    public Jobs Jobs { get; }

    public RunnerRegistry Runners { get; }

    public Broker Broker { get; }

    /// <summary>The address that runners are told of.</summary>
    public Uri PublicAddress { get; set; } = new("http://127.0.0.1/");

    /// <summary>Called before each call; throws the fault that a test wants. Null by default.</summary>
    public Action<string, string>? Disturb { get; set; }

    /// <summary>Bytes added to the next JIT configurations, for those that fit no parameter.</summary>
    public int JitPadding { get; set; }

    public async Task HandleAsync(HttpContext context)
    {
        try
        {
            Disturb?.Invoke(context.Request.Method, context.Request.Path);
            if (await Broker.HandleAsync(context, PublicAddress))
                return;
            if (context.Request.Headers.UserAgent.Count == 0)
                throw new GitHubFault(403, "Request forbidden by administrative rules. Please make sure your request has a User-Agent header.");
            var (status, body) = await RestAsync(context);
            context.Response.Headers["X-RateLimit-Remaining"] = "4999";
            await AnswerAsync(context, status, body);
        }
        catch (RunnerFailure failure)
        {
            await AnswerAsync(context, failure.Status, new JsonObject
            {
                ["source"] = failure.Service, ["errorKind"] = failure.Kind, ["statusCode"] = failure.Status, ["errorMessage"] = failure.Message,
            });
        }
        catch (OperationCanceledException) when (context.RequestAborted.IsCancellationRequested)
        {
            // the caller has gone
        }
        catch (GitHubFault fault)
        {
            await AnswerAsync(context, fault.Status, new JsonObject { ["message"] = fault.Message, ["documentation_url"] = "https://docs.github.com/rest", ["status"] = $"{fault.Status}" });
        }
    }

    public void Dispose()
    {
        Runners.Dispose();
        Webhooks.Dispose();
    }

    private async Task<(int Status, JsonNode? Body)> RestAsync(HttpContext context)
    {
        var path = context.Request.Path.Value ?? "";
        var repository = $"/repos/{_options.FullName}";
        switch (context.Request.Method)
        {
            case "POST" when path == $"/app/installations/{_options.InstallationId}/access_tokens":
                RequireApp(context);
                return (201, IssueInstallationToken());
            case "GET" when path == "/app/hook/deliveries":
                RequireApp(context);
                return (200, new JsonArray([.. Webhooks.Log.Reverse().Select(d => new JsonObject
                {
                    ["id"] = d.Id, ["guid"] = $"{d.Guid}", ["delivered_at"] = d.At.ToString("O", CultureInfo.InvariantCulture), ["redelivery"] = d.IsRedelivery, ["duration"] = 0.1,
                    ["status"] = d.Status is >= 200 and < 300 ? "OK" : "failed", ["status_code"] = d.Status, ["event"] = d.Event, ["action"] = d.Action,
                    ["installation_id"] = _options.InstallationId, ["repository_id"] = 1296269,
                })]));
            case "POST" when DeliveryAttempt().Match(path) is { Success: true } attempt:
                RequireApp(context);
                var id = long.Parse(attempt.Groups[1].ValueSpan, CultureInfo.InvariantCulture);
                await Webhooks.RedeliverAsync(Webhooks.Log.FirstOrDefault(d => d.Id == id) ?? throw NotFound());
                return (202, new JsonObject());
            case "POST" when path == $"{repository}/actions/runners/generate-jitconfig":
                RequireInstallation(context);
                return (201, GenerateJitConfig(await ReadAsync(context)));
            case "GET" when path == $"{repository}/actions/runners":
                RequireInstallation(context);
                var name = context.Request.Query["name"].ToString();
                var found = Runners.All.Where(r => name.Length == 0 || r.Name == name).OrderBy(r => r.Id).Select(RunnerJson).ToList();
                return (200, new JsonObject { ["total_count"] = found.Count, ["runners"] = new JsonArray([.. found]) });
            case "DELETE" when RunnerPath().Match(path) is { Success: true } one && path.StartsWith(repository, StringComparison.Ordinal):
                RequireInstallation(context);
                var runner = Runners.Find(long.Parse(one.Groups[1].ValueSpan, CultureInfo.InvariantCulture));
                if (runner.Job is { State: not JobState.Completed })
                    throw new GitHubFault(422, "Runner is currently running a job and cannot be deleted.");
                Runners.Remove(runner, "deleted through the API");
                return (204, null);
            case "GET" when JobPath().Match(path) is { Success: true } job && path.StartsWith(repository, StringComparison.Ordinal):
                RequireInstallation(context);
                return (200, WebhookPayload.WorkflowJob(Jobs.Find(long.Parse(job.Groups[1].ValueSpan, CultureInfo.InvariantCulture)), _options));
            default:
                throw NotFound();
        }
    }

    private JsonObject IssueInstallationToken()
    {
        var token = "ghs_" + Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(18));
        var expires = _time.GetUtcNow().AddHours(1);
        _installationTokens[token] = expires;
        return new JsonObject
        {
            ["token"] = token, ["expires_at"] = expires.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture),
            ["permissions"] = new JsonObject { ["actions"] = "read", ["administration"] = "write", ["metadata"] = "read" }, ["repository_selection"] = "selected",
        };
    }

    private JsonObject GenerateJitConfig(JsonObject request)
    {
        var name = (string?)request["name"];
        var labels = (request["labels"] as JsonArray)?.Select(l => (string?)l ?? "").ToList();
        if (string.IsNullOrEmpty(name) || name.Length > 64 || request["runner_group_id"]?.GetValueKind() != JsonValueKind.Number || labels is null || labels.Count is < 1 or > 100 || labels.Contains(""))
            throw new GitHubFault(422, "Invalid request: name (1 to 64 characters), runner_group_id and 1 to 100 labels are required");
        if ((int)request["runner_group_id"]! != 1)
            throw new GitHubFault(404, "Not Found");
        var runner = Runners.Register(name, labels, (string?)request["work_folder"] ?? "_work");
        var encoded = runner.EncodeJitConfig(PublicAddress);
        if (JitPadding > 0)
            encoded = Pad(encoded, JitPadding);
        return new JsonObject { ["runner"] = RunnerJson(runner), ["encoded_jit_config"] = encoded };
    }

    private static string Pad(string encoded, int bytes)
    {
        var files = JsonNode.Parse(Convert.FromBase64String(encoded))!.AsObject();
        files[".runner"] = Convert.ToBase64String(RandomNumberGenerator.GetBytes(bytes));
        return Convert.ToBase64String(JsonSerializer.SerializeToUtf8Bytes(files));
    }

    private static JsonObject RunnerJson(Runner runner) => new()
    {
        ["id"] = runner.Id, ["name"] = runner.Name, ["os"] = "linux", ["status"] = runner.Session is null ? "offline" : "online", ["busy"] = runner.Job is not null,
        ["runner_group_id"] = 1, ["labels"] = new JsonArray([.. runner.Labels.Select((l, i) => new JsonObject { ["id"] = i + 1, ["name"] = l, ["type"] = "custom" })]),
    };

    /// <summary>The App signs a token that lives for at most ten minutes and was not issued in the future.</summary>
    private void RequireApp(HttpContext context)
    {
        var claims = Jwt.Verify(Bearer(context), _options.AppKey) ?? throw new GitHubFault(401, "A JSON web token could not be decoded");
        var now = _time.GetUtcNow().ToUnixTimeSeconds();
        var (issued, expires) = ((long?)claims["iat"] ?? 0, (long?)claims["exp"] ?? 0);
        if (claims["iss"]?.ToString() != _options.AppId.ToString(CultureInfo.InvariantCulture))
            throw new GitHubFault(401, "'Issuer' claim ('iss') must be the App's id");
        if (issued > now + 60)
            throw new GitHubFault(401, "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued");
        if (expires <= now)
            throw new GitHubFault(401, "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires");
        if (expires > now + 600)
            throw new GitHubFault(401, "'Expiration time' claim ('exp') is too far in the future");
    }

    private void RequireInstallation(HttpContext context)
    {
        if (!_installationTokens.TryGetValue(Bearer(context), out var expires) || expires <= _time.GetUtcNow())
            throw new GitHubFault(401, "Bad credentials");
    }

    private static string Bearer(HttpContext context)
    {
        var header = context.Request.Headers.Authorization.ToString();
        return header.StartsWith("Bearer ", StringComparison.OrdinalIgnoreCase) ? header[7..] : throw new GitHubFault(401, "Requires authentication");
    }

    private static GitHubFault NotFound() => new(404, "Not Found");

    private static async Task<JsonObject> ReadAsync(HttpContext context)
    {
        try
        {
            return await JsonNode.ParseAsync(context.Request.Body, cancellationToken: context.RequestAborted) as JsonObject ?? throw new JsonException();
        }
        catch (JsonException)
        {
            throw new GitHubFault(400, "Problems parsing JSON");
        }
    }

    private static async Task AnswerAsync(HttpContext context, int status, JsonNode? body)
    {
        context.Response.StatusCode = status;
        if (body is null)
            return;
        context.Response.ContentType = "application/json; charset=utf-8";
        await context.Response.WriteAsync(body.ToJsonString(JsonSerializerOptions.Default), context.RequestAborted);
    }

    [GeneratedRegex("^/app/hook/deliveries/([0-9]{1,18})/attempts$")]
    private static partial Regex DeliveryAttempt();

    [GeneratedRegex("/actions/runners/([0-9]{1,18})$")]
    private static partial Regex RunnerPath();

    [GeneratedRegex("/actions/jobs/([0-9]{1,18})$")]
    private static partial Regex JobPath();
}
