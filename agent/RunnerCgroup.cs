using System.Globalization;

namespace Mayfly.Agent;

/// <summary>
/// The cgroup that the runner and all it starts live in, beside the agent's own, both below the unit's, which systemd has
/// delegated. It is limited and killed as a whole. https://systemd.io/CGROUP_DELEGATION/, https://docs.kernel.org/admin-guide/cgroup-v2.html
/// </summary>
/// <param name="Limits">For the console.</param>
internal sealed record RunnerCgroup(string Folder, string Limits)
{
    /// <summary>Memory that the job cannot have: for the agent, systemd and the kernel's own tables. A job that asks for
    /// more is stopped inside its cgroup, where it cannot be anybody else that the kernel picks.</summary>
    private const long Reserve = 192L << 20;

    /// <summary>Bytes of memory for each process or thread that the job may have: a fork bomb ends at its limit, and not
    /// at the memory that the kernel's tables take (about 20 KiB each).</summary>
    private const long BytesAProcess = 256 << 10;

    public string ProcessList => Path.Combine(Folder, "cgroup.procs");

    public static RunnerCgroup Make(long memoryBytes)
    {
        var unit = "/sys/fs/cgroup" + File.ReadAllText("/proc/self/cgroup").Split('\n').Single(line => line.StartsWith("0::", StringComparison.Ordinal))[3..];
        // A cgroup that hands controllers on may hold no process itself.
        var own = Path.Combine(unit, "agent");
        Directory.CreateDirectory(own);
        Set(own, "cgroup.procs", Environment.ProcessId);

        var folder = Path.Combine(unit, "runner");
        Directory.CreateDirectory(folder);
        // What a kernel with the old cgroups beside the new ones has given away cannot be limited: no image of ours boots so.
        var offered = File.ReadAllText(Path.Combine(unit, "cgroup.controllers")).Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
        var limits = new List<string>();
        foreach (var (controller, file, limit, text) in (ReadOnlySpan<(string, string, long, string)>)[
            ("pids", "pids.max", memoryBytes / BytesAProcess, $"{memoryBytes / BytesAProcess} processes"),
            ("memory", "memory.max", Math.Max(memoryBytes - Reserve, memoryBytes / 2), $"{Math.Max(memoryBytes - Reserve, memoryBytes / 2) >> 20} MiB of memory")])
        {
            if (!offered.Contains(controller))
                continue;
            File.WriteAllText(Path.Combine(unit, "cgroup.subtree_control"), "+" + controller);
            Set(folder, file, limit);
            limits.Add(text);
        }

        return new RunnerCgroup(folder, limits.Count == 0 ? "no limits" : string.Join(" and ", limits) + " at most");
    }

    /// <summary>Kills all that is in it, at once.</summary>
    public Task KillAsync() => File.WriteAllTextAsync(Path.Combine(Folder, "cgroup.kill"), "1");

    private static void Set(string folder, string file, long value) =>
        File.WriteAllText(Path.Combine(folder, file), value.ToString(CultureInfo.InvariantCulture));
}
