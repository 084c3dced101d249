using System.Globalization;

namespace Mayfly.Agent;

/// <summary>The most that a machine used of its disk, memory and swap, as far as it was looked at. For the console's end and
/// for the job's own log.</summary>
internal sealed class HighWater
{
    private readonly Lock _lock = new();
    private long _disk;
    private long _diskTotal;
    private long _memory;
    private long _memoryTotal;
    private long _swap;
    private long _swapTotal;

    public void Take(Surroundings now)
    {
        lock (_lock)
        {
            (_disk, _diskTotal) = (Math.Max(_disk, now.DiskTotal - now.DiskFree), now.DiskTotal);
            (_memory, _memoryTotal) = (Math.Max(_memory, now.MemoryUsed), now.MemoryTotal);
            (_swap, _swapTotal) = (Math.Max(_swap, now.SwapUsed), now.SwapTotal);
        }
    }

    /// <summary>One line: <c>disk 1.2 of 38.0 GiB, memory 3.4 of 7.6 GiB, swap 0.0 of 4.0 GiB</c>.</summary>
    public string Format()
    {
        lock (_lock)
            return $"disk {Share(_disk, _diskTotal)}, memory {Share(_memory, _memoryTotal)}, swap {(_swapTotal == 0 ? "none" : Share(_swap, _swapTotal))}";
    }

    /// <summary>Leaves the line where a job may read it.</summary>
    public void Write(string path)
    {
        try
        {
            File.WriteAllText(path + ".new", Format() + "\n");
            File.Move(path + ".new", path, overwrite: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // a hook that finds no figures prints none
        }
    }

    public static string Size(long bytes) => string.Create(CultureInfo.InvariantCulture, $"{bytes / (double)(1 << 30):F1} GiB");

    private static string Share(long used, long total) => string.Create(CultureInfo.InvariantCulture, $"{used / (double)(1 << 30):F1} of {Size(total)}");
}
