namespace Mayfly.Bench;

/// <summary>
/// Five thousand jobs queued at one moment, with the services' real limits and machines that only pretend: how long until
/// the last has started, by a clock that is moved by hand, and what memory the controller takes meanwhile.
/// </summary>
internal static class ControllerBurst
{
    private const int Jobs = 5000;
    private const double MostRatio = 1.1;
    private const double MostBytes = 200_000_000;

    public static readonly string[] Names = ["controller.burst_time_ratio", "controller.burst_rss_bytes"];

    public static async Task<IReadOnlyList<Measurement>> MeasureAsync(Bed bed, CancellationToken cancel)
    {
        var log = Path.Combine(bed.Out, "burst-controller.log");
        await using var lines = TextWriter.Synchronized(new StreamWriter(log));
        await using var burst = await Burst.Burst.StartAsync(bed.Folder, lines.WriteLine);
        var result = await burst.RunAsync(Jobs, cancel);
        bed.Say($"{Jobs} jobs had started after {result.Took.TotalSeconds:N0} s, of which the buckets alone take {result.Allowed.TotalSeconds:N0} s; {result.Throttled} calls were refused for limits");
        bed.Say($"the controller's log is in {log}");
        return
        [
            new(Names[0], result.Ratio, "times", "what the buckets allow", 1) { Most = MostRatio },
            new(Names[1], result.ResidentBytes, "bytes", "limit", MostBytes) { Most = MostBytes },
        ];
    }
}
