using System.Diagnostics;
using System.Globalization;
using Mayfly.Lab;
using Xunit;

namespace Mayfly.Light.Tests;

/// <summary>The agent killed or stopped at random moments of a run: its machine ends all the same, and says how.</summary>
public sealed class ChaosTests(LightBed bed)
{
    private const int Runs = 20;

    /// <summary>From the agent's first instruction to beyond its machine's end: it starts in about a second.</summary>
    private static readonly TimeSpan Life = TimeSpan.FromSeconds(5);

    /// <summary>PID 1 hears of a death at once; the rest is for a busy building machine.</summary>
    private static readonly TimeSpan Killed = TimeSpan.FromSeconds(60);

    /// <summary>The unit's WatchdogSec, and the same.</summary>
    private static readonly TimeSpan Stopped = TimeSpan.FromSeconds(30) + Killed;

    [Fact]
    public async Task Whenever_the_agent_is_killed_or_stopped_its_machine_ends_within_its_limit_and_says_how()
    {
        var seed = int.TryParse(Environment.GetEnvironmentVariable("MAYFLY_CHAOS_SEED"), NumberStyles.None, CultureInfo.InvariantCulture, out var given) ? given : Random.Shared.Next();
        var random = new Random(seed);
        var plan = Enumerable.Range(1, Runs).Select(number => (Number: number, Signal: number % 2 == 0 ? "KILL" : "STOP", Moment: Life * random.NextDouble())).ToList();

        var failures = new List<string>();
        await Parallel.ForEachAsync(plan, new ParallelOptions { MaxDegreeOfParallelism = 4, CancellationToken = TestContext.Current.CancellationToken }, async (run, _) =>
        {
            var machine = await bed.LaunchAsync();
            if (await TryAsync(machine, run.Signal, run.Moment) is { } failure)
            {
                lock (failures)
                    failures.Add($"run {run.Number}, SIG{run.Signal} after {run.Moment.TotalSeconds:F3} s, {machine.Instance.Id}: {failure}");
            }
        });

        Assert.True(failures.Count == 0, $"MAYFLY_CHAOS_SEED={seed}\n{string.Join('\n', failures)}");
    }

    /// <summary>The bed means the agent by it, and not what the agent is about to become another program in.</summary>
    [Fact]
    public async Task From_its_start_to_its_machines_end_the_agents_process_is_one_and_the_same()
    {
        var run = await bed.LaunchAsync();
        await run.QueueAsync(["true"]);
        var seen = new HashSet<int>();

        for (var end = run.TerminatedAsync(); !end.IsCompleted; await Task.WhenAny(end, Task.Delay(TimeSpan.FromMilliseconds(1), TimeProvider.System, CancellationToken.None)))
            seen.Add(run.Machine.AgentProcessId());

        seen.Remove(0);
        Assert.Single(seen);
    }

    private static async Task<string?> TryAsync(LightRun run, string signal, TimeSpan moment)
    {
        try
        {
            return await PlayAsync(run, signal, moment);
        }
        catch (Exception e) when (e is TimeoutException or InvalidOperationException)
        {
            return e.Message;
        }
    }

    private static async Task<string?> PlayAsync(LightRun run, string signal, TimeSpan moment)
    {
        await run.QueueAsync(["sleep 4"]);
        var agent = await run.AgentAsync();
        await Task.Delay(moment, TimeProvider.System, TestContext.Current.CancellationToken);
        if (!Signals.Send(agent, signal))
        {
            var own = await run.EndAsync();
            return own.Ending == "job-succeeded" ? null : $"it had ended before, as {own.Ending}";
        }

        var since = Stopwatch.StartNew();
        await run.TerminatedAsync();
        var limit = signal == "KILL" ? Killed : Stopped;
        var console = string.Join('\n', run.Console);
        if (since.Elapsed > limit)
            return $"it lived for another {since.Elapsed.TotalSeconds:F1} s, {limit.TotalSeconds} s are allowed\n{console}";
        if (run.Instance.Reason.Code != "Client.InstanceInitiatedShutdown")
            return $"it did not end by itself: {run.Instance.Reason}\n{console}";
        // The signal met a machine that was just powering off: it had said its own ending.
        if (run.Ending is { Ending: "job-succeeded" } && since.Elapsed < Killed)
            return null;
        var how = signal == "KILL" ? "signal (killed KILL)" : "watchdog (killed KILL)";
        return run.Ending is { Ending: "agent-lost" } ending && ending.Detail.Contains(how, StringComparison.Ordinal) ? null : $"it did not say '{how}'\n{console}";
    }
}
