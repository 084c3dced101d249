using System.Collections.Concurrent;
using System.Text.Json.Nodes;

namespace Mayfly.Lab.GitHub;

/// <summary>
/// The results service: takes the states of the steps, says where logs may be put, and takes them there as Azure's blob
/// storage does. https://github.com/actions/runner/blob/main/src/Sdk/WebApi/WebApi/ResultsHttpClient.cs
/// </summary>
internal sealed class Results(Jobs jobs)
{
    private const string Twirp = "/results/twirp/";
    private const string Blob = "/results/blob/";

    private static readonly string[] Methods =
    [
        "results.services.receiver.Receiver/GetStepLogsSignedBlobURL", "results.services.receiver.Receiver/CreateStepLogsMetadata",
        "results.services.receiver.Receiver/GetJobLogsSignedBlobURL", "results.services.receiver.Receiver/CreateJobLogsMetadata",
        "results.services.receiver.Receiver/GetStepSummarySignedBlobURL", "results.services.receiver.Receiver/CreateStepSummaryMetadata",
        "results.services.receiver.Receiver/GetJobDiagLogsSignedBlobURL",
        "github.actions.results.api.v1.WorkflowStepUpdateService/WorkflowStepsUpdate",
    ];

    /// <summary>What each job's steps printed, by job id: the job's whole log, as it was uploaded.</summary>
    public ConcurrentDictionary<long, string> Logs { get; } = new();

    /// <returns>False if the call is not for this service.</returns>
    public async Task<bool> HandleAsync(HttpContext context, Uri server)
    {
        var path = context.Request.Path.Value ?? "";
        if (context.Request.Method == "POST" && path.StartsWith(Twirp, StringComparison.Ordinal))
        {
            await AnswerTwirpAsync(context, path[Twirp.Length..], server);
            return true;
        }

        // The runner may double the slash before a blob's path.
        if (context.Request.Method == "PUT" && $"/{path.TrimStart('/')}".StartsWith(Blob, StringComparison.Ordinal))
        {
            await PutAsync(context, $"/{path.TrimStart('/')}"[Blob.Length..]);
            return true;
        }

        return false;
    }

    private async Task AnswerTwirpAsync(HttpContext context, string method, Uri server)
    {
        var bearer = context.Request.Headers.Authorization.ToString();
        var job = jobs.All.FirstOrDefault(j => j.Token is { } token && bearer == $"Bearer {token}")
            ?? throw new RunnerFailure(401, RunnerFailure.RunService, "", "No job has this token");
        if (!Methods.Contains(method))
            throw new RunnerFailure(404, RunnerFailure.RunService, "", $"No such method: {method}");
        var request = await Broker.ReadAsync(context);
        if (request["workflow_run_backend_id"]?.ToString() != $"{job.PlanId}" || request["workflow_job_run_backend_id"]?.ToString() != $"{job.JobGuid}")
            throw new RunnerFailure(403, RunnerFailure.RunService, "", "The token is for another job");

        var answer = new JsonObject { ["ok"] = true };
        var part = method.Contains("GetJobLogs", StringComparison.Ordinal) ? "job" : request["step_backend_id"]?.ToString() ?? "diagnostics";
        var address = new Uri(server, $"{Blob.TrimStart('/')}{job.Id}/{part}?sig={Guid.NewGuid():N}&sp=cw").AbsoluteUri;
        foreach (var (kind, field) in (ReadOnlySpan<(string, string)>)[("LogsSignedBlobURL", "logs_url"), ("SummarySignedBlobURL", "summary_url"), ("DiagLogsSignedBlobURL", "diag_logs_url")])
        {
            if (method.Contains(kind, StringComparison.Ordinal))
                (answer[field], answer["blob_storage_type"], answer["soft_size_limit"]) = (address, "BLOB_STORAGE_TYPE_AZURE", "1048576");
        }

        await Broker.AnswerAsync(context, answer);
    }

    private async Task PutAsync(HttpContext context, string blob)
    {
        using var reader = new StreamReader(context.Request.Body);
        var text = await reader.ReadToEndAsync(context.RequestAborted);
        var isAppended = context.Request.Query["comp"] == "appendblock" || context.Request.Query["comp"] == "seal";
        if (!context.Request.Query.ContainsKey("sig") || (!isAppended && context.Request.Headers["x-ms-blob-type"].Count == 0))
            throw new RunnerFailure(400, RunnerFailure.RunService, "", "a signed address and x-ms-blob-type are wanted");
        if (blob.Split('/') is [var id, "job"])
            Logs.AddOrUpdate(long.Parse(id, System.Globalization.CultureInfo.InvariantCulture), text, (_, before) => isAppended ? before + text : text);
        context.Response.Headers.ETag = $"\"0x{Guid.NewGuid():N}\"";
        context.Response.StatusCode = 201;
    }
}
