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

    private const string RegistrationGone =
        "Failed to create a session. The runner registration has been deleted from the server, please re-configure. "
        + "Runner registrations are automatically deleted for runners that have not connected to the service recently.";

    private static readonly TimeSpan RetryPause = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan SessionRetryPause = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan SessionRetryLimit = TimeSpan.FromMinutes(4);

    public async Task<int> RunAsync(CancellationToken stop)
    {
        try
        {
            if (await ConnectAsync(stop) is { } refusal)
                return refusal;
            Console.WriteLine($"Current runner version: '{Program.Version}'");
            diagnostics.Say("Listening for Jobs");
            return await ListenAsync(stop);
        }
        catch (ServiceException e) when (e.Status == HttpStatusCode.Forbidden && e.Path.EndsWith("/message", StringComparison.Ordinal))
        {
            Console.Error.WriteLine($"An error occured: Runner version v{Program.Version} is deprecated and cannot receive messages.");
            return IsSet("ACTIONS_RUNNER_RETURN_VERSION_DEPRECATED_EXIT_CODE") ? TooOld : Terminated;
        }
        catch (ServiceException e) when (e.Kind == "RunnerNotFound")
        {
            Console.Error.WriteLine("An error occurred: Runner not found");
            await service.CloseSessionAsync();
            return 0;
        }
        catch (ServiceException e)
        {
            Console.Error.WriteLine($"An error occurred: {e.Message}");
            return Terminated;
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            await service.CloseSessionAsync();
            return 0;
        }
    }

    /// <summary>The exit code if there is to be no session.</summary>
    private async Task<int?> ConnectAsync(CancellationToken stop)
    {
        var conflicts = 0;
        if (root.Fault == "silent")
            await Task.Delay(Timeout.InfiniteTimeSpan, time, stop);
        var pause = root.Fault == "session-held" ? SessionRetryPause / 100 : SessionRetryPause;
        while (true)
        {
            try
            {
                // The official runner says so before it has so much as a token.
                if (conflicts == 0)
                    Console.WriteLine("\n√ Connected to GitHub\n");
                await RetryAsync(() => service.ConnectAsync(stop), stop);
                await RetryAsync(() => service.OpenSessionAsync(stop), stop);
                return null;
            }
            catch (ServiceException e) when (e.Status == HttpStatusCode.Conflict)
            {
                Console.Error.WriteLine("A session for this runner already exists.");
                if (++conflicts * SessionRetryPause >= SessionRetryLimit)
                {
                    Console.Error.WriteLine($"Stop retry on SessionConflictException after retried for {SessionRetryLimit.TotalSeconds} seconds.");
                    return SessionConflict;
                }

                await Task.Delay(pause, time, stop);
            }
            catch (ServiceException e) when (e.Kind == "invalid_client")
            {
                Console.Error.WriteLine(RegistrationGone);
                return Terminated;
            }
            catch (ServiceException e)
            {
                Console.Error.WriteLine($"Failed to create session. {e.Message}");
                return Terminated;
            }
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
            if (await AcquireAsync(reference, stop) is not { } acquired)
                continue;

            var work = new JobRun(acquired, new Uri((string)reference["run_service_url"]!), root, service, diagnostics, time);
            var result = await work.RunAsync(stop);
            if (work.NeverExits)
                await Task.Delay(Timeout.InfiniteTimeSpan, time, CancellationToken.None);
            await service.CloseSessionAsync();
            if (result is not { } code)
                return 0;
            if (!root.DeleteConfig())
                return Retryable;
            return IsSet("ACTIONS_RUNNER_RETURN_JOB_RESULT_FOR_HOSTED") ? code : 0;
        }
    }

    /// <summary>Null if the job is gone, another runner has it, or the fetch failed: the official runner then says so in its log, in
    /// these words, and listens on.</summary>
    private async Task<JsonObject?> AcquireAsync(JsonObject reference, CancellationToken stop)
    {
        var requestId = (string)reference["runner_request_id"]!;
        diagnostics.Trace($"Acknowledging runner request '{requestId}'.");
        try
        {
            await service.AcknowledgeAsync(requestId, stop);
        }
        catch (Exception e) when (e is ServiceException or HttpRequestException)
        {
            diagnostics.Trace($"acknowledging: {e.Message}"); // at best effort, as there
        }

        try
        {
            return await service.PostAsync(new Uri(new Uri((string)reference["run_service_url"]!), "acquirejob"),
                new JsonObject { ["jobMessageId"] = requestId, ["runnerOS"] = "Linux", ["billingOwnerId"] = (string?)reference["billing_owner_id"] }, stop);
        }
        catch (ServiceException e) when (e.Status is HttpStatusCode.NotFound or HttpStatusCode.Conflict or HttpStatusCode.UnprocessableEntity)
        {
            diagnostics.Trace($"Skipping message Job. {e.Message}");
            await Task.Delay(RetryPause, time, stop);
            return null;
        }
        catch (Exception e) when (e is ServiceException or HttpRequestException)
        {
            diagnostics.Trace($"Caught exception from acquiring job message: {e}");
            return null;
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
            catch (Exception e) when (e is HttpRequestException || (e is TaskCanceledException && !stop.IsCancellationRequested)
                || (e is ServiceException { Status: >= HttpStatusCode.InternalServerError }))
            {
                diagnostics.Trace($"trying again: {e.Message}");
                await Task.Delay(RetryPause, time, stop);
            }
        }
    }

    private static bool IsSet(string variable) => Environment.GetEnvironmentVariable(variable) is "1" or "true";
}
