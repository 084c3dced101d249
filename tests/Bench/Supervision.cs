using System.Diagnostics;
using System.Globalization;
using Mayfly.Contract;

namespace Mayfly.Bench;

/// <summary>
/// What the agent takes from a job: its memory, and its processor time and its programs', while a job runs on a light
/// machine. A spot instance, whose notices are asked for every five seconds.
/// </summary>
internal static class Supervision
{
    private const double MemoryLimit = 20_000_000;
    private const double ProcessorLimit = 1.0;

    /// <summary>What the job's start makes the agent do is over.</summary>
    private static readonly TimeSpan Settled = TimeSpan.FromSeconds(10);

    private static readonly TimeSpan Watched = TimeSpan.FromSeconds(150);

    public static readonly string[] Names = ["agent.rss_bytes", "agent.idle_cpu_s"];

    public static async Task<IReadOnlyList<Measurement>> MeasureAsync(Bed bed, CancellationToken cancel)
    {
        await using var machine = await LightMachine.StartAsync(bed, spot: true, "", cancel);
        await machine.QueueAsync("sleep 300");
        await machine.WaitForAsync(Milestone.JobStarted, cancel);
        await Task.Delay(Settled, TimeProvider.System, cancel);

        var clock = Stopwatch.StartNew();
        var before = ProcessorSeconds(machine);
        await Task.Delay(Watched, TimeProvider.System, cancel);
        var used = (ProcessorSeconds(machine) - before) / clock.Elapsed.TotalHours;

        var process = $"/proc/{machine.Machine.AgentProcessId()}";
        bed.Say($"resident: {Bytes(process, "status", "VmRSS:"):N0} bytes, at most {Bytes(process, "status", "VmHWM:"):N0}, of which its share is {Bytes(process, "smaps_rollup", "Pss:"):N0}");
        return
        [
            new(Names[0], Bytes(process, "status", "VmRSS:"), "bytes", "limit", MemoryLimit) { Most = MemoryLimit },
            new(Names[1], used, "s", "limit", ProcessorLimit) { Most = ProcessorLimit },
        ];
    }

    /// <summary>Of the agent's own cgroup, so of all that it starts but the runner; in microseconds of the kernel's clock.</summary>
    private static double ProcessorSeconds(LightMachine machine) => Field(Path.Combine(machine.Machine.AgentCgroup, "cpu.stat"), "usage_usec ") / 1e6;

    private static double Bytes(string process, string file, string field) => 1024 * Field($"{process}/{file}", field);

    private static double Field(string file, string field) =>
        double.Parse(File.ReadLines(file).First(l => l.StartsWith(field, StringComparison.Ordinal))[field.Length..].Trim().Split(' ')[0], CultureInfo.InvariantCulture);
}
