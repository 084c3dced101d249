using System.Text.Json;
using System.Text.Json.Nodes;

namespace Mayfly.Lab.GitHub;

/// <summary>
/// GitHub, as far as Mayfly calls it, with the same refusals. The REST API is in <see cref="RestApi"/>, the runner's own
/// protocol in <see cref="GitHub.Broker"/>. What tests move is here: <see cref="Jobs"/>, <see cref="Runners"/>,
/// <see cref="Webhooks"/>, <see cref="Limits"/>, <see cref="CheckRuns"/> and <see cref="Disturb"/>.
/// </summary>
internal sealed class GitHubServer : IDisposable
{
    private readonly RestApi _rest;

    public GitHubServer(GitHubOptions options, Journal journal, TimeProvider time)
    {
        Options = options;
        Webhooks = new Webhooks(options, journal, time);
        Jobs = new Jobs(options, Webhooks, journal, time);
        Runners = new RunnerRegistry(options, journal, time);
        Broker = new Broker(options, Runners, Jobs, journal, time);
        Limits = new RateLimits(time);
        CheckRuns = new CheckRuns(journal, time);
        _rest = new RestApi(this, time);
    }

    public GitHubOptions Options { get; }

    public Webhooks Webhooks { get; }

    public Jobs Jobs { get; }

    public RunnerRegistry Runners { get; }

    public Broker Broker { get; }

    public RateLimits Limits { get; }

    public CheckRuns CheckRuns { get; }

    /// <summary>The address that runners are told of.</summary>
    public Uri PublicAddress { get; set; } = new("http://127.0.0.1/");

    /// <summary>Called before each call; throws the fault that a test wants. Null by default.</summary>
    public Action<string, string>? Disturb { get; set; }

    /// <summary>The runner's own releases, the newest first.</summary>
    public IReadOnlyList<(string Version, DateTimeOffset At)> RunnerReleases { get; set; } = [];

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
            var (status, body) = await _rest.AnswerAsync(context);
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
            if (fault.RetryAfter is { } wait)
                context.Response.Headers.RetryAfter = ((int)Math.Ceiling(wait.TotalSeconds)).ToString(System.Globalization.CultureInfo.InvariantCulture);
            await AnswerAsync(context, fault.Status, new JsonObject { ["message"] = fault.Message, ["documentation_url"] = "https://docs.github.com/rest", ["status"] = $"{fault.Status}" });
        }
    }

    public void Dispose()
    {
        Runners.Dispose();
        Webhooks.Dispose();
    }

    private static async Task AnswerAsync(HttpContext context, int status, JsonNode? body)
    {
        context.Response.StatusCode = status;
        if (body is null)
            return;
        context.Response.ContentType = "application/json; charset=utf-8";
        await context.Response.WriteAsync(body.ToJsonString(JsonSerializerOptions.Default), context.RequestAborted);
    }
}
