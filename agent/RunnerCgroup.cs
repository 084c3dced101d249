using System.Globalization;

namespace Mayfly.Agent;

/// <summary>
/// The cgroup that holds the runner and all it starts, beside the agent's own, both below the unit's, which systemd has
/// delegated. It is limited and killed as a whole; the processes are in one below it. https://systemd.io/CGROUP_DELEGATION/, https://docs.kernel.org/admin-guide/cgroup-v2.html
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

    /// <summary>In the unit's environment, <c>if-offered</c> lets a job run without the limits that the kernel does not offer. For
    /// light machines on a host whose old cgroups hold the controllers (docs/decisions/0014); a real machine never has it.</summary>
    public const string Switch = "MAYFLY_LIMITS";

    /// <summary>
    /// The job's cgroup namespace begins here, one below the limits: what is written at a namespace's root, or above where its
    /// processes have nested another, lifts limits, and a job with sudo owns all files that it can mount.
    /// </summary>
    private const string Inner = "job";

    /// <summary>Within an engine's cgroup that of the engine itself; its containers' lie beside it.</summary>
    private const string EnginesOwn = "own";

    /// <summary>Controllers beside those of the limits.</summary>
    private static readonly IReadOnlyList<string> Shared = ["cpu", "cpuset", "io"];

    /// <summary>Where the limits stand.</summary>
    public static IReadOnlyList<string> Files { get; } = ["pids.max", "memory.max"];

    public string ProcessList => Path.Combine(Folder, Inner, "cgroup.procs");

    /// <summary>The cgroup of this process's unit.</summary>
    public static string Unit => "/sys/fs/cgroup" + File.ReadAllText("/proc/self/cgroup").Split('\n').Single(line => line.StartsWith("0::", StringComparison.Ordinal))[3..];

    /// <param name="unit">Where this process is; it moves to a cgroup below.</param>
    /// <param name="missing">Value of <see cref="Switch"/>; null or empty where every limit has to be set.</param>
    /// <exception cref="InvalidOperationException">The kernel does not offer a limit.</exception>
    /// <exception cref="FormatException">The switch has a value of no meaning.</exception>
    public static RunnerCgroup Make(string unit, long memoryBytes, string? missing)
    {
        if (missing is not (null or "" or "if-offered"))
            throw new FormatException($"{Switch}='{missing}': if-offered is the only value");
        // A cgroup that hands controllers on may hold no process itself.
        var own = Path.Combine(unit, "agent");
        Directory.CreateDirectory(own);
        Set(own, "cgroup.procs", Environment.ProcessId);

        var folder = Path.Combine(unit, "runner");
        Directory.CreateDirectory(Path.Combine(folder, Inner));
        var offered = File.ReadAllText(Path.Combine(unit, "cgroup.controllers")).Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
        var limits = new List<string>();
        foreach (var (controller, file, limit, text) in (ReadOnlySpan<(string, string, long, string)>)[
            ("pids", "pids.max", memoryBytes / BytesAProcess, $"{memoryBytes / BytesAProcess} processes"),
            ("memory", "memory.max", Math.Max(memoryBytes - Reserve, memoryBytes / 2), $"{Math.Max(memoryBytes - Reserve, memoryBytes / 2) >> 20} MiB of memory")])
        {
            if (!offered.Contains(controller))
            {
                if (string.IsNullOrEmpty(missing))
                    throw new InvalidOperationException($"the job cannot be limited to {text}: {unit} has no {controller} controller; boot a kernel that has it, and with cgroup v2 alone");
                continue;
            }

            File.WriteAllText(Path.Combine(unit, "cgroup.subtree_control"), "+" + controller);
            Set(folder, file, limit);
            // So that the job can read what it has used, such as memory.peak.
            File.WriteAllText(Path.Combine(folder, "cgroup.subtree_control"), "+" + controller);
            limits.Add(text);
        }

        return new RunnerCgroup(folder, limits.Count == 0 ? "no limits" : string.Join(" and ", limits) + " at most");
    }

    /// <summary>
    /// Makes the cgroup of a container engine, beside the job's and under the same limits, with whatever else the kernel offers
    /// to share out among containers. It belongs to the engine's root but for its own share.
    /// https://docs.kernel.org/admin-guide/cgroup-v2.html#delegation
    /// </summary>
    /// <returns>Its folder.</returns>
    public string MakeEngines(uint owner)
    {
        var unit = Path.GetDirectoryName(Folder)!;
        foreach (var level in (string[])[unit, Folder])
        {
            foreach (var controller in Shared.Intersect(File.ReadAllText(Path.Combine(level, "cgroup.controllers")).Split((char[]?)null)))
                File.WriteAllText(Path.Combine(level, "cgroup.subtree_control"), "+" + controller);
        }

        var folder = Path.Combine(Folder, "engine");
        foreach (var made in (string[])[folder, Path.Combine(folder, EnginesOwn)])
        {
            Directory.CreateDirectory(made);
            foreach (var path in (string[])["", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"])
                Kernel.ChangeOwner(Path.Combine(made, path), owner, owner);
        }

        return folder;
    }

    /// <summary>Moves what is in an engine's cgroup to the one below, with those that only wait outside its namespaces and that it
    /// could not move itself, and hands the controllers on to the containers': a cgroup that does so may hold no process.</summary>
    public static void HandOn(string engines)
    {
        foreach (var id in File.ReadAllLines(Path.Combine(engines, "cgroup.procs")))
            File.WriteAllText(Path.Combine(engines, EnginesOwn, "cgroup.procs"), id);
        foreach (var controller in File.ReadAllText(Path.Combine(engines, "cgroup.controllers")).Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries))
            File.WriteAllText(Path.Combine(engines, "cgroup.subtree_control"), "+" + controller);
    }

    /// <summary>Kills all that is in it, at once.</summary>
    public Task KillAsync() => File.WriteAllTextAsync(Path.Combine(Folder, "cgroup.kill"), "1");

    private static void Set(string folder, string file, long value) =>
        File.WriteAllText(Path.Combine(folder, file), value.ToString(CultureInfo.InvariantCulture));
}
