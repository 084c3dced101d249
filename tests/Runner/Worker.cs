using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text.Json.Nodes;

namespace Mayfly.StandIn;

/// <summary>
/// The worker process: runs the steps of one job as shell commands in <c>_work</c>. It gets the job on standard input,
/// later perhaps the word that it is cancelled, and prints what the steps print; its exit code is 100 plus the result.
/// </summary>
internal static partial class Worker
{
    public const string Argument = "spawnclient";
    public const string Cancel = "cancel";

    /// <summary>The last that a worker prints, on both its streams: what a step left behind may hold them open for ever.</summary>
    public const string EndOfOutput = "\u0004 the worker has no more to say";

    public const int Succeeded = 100;
    public const int Failed = 102;
    public const int Cancelled = 103;

    private const int Interrupt = 2;
    private const int Kill = 9;
    private const int Terminate = 15;

    public static async Task<int> RunAsync(string root, TimeProvider time)
    {
        var result = await DoAsync(root, time);
        Console.Out.WriteLine(EndOfOutput);
        Console.Error.WriteLine(EndOfOutput);
        return result;
    }

    private static async Task<int> DoAsync(string root, TimeProvider time)
    {
        using var diagnostics = new Diagnostics(root, "Worker", time);
        using var cancel = new CancellationTokenSource();
        using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, signal =>
        {
            signal.Cancel = true;
            cancel.Cancel();
        });
        using var input = new StreamReader(Console.OpenStandardInput());
        diagnostics.Trace("Waiting to receive the job message from the channel.");
        var job = JsonNode.Parse(await input.ReadLineAsync(CancellationToken.None) ?? "")!.AsObject();
        // A listener that has died says nothing: the job goes on.
        _ = Task.Run(async () =>
        {
            if (await input.ReadLineAsync(CancellationToken.None) == Cancel)
                await cancel.CancelAsync();
        }, CancellationToken.None);
        var fault = (string?)job["fault"];
        if (fault is not ("worker-hangs" or "exits-with-worker-hung"))
            diagnostics.Trace("Message received.");
        switch (fault)
        {
            case "worker-hangs" or "exits-with-worker-hung":
                interrupt.Dispose();
                using (PosixSignalRegistration.Create(PosixSignal.SIGINT, signal => signal.Cancel = true))
                    await Task.Delay(Timeout.InfiniteTimeSpan, time, CancellationToken.None);
                break;
            case "worker-vanishes":
                await Task.Delay(TimeSpan.FromSeconds(2), time, CancellationToken.None); // in its job, and no longer at its start
                _ = kill(Environment.ProcessId, Kill);
                break;
            case "worker-crashes":
                _ = kill(Environment.ProcessId, Kill);
                break;
        }

        var workspace = (string)job["workspace"]!;
        Environment.SetEnvironmentVariable("GITHUB_REPOSITORY", (string?)job["repository"]);
        Directory.CreateDirectory(workspace);
        Directory.CreateDirectory(Path.Combine(Path.GetDirectoryName(Path.GetDirectoryName(workspace)!)!, "_temp"));
        diagnostics.Trace($"job {job["name"]} in {workspace}");

        var result = await HookAsync("ACTIONS_RUNNER_HOOK_JOB_STARTED", workspace, cancel.Token);
        foreach (var step in job["steps"]!.AsArray())
        {
            if (result != Succeeded)
                break;
            result = await StepAsync((string)step!, workspace, time, cancel.Token);
        }

        var after = await HookAsync("ACTIONS_RUNNER_HOOK_JOB_COMPLETED", workspace, CancellationToken.None);
        diagnostics.Trace($"result {result}");
        return result == Succeeded ? after : result;
    }

    private static Task<int> HookAsync(string variable, string workspace, CancellationToken cancel) =>
        Environment.GetEnvironmentVariable(variable) is { Length: > 0 } script
            ? StepAsync($"exec '{script.Replace("'", "'\\''", StringComparison.Ordinal)}'", workspace, TimeProvider.System, cancel)
            : Task.FromResult(Succeeded);

    private static async Task<int> StepAsync(string script, string workspace, TimeProvider time, CancellationToken cancel)
    {
        var file = Path.Combine(Path.GetDirectoryName(Path.GetDirectoryName(workspace)!)!, "_temp", $"{Guid.NewGuid()}.sh");
        await File.WriteAllTextAsync(file, script + "\n", CancellationToken.None);
        var start = new ProcessStartInfo("bash") { WorkingDirectory = workspace, RedirectStandardInput = true };
        start.ArgumentList.Add("-e");
        start.ArgumentList.Add(file);
        start.Environment["GITHUB_ACTIONS"] = "true";
        start.Environment["RUNNER_OS"] = "Linux";
        start.Environment["RUNNER_TEMP"] = Path.GetDirectoryName(file)!;
        start.Environment["GITHUB_WORKSPACE"] = workspace;
        start.Environment["CI"] = "true";
        using var process = Process.Start(start)!;
        process.StandardInput.Close();
        try
        {
            await process.WaitForExitAsync(cancel);
            return process.ExitCode == 0 ? Succeeded : Failed;
        }
        catch (OperationCanceledException)
        {
            await StopAsync(process, time);
            return Cancelled;
        }
        finally
        {
            File.Delete(file);
        }
    }

    /// <summary>As the official worker ends a step: SIGINT, 7.5 s, SIGTERM, 2.5 s, kill.</summary>
    private static async Task StopAsync(Process process, TimeProvider time)
    {
        foreach (var (signal, patience) in ((int, double)[])[(Interrupt, 7.5), (Terminate, 2.5)])
        {
            _ = kill(process.Id, signal);
            using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(patience), time);
            try
            {
                await process.WaitForExitAsync(limit.Token);
                return;
            }
            catch (OperationCanceledException)
            {
                // harder
            }
        }

        process.Kill(entireProcessTree: true);
        await process.WaitForExitAsync();
    }

    [LibraryImport("libc")]
    private static partial int kill(int processId, int signal);
}
