using System.Diagnostics;
using System.Net;
using System.Text.Json.Nodes;

namespace Mayfly.StandIn;

/// <summary>The listener: connects, listens, lets a worker do one job, and exits with the code that the official one would.</summary>
internal sealed class Listener(RunnerRoot root, Service service, Diagnostics diagnostics, TimeProvider time)
{
    private const int Terminated = 1;
    private const int Retryable = 2;
    private const int SessionConflict = 5;
    private const int TooOld = 7;
    private static readonly TimeSpan RetryPause = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan RenewEvery = TimeSpan.FromSeconds(60);

    public async Task<int> RunAsync(CancellationToken stop)
    {
        try
        {
            await RetryAsync(() => service.ConnectAsync(stop), stop);
            Console.WriteLine();
            Console.WriteLine("√ Connected to GitHub");
            Console.WriteLine();
            Console.WriteLine($"Current runner version: '{Program.Version}'");
            await RetryAsync(() => service.OpenSessionAsync(stop), stop);
            diagnostics.Say("Listening for Jobs");
            return await ListenAsync(stop);
        }
        catch (ServiceException e) when (e.Status == HttpStatusCode.Conflict)
        {
            Console.Error.WriteLine("A session for this runner already exists.");
            return SessionConflict;
        }
        catch (ServiceException e) when (e.Message.Contains("/message", StringComparison.Ordinal) && e.Status == HttpStatusCode.Forbidden)
        {
            Console.Error.WriteLine($"Runner version v{Program.Version} is deprecated and cannot receive messages.");
            return Environment.GetEnvironmentVariable("ACTIONS_RUNNER_RETURN_VERSION_DEPRECATED_EXIT_CODE") == "1" ? TooOld : Terminated;
        }
        catch (ServiceException e)
        {
            Console.Error.WriteLine($"An error occurred: {e.Message}");
            return Terminated;
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            Console.WriteLine("Exiting...");
            await service.CloseSessionAsync();
            return 0;
        }
    }

    private async Task<int> ListenAsync(CancellationToken stop)
    {
        while (true)
        {
            JsonObject? message = null;
            await RetryAsync(async () => message = await service.NextMessageAsync(busy: false, stop), stop);
            if ((string?)message?["messageType"] != "RunnerJobRequest")
                continue;
            var reference = JsonNode.Parse((string)message!["body"]!)!.AsObject();
            var requestId = (string)reference["runner_request_id"]!;
            var runService = new Uri((string)reference["run_service_url"]!);
            await service.AcknowledgeAsync(requestId, stop);
            var job = await service.PostAsync(new Uri(runService, "acquirejob"), new JsonObject { ["jobMessageId"] = requestId, ["runnerOS"] = "Linux" }, stop)
                ?? throw new ServiceException(HttpStatusCode.NoContent, "acquirejob: no job");
            var code = await WorkAsync(job, runService, stop);
            await service.CloseSessionAsync();
            if (!root.DeleteConfig())
                return Retryable;
            return Environment.GetEnvironmentVariable("ACTIONS_RUNNER_RETURN_JOB_RESULT_FOR_HOSTED") == "1" ? code : 0;
        }
    }

    private async Task<int> WorkAsync(JsonObject job, Uri runService, CancellationToken stop)
    {
        var name = (string)job["jobDisplayName"]!;
        var ids = new Func<JsonObject>(() => new JsonObject { ["planId"] = (string)job["plan"]!["planId"]!, ["jobId"] = (string)job["jobId"]! });
        await service.PostAsync(new Uri(runService, "renewjob"), ids(), stop);
        diagnostics.Say($"Running job: {name}");

        using var ended = new CancellationTokenSource();
        using var process = StartWorker(job);
        var log = process.StandardOutput.ReadToEndAsync(CancellationToken.None);
        var renewing = RenewAsync(new Uri(runService, "renewjob"), ids, ended.Token);
        var cancelling = WaitForCancellationAsync(process, ended.Token, stop);
        await process.WaitForExitAsync(CancellationToken.None);
        await ended.CancelAsync();
        await Task.WhenAll(renewing, cancelling);

        var conclusion = process.ExitCode switch { Worker.Succeeded => "Succeeded", Worker.Cancelled => "Canceled", _ => "Failed" };
        await UploadLogAsync(job, await log);
        var completion = ids();
        completion["conclusion"] = char.ToLowerInvariant(conclusion[0]) + conclusion[1..];
        completion["stepResults"] = new JsonArray();
        await service.PostAsync(new Uri(runService, "completejob"), completion, CancellationToken.None);
        diagnostics.Say($"Job {name} completed with result: {conclusion}");
        return process.ExitCode is >= Worker.Succeeded and <= Worker.Succeeded + 5 ? process.ExitCode : Worker.Failed;
    }

