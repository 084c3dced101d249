using System.Diagnostics;
using System.Text;
using System.Text.Json.Nodes;

namespace Mayfly.StandIn;

/// <summary>One job as the listener sees it: a worker process, a lock that is renewed, cancellation, and the end.</summary>
internal sealed class JobRun(JsonObject job, Uri runService, RunnerRoot root, Service service, Diagnostics diagnostics, TimeProvider time)
{
    private static readonly TimeSpan RenewEvery = TimeSpan.FromSeconds(60);

    private static readonly TimeSpan MessagePause = TimeSpan.FromSeconds(5);

    /// <summary>For the output of a worker that died: a process that a step left behind may hold it open.</summary>
    private static readonly TimeSpan DeadsPatience = TimeSpan.FromSeconds(2);

    /// <summary>For the output of one that ended as it should, and says where its output ends.</summary>
    private static readonly TimeSpan OutputPatience = TimeSpan.FromSeconds(60);

    private readonly string _name = (string)job["jobDisplayName"]!;

    /// <summary>All that the job calls carry this token, not the listener's.</summary>
    private readonly string _token = (string)job["resources"]!["endpoints"]![0]!["authorization"]!["parameters"]!["AccessToken"]!;

    /// <summary>Whether the listener is to stay when its job is done.</summary>
    public bool NeverExits => FaultOf("never-exits");

    /// <summary>The worker's exit code (100 and the result); null if the runner was told to stop, or gave up on the worker.</summary>
    public async Task<int?> RunAsync(CancellationToken stop)
    {
        await service.PostAsync(new Uri(runService, "renewjob"), Ids(), CancellationToken.None, _token);
        diagnostics.Say($"Running job: {_name}");

        if (FaultOf("worker-missing"))
            await Task.Delay(Timeout.InfiniteTimeSpan, time, stop);
        using var worker = StartWorker();
        if (FaultOf("exits-with-worker-hung"))
            return null;
        using var ended = new CancellationTokenSource();
        using var draining = new CancellationTokenSource();
        var log = new StringBuilder();
        var reading = Task.WhenAll(ReadAsync(worker.StandardOutput, log, draining.Token), ReadAsync(worker.StandardError, log, draining.Token));
        var renewing = RenewAsync(ended.Token);
        var cancelling = WaitForCancellationAsync(worker, ended.Token, stop);
        await worker.WaitForExitAsync(CancellationToken.None);
        if (FaultOf("worker-vanishes"))
            await Task.Delay(Timeout.InfiniteTimeSpan, time, stop);
        await ended.CancelAsync();
        await Task.WhenAll(renewing, cancelling);
        var hasEnded = worker.ExitCode is >= Worker.Succeeded and <= Worker.Succeeded + 5;
        draining.CancelAfter(hasEnded ? OutputPatience : DeadsPatience);
        await reading;

        // A worker that ends in any other way has failed; one that was stopped together with the runner too, although the
        // listener prints that its job was cancelled.
        var code = hasEnded ? worker.ExitCode : Worker.Failed;
        var isStopped = stop.IsCancellationRequested;
        string text;
        lock (log)
            text = log.ToString();
        await UploadLogAsync(text);
        await CompleteAsync(isStopped ? Worker.Failed : code);
        diagnostics.Say($"Job {_name} completed with result: {ResultOf(isStopped ? Worker.Cancelled : code)}");
        return isStopped ? null : code;
    }

    private Process StartWorker()
    {
        var start = new ProcessStartInfo(Environment.ProcessPath!) { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true };
        start.ArgumentList.Add(Worker.Argument);
        var process = Process.Start(start)!;
        var repository = job["contextData"]!["github"]!["d"]!.AsArray().First(e => (string?)e!["k"] == "repository")!["v"]!.ToString();
        process.StandardInput.WriteLine(new JsonObject
        {
            ["name"] = _name, ["fault"] = (string?)job["variables"]?["mayfly.lab.fault"]?["value"], ["repository"] = repository, ["workspace"] = Path.Combine(root.Work, repository.Split('/')[^1], repository.Split('/')[^1]),
            ["steps"] = new JsonArray([.. job["steps"]!.AsArray().Select(step => JsonValue.Create(ScriptOf(step!)))]),
        }.ToJsonString());
        process.StandardInput.Flush();
        return process;
    }

