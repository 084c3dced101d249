using System.Globalization;

namespace Mayfly.Agent;

/// <summary>What the machine is like at one moment. What the kernel does not tell is null: no figure is made up.</summary>
/// <param name="Boot">Seconds since the kernel started, time asleep included.</param>
/// <param name="WallOffset">Wall clock less <paramref name="Boot"/>: it changes only when somebody sets the clock.</param>
/// <param name="MemoryUsed">Bytes; those of the job's cgroup where that is accounted, else of the whole machine.</param>
/// <param name="MemoryStalled">Share of the last minute, in percent, in which every runnable process waited for memory.</param>
/// <param name="OomKills">Processes that the kernel has killed for memory.</param>
/// <param name="DiskFree">Bytes of scratch that an ordinary user can still fill.</param>
/// <param name="HasCarrier">Whether any network interface has a link.</param>
/// <param name="SegmentsIn">TCP segments received since the start.</param>
/// <param name="SegmentsResent">TCP segments sent again, since no answer came.</param>
internal sealed record Surroundings(
    double Boot, double WallOffset, long MemoryUsed, long MemoryTotal, double? MemoryStalled, long? OomKills, long SwapUsed, long SwapTotal,
    long DiskFree, long DiskTotal, bool? HasCarrier, long? SegmentsIn, long? SegmentsResent)
{
    /// <summary>Reads it all. A file that is missing or has another form leaves its figure out.</summary>
    /// <param name="root">Above <c>proc</c> and <c>sys</c>: empty for the machine's own.</param>
    /// <param name="scratch">Any folder on it.</param>
    /// <param name="cgroup">The job's.</param>
    public static Surroundings Read(string root, string scratch, string cgroup, double boot, DateTimeOffset now)
    {
        var memory = Fields(root + "/proc/meminfo");
        var total = Kibibytes(memory, "MemTotal:");
        var swap = Kibibytes(memory, "SwapTotal:");
        var tcp = Tcp(root + "/proc/net/snmp");
        var disk = Disk(scratch);
        return new Surroundings(
            boot, (now - DateTimeOffset.UnixEpoch).TotalSeconds - boot,
            Number(Line(cgroup + "/memory.peak")) ?? Number(Line(Path.GetDirectoryName(cgroup) + "/memory.peak")) ?? (total - Kibibytes(memory, "MemAvailable:")), total,
            Stalled(root + "/proc/pressure/memory"), Number(Fields(root + "/proc/vmstat").GetValueOrDefault("oom_kill")), swap - Kibibytes(memory, "SwapFree:"), swap,
            disk.Free, disk.Total, Carrier(root + "/sys/class/net"), tcp.In, tcp.Resent);
    }

    private static Dictionary<string, string> Fields(string path)
    {
        var fields = new Dictionary<string, string>();
        foreach (var line in Lines(path))
        {
            if (line.Split(' ', StringSplitOptions.RemoveEmptyEntries) is [var name, var value, ..])
                fields[name] = value;
        }

        return fields;
    }

    private static long Kibibytes(Dictionary<string, string> memory, string name) => (Number(memory.GetValueOrDefault(name)) ?? 0) * 1024;

    /// <summary>The line <c>full avg10=0.00 avg60=1.23 …</c>. https://docs.kernel.org/accounting/psi.html</summary>
    private static double? Stalled(string path) =>
        Lines(path).FirstOrDefault(l => l.StartsWith("full ", StringComparison.Ordinal))?.Split(' ') is [_, _, ['a', 'v', 'g', '6', '0', '=', .. var average], ..]
            && double.TryParse(average, NumberStyles.Float, CultureInfo.InvariantCulture, out var share) ? share : null;

    /// <summary>A line of names and one of values for each protocol.</summary>
    private static (long? In, long? Resent) Tcp(string path)
    {
        if (Lines(path).Where(l => l.StartsWith("Tcp: ", StringComparison.Ordinal)).ToList() is not [var head, var body])
            return (null, null);
        var names = head.Split(' ');
        var values = body.Split(' ');
        return (Of("InSegs"), Of("RetransSegs"));

        long? Of(string name) => Array.IndexOf(names, name) is var at and > 0 && at < values.Length ? Number(values[at]) : null;
    }

    private static bool? Carrier(string folder)
    {
        var links = Directory.Exists(folder) ? Directory.GetDirectories(folder).Where(d => Path.GetFileName(d) != "lo").ToList() : [];
        return links.Count == 0 ? null : links.Any(link => Line(link + "/carrier") == "1");
    }

    private static (long Free, long Total) Disk(string folder)
    {
        try
        {
            var drive = new DriveInfo(folder);
            return (drive.AvailableFreeSpace, drive.TotalSize);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return (0, 0);
        }
    }

    private static long? Number(string? text) => long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number) ? number : null;

    private static string? Line(string path) => Lines(path).FirstOrDefault();

    private static string[] Lines(string path)
    {
        try
        {
            return File.ReadAllLines(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return []; // PSI switched off, or an interface that is down, fail only when they are read
        }
    }
}