    private Process StartWorker(JsonObject job)
    {
        var start = new ProcessStartInfo(Environment.ProcessPath!) { RedirectStandardInput = true, RedirectStandardOutput = true };
        start.ArgumentList.Add(Worker.Argument);
        var process = Process.Start(start)!;
        var repository = job["contextData"]!["github"]!["d"]!.AsArray().First(e => (string?)e!["k"] == "repository")!["v"]!.ToString().Split('/')[^1];
        var steps = job["steps"]!.AsArray().Select(step => step!["inputs"]!["map"]!.AsArray().First(e => (string?)e!["Key"] == "script")!["Value"]!.ToString());
        process.StandardInput.WriteLine(new JsonObject
        {
            ["name"] = (string?)job["jobName"], ["workspace"] = Path.Combine(root.Work, repository, repository),
            ["steps"] = new JsonArray([.. steps.Select(s => JsonValue.Create(s))]),
        }.ToJsonString());
        process.StandardInput.Close();
        return process;
    }

    private async Task RenewAsync(Uri address, Func<JsonObject> ids, CancellationToken ended)
    {
        try
        {
            while (true)
            {
                await Task.Delay(RenewEvery, time, ended);
                await service.PostAsync(address, ids(), ended);
            }
        }
        catch (Exception e) when (e is OperationCanceledException or HttpRequestException or ServiceException)
        {
            diagnostics.Trace($"renewing ended: {e.Message}");
        }
    }

    /// <summary>A cancellation comes as a message, or as a signal to this process.</summary>
    private async Task WaitForCancellationAsync(Process worker, CancellationToken ended, CancellationToken stop)
    {
        using var either = CancellationTokenSource.CreateLinkedTokenSource(ended, stop);
        try
        {
            JsonObject? message;
            do
                message = await service.NextMessageAsync(busy: true, either.Token);
            while ((string?)message?["messageType"] != "JobCancellation");
        }
        catch (Exception e) when (e is OperationCanceledException or HttpRequestException or ServiceException)
        {
            diagnostics.Trace($"waiting for a cancellation ended: {e.Message}");
        }

        if (!ended.IsCancellationRequested)
            Program.Interrupt(worker.Id);
    }

    private async Task UploadLogAsync(JsonObject job, string text)
    {
        try
        {
            var results = new Uri(job["variables"]!["system.github.results_endpoint"]!["value"]!.ToString());
            var signed = await service.PostAsync(new Uri(results, "twirp/results.services.receiver.Receiver/GetJobLogsSignedBlobURL"),
                new JsonObject { ["workflow_run_backend_id"] = (string)job["plan"]!["planId"]!, ["workflow_job_run_backend_id"] = (string)job["jobId"]! }, CancellationToken.None);
            await service.UploadAsync(new Uri((string)signed!["logs_url"]!), text, CancellationToken.None);
        }
        catch (Exception e) when (e is HttpRequestException or ServiceException or OperationCanceledException)
        {
            diagnostics.Trace($"the log could not be uploaded: {e.Message}");
        }
    }

    /// <summary>A server that cannot be reached is tried for ever, idle or at the start.</summary>
    private async Task RetryAsync(Func<Task> call, CancellationToken stop)
    {
        while (true)
        {
            try
            {
                await call();
                return;
            }
            catch (Exception e) when (e is HttpRequestException || (e is TaskCanceledException && !stop.IsCancellationRequested))
            {
                diagnostics.Trace($"trying again: {e.Message}");
                await Task.Delay(RetryPause, time, stop);
            }
        }
    }
}