    /// <summary>A template token is a text, or an object that holds it as a literal.</summary>
    private static string ScriptOf(JsonNode step)
    {
        var value = step["inputs"]!["map"]!.AsArray().First(pair => TextOf(pair!["Key"]!) == "script")!["Value"]!;
        return TextOf(value);
        static string TextOf(JsonNode token) => token is JsonObject literal ? literal["lit"]!.ToString() : token.ToString();
    }

    private static async Task ReadAsync(StreamReader from, StringBuilder to, CancellationToken cancel)
    {
        try
        {
            for (var isOver = false; !isOver && await from.ReadLineAsync(cancel) is { } line;)
            {
                isOver = line.EndsWith(Worker.EndOfOutput, StringComparison.Ordinal); // in a line of its own, or behind one that a step did not end
                var said = isOver ? line[..^Worker.EndOfOutput.Length] : line + "\n";
                lock (to)
                    to.Append(said);
            }
        }
        catch (OperationCanceledException)
        {
            // a process that a step left behind holds the pipe
        }
    }

    private async Task RenewAsync(CancellationToken ended)
    {
        try
        {
            while (true)
            {
                await Task.Delay(RenewEvery, time, ended);
                await service.PostAsync(new Uri(runService, "renewjob"), Ids(), ended, _token);
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
            while (await NextMessageAsync(either.Token) != "JobCancellation")
            {
                // nothing else concerns a runner that has its job
            }
        }
        catch (OperationCanceledException)
        {
            // the job ended, or the runner is to stop
        }

        try
        {
            if (!ended.IsCancellationRequested)
                await worker.StandardInput.WriteLineAsync(Worker.Cancel); // buffered by the pipe, however busy the worker is
        }
        catch (IOException e)
        {
            diagnostics.Trace($"the worker had gone: {e.Message}");
        }
    }

    /// <summary>The type of the next message. The job goes on while the server cannot be reached.</summary>
    private async Task<string?> NextMessageAsync(CancellationToken cancel)
    {
        try
        {
            return (string?)(await service.NextMessageAsync(busy: true, cancel))?["messageType"];
        }
        catch (Exception e) when (e is HttpRequestException or ServiceException)
        {
            diagnostics.Trace($"no message: {e.Message}");
            await Task.Delay(MessagePause, time, cancel);
            return null;
        }
    }

    private async Task UploadLogAsync(string text)
    {
        try
        {
            var results = new Uri(job["variables"]!["system.github.results_endpoint"]!["value"]!.ToString());
            var signed = await service.PostAsync(new Uri(results, "twirp/results.services.receiver.Receiver/GetJobLogsSignedBlobURL"), BackendIds(), CancellationToken.None, _token);
            await service.UploadAsync(new Uri((string)signed!["logs_url"]!), text, CancellationToken.None);
            var metadata = BackendIds();
            metadata["line_count"] = text.Count(c => c == '\n');
            await service.PostAsync(new Uri(results, "twirp/results.services.receiver.Receiver/CreateJobLogsMetadata"), metadata, CancellationToken.None, _token);
        }
        catch (Exception e) when (e is HttpRequestException or ServiceException or OperationCanceledException)
        {
            diagnostics.Trace($"the log could not be uploaded: {e.Message}");
        }
    }

    private async Task CompleteAsync(int code)
    {
        var completion = Ids();
        var result = ResultOf(code);
        completion["conclusion"] = char.ToLowerInvariant(result[0]) + result[1..];
        completion["stepResults"] = new JsonArray();
        try
        {
            await service.PostAsync(new Uri(runService, "completejob"), completion, CancellationToken.None, _token);
        }
        catch (ServiceException e)
        {
            diagnostics.Trace($"the job could not be completed: {e.Message}"); // GitHub has given it up
        }
    }

    private static string ResultOf(int code) => code switch { Worker.Succeeded => "Succeeded", Worker.Cancelled => "Canceled", _ => "Failed" };

    private bool FaultOf(string name) => (string?)job["variables"]?["mayfly.lab.fault"]?["value"] == name;

    private JsonObject Ids() => new() { ["planId"] = (string)job["plan"]!["planId"]!, ["jobId"] = (string)job["jobId"]! };

    private JsonObject BackendIds() => new() { ["workflow_run_backend_id"] = (string)job["plan"]!["planId"]!, ["workflow_job_run_backend_id"] = (string)job["jobId"]! };
}
