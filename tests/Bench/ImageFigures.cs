using System.Text.Json;

namespace Mayfly.Bench;

/// <summary>
/// What the image weighs, and what a boot reads of it until the runner listens; beside it the usual way to an image of one's own
/// (tests/Bench/baseline), booted on the same kind of machine in the same run. What is read is exact, and one boot is enough;
/// the time is the better of two for either.
/// </summary>
internal static class ImageFigures
{
    private const string Usual = "Debian with GRUB, ext4, its initrd, cloud-init and a script";
    private const double DiskLimit = 220_000_000;
    private const double RootLimit = 150_000_000;
    private const double ReadLimit = 40_000_000;
    private const double FewerReads = 2.5;

    public static readonly string[] Names =
        ["image.disk_bytes", "image.root_bytes", "image.read_bytes", "image.read_requests", "image.power_on_to_agent_s", "image.power_on_to_listening_s"];

    public static async Task<IReadOnlyList<Measurement>> MeasureAsync(Bed bed, CancellationToken cancel)
    {
        var (ours, theirs) = (new List<BootRun>(), new List<BootRun>());
        for (var run = 0; run < 2; run++)
        {
            ours.Add(await RootBoot.OfImageAsync(bed, Path.Combine(bed.Folder, $"image{run}"), [], tell: false, cancel));
            Say(bed, "image", ours[^1]);
            theirs.Add(await RootBoot.OfBaselineAsync(bed, Path.Combine(bed.Folder, $"baseline{run}"), cancel));
            Say(bed, "baseline", theirs[^1]);
        }

        var told = await RootBoot.OfImageAsync(bed, Path.Combine(bed.Folder, "told"), [], tell: true, cancel);
        var chart = Path.Combine(bed.Out, "boot.svg");
        await File.WriteAllTextAsync(chart, BootChart.Draw(BootChart.Steps(told)), cancel);
        bed.Say($"boot chart: {chart}");
        foreach (var unit in BootChart.Units(told))
            bed.Say($"systemd: {unit}");

        using var manifest = JsonDocument.Parse(await File.ReadAllBytesAsync(Path.Combine(bed.Image, "manifest.json"), cancel));
        var bytes = manifest.RootElement.GetProperty("bytes");
        return
        [
            new(Names[0], bytes.GetProperty("disk").GetInt64(), "bytes", "limit", DiskLimit) { Most = DiskLimit },
            new(Names[1], bytes.GetProperty("root").GetInt64(), "bytes", "limit", RootLimit) { Most = RootLimit },
            new(Names[2], ours[0].Reads.Bytes, "bytes", Usual, theirs[0].Reads.Bytes) { Most = ReadLimit, LeastRatio = FewerReads },
            new(Names[3], ours[0].Reads.Requests, "requests", Usual, theirs[0].Reads.Requests) { LeastRatio = FewerReads },
            new(Names[4], ours.Min(r => r.PowerOnToAgent), "s", Usual, theirs.Min(r => r.PowerOnToAgent)) { LeastRatio = 3 },
            new(Names[5], ours.Min(r => r.PowerOnToListening), "s", Usual, theirs.Min(r => r.PowerOnToListening)),
        ];
    }

    private static void Say(Bed bed, string what, BootRun run) =>
        bed.Say($"{what}: agent after {run.PowerOnToAgent:F1} s, runner listening after {run.PowerOnToListening:F1} s, {run.Reads.Bytes:N0} bytes read in {run.Reads.Requests:N0} requests");
}
