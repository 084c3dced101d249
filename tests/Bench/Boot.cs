namespace Mayfly.Bench;

/// <summary>
/// What a machine needs until its runner starts, with a scratch volume of 900 GiB; beside it, in turn, the same initrd done by
/// a shell script on the same kind of machine. Medians of three.
/// </summary>
internal static class Boot
{
    private const int Runs = 3;
    private const string ScratchScript = "blkid, cryptsetup and mkfs.ext4 from a shell script";
    private const string InitrdScript = "modprobe, veritysetup, cryptsetup, mkfs and mkswap from a shell script";

    public static readonly string[] Names = ["agent.scratch_ready_ms", "agent.initrd_ms", "agent.initrd_cpu_ms", "agent.power_on_to_runner_ms"];

    public static async Task<IReadOnlyList<Measurement>> MeasureAsync(Bed bed, CancellationToken cancel)
    {
        var (ours, theirs) = (new List<BootTimes>(), new List<ScriptTimes>());
        var initrd = await ScriptMachine.PackAsync(bed, cancel);
        for (var run = 0; run < Runs; run++)
        {
            ours.Add(await AgentMachine.BootAsync(bed, Path.Combine(bed.Folder, $"agent{run}"), cancel));
            theirs.Add(await ScriptMachine.BootAsync(bed, initrd, cancel));
            bed.Say($"run {run + 1} of {Runs}: {ours[^1]}, {theirs[^1]}");
        }

        return
        [
            new(Names[0], Measurement.Median(ours.Select(o => o.Scratch)), "ms", ScratchScript, Measurement.Median(theirs.Select(t => t.Scratch))) { Most = 1000 },
            new(Names[1], Measurement.Median(ours.Select(o => o.Initrd)), "ms", InitrdScript, Measurement.Median(theirs.Select(t => t.Initrd))),
            new(Names[2], Measurement.Median(ours.Select(o => o.InitrdProcessor)), "ms"),
            new(Names[3], Measurement.Median(ours.Select(o => o.PowerOnToRunner)), "ms"),
        ];
    }
}
