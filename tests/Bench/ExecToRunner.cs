using System.Diagnostics;
using System.Globalization;
using Mayfly.Contract;

namespace Mayfly.Bench;

/// <summary>
/// From the agent's exec to its runner's first act, and the same from a shell script, in turn on the same light machine: it
/// has started, its network is up and its parameter is stored before either begins, so that nothing is waited for. The
/// runner is a script that writes the time. The machine's storage is ready before.
/// </summary>
internal static class ExecToRunner
{
    private const int Runs = 11;
    private const string Script = "curl, jq, the AWS CLI, nft and sudo from a shell script";
    private const string Told = "/tmp/started";
    private const string ToldInside = "/run/mayfly/job-root" + Told;
    private const string Began = "/run/mayfly/exec-at";

    public static readonly string[] Names = ["agent.exec_to_runner_ms"];

    /// <summary>The first process tells its time with its last act before it becomes the agent. The agent's program is in memory
    /// before, as the initrd leaves it on a real machine (docs/decisions/0027) and as the script's are after its first run. The folder
    /// is the bed's too.</summary>
    private const string DropIn =
        $"""
        [Service]
        ExecStartPre=/bin/sh -c 'cat /usr/lib/mayfly/mayfly-agent > /dev/null; touch /run/mayfly/waiting; until [ -e /run/mayfly/go ]; do sleep 0.05; done'
        ExecStart=
        ExecStart=/bin/bash -c 'echo $$EPOCHREALTIME > {Began}; exec /usr/lib/mayfly/mayfly-agent service'

        """;

    /// <summary>Stays for the agent, which would end the machine before it is asked for the time; the script gives it more
    /// arguments and waits for it.</summary>
    private const string Listener = $"#!/bin/bash\necho $EPOCHREALTIME > {Told}\n[ $# -gt 1 ] || exec sleep 60\n";

    public static async Task<IReadOnlyList<Measurement>> MeasureAsync(Bed bed, CancellationToken cancel)
    {
        var aws = await FindAwsCliAsync(cancel);
        if (aws is null)
            bed.Say("SKIPPED: there is no AWS CLI here, so agent.exec_to_runner_ms is compared with nothing");
        var (ours, theirs) = (new List<double>(), new List<double>());
        for (var run = 0; run < Runs; run++)
        {
            await using var machine = await LightMachine.StartAsync(bed, spot: false, DropIn, cancel);
            await machine.WaitForFileAsync("waiting", cancel);
            // sudo asks for the machine's own name, and no name server is here to answer: seconds that are not the script's.
            await machine.Machine.RunAsync("echo 127.0.0.1 $(hostname) >> /etc/hosts");
            await machine.Machine.RunAsync($"cd /opt/actions-runner/bin && rm Runner.Listener && printf '%s' '{Listener}' > Runner.Listener && chmod 755 Runner.Listener");
            if (aws is not null)
            {
                theirs.Add(await RunScriptAsync(machine, aws, cancel));
                await machine.StoreConfigAsync(cancel);
            }

            ours.Add(await RunAgentAsync(machine, cancel));
            bed.Say(string.Create(CultureInfo.InvariantCulture, $"run {run + 1} of {Runs}: {ours[^1]:F1} ms{(aws is null ? "" : $", script {theirs[^1]:F1} ms")}"));
        }

        return [new(Names[0], Measurement.Median(ours), "ms", aws is null ? null : Script, aws is null ? null : Measurement.Median(theirs)) { Most = 40, LeastRatio = 30 }];
    }

    private static async Task<double> RunAgentAsync(LightMachine machine, CancellationToken cancel)
    {
        await machine.Machine.RunAsync("touch /run/mayfly/go");
        // Nothing looks for the file before it is there, or nearly, and then from outside: each look takes processor time from what is measured.
        await machine.WaitForAsync(Milestone.RunnerStarted, cancel);
        var told = await machine.WaitForTextAsync(ToldInside, cancel);
        return Between(await machine.WaitForTextAsync(Began, cancel) + told);
    }

    private static async Task<double> RunScriptAsync(LightMachine machine, string aws, CancellationToken cancel)
    {
        var init = machine.Machine.InitProcessId().ToString(CultureInfo.InvariantCulture);
        var began = await ScriptMachine.RunAsync("nsenter",
        [
            $"--target={init}", "--net", "--", "env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/nonexistent",
            $"AWS_ENDPOINT_URL_SSM={machine.AwsAddress}", "bash", ScriptMachine.PathOf("service.sh"), aws, init,
        ], cancel);
        return Between(began + await machine.Machine.RunAsync($"cat {Told}; rm {Told}; nft delete table inet script"));
    }

    /// <summary>Milliseconds between two lines in seconds of the same clock.</summary>
    private static double Between(string lines) =>
        lines.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(l => decimal.Parse(l, CultureInfo.InvariantCulture)).ToList() is [var from, var to]
            ? (double)(1000 * (to - from))
            : throw new InvalidOperationException($"not two times: {lines}");

    /// <summary>The program itself, where a version manager's own script stands before it: that one's time is not AWS's.</summary>
    private static async Task<string?> FindAwsCliAsync(CancellationToken cancel)
    {
        var start = new ProcessStartInfo("sh", ["-c", "pyenv which aws 2>/dev/null || command -v aws"]) { RedirectStandardOutput = true };
        using var process = Process.Start(start) ?? throw new InvalidOperationException("sh did not start");
        var path = (await process.StandardOutput.ReadToEndAsync(cancel)).Trim();
        await process.WaitForExitAsync(cancel);
        return process.ExitCode == 0 ? path : null;
    }
}
