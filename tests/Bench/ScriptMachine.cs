using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;
using Mayfly.Lab.Machines;

namespace Mayfly.Bench;

/// <summary>What one boot of the script's machine took, in milliseconds; its clock tells hundredths of a second.</summary>
internal sealed record ScriptTimes(double Scratch, double Initrd);

/// <summary>The same kernel, root and disks with a shell script as PID 1 that calls veritysetup, cryptsetup and mkfs.</summary>
internal static partial class ScriptMachine
{
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(4);

    /// <summary>Packs its initrd.</summary>
    public static async Task<string> PackAsync(Bed bed, CancellationToken cancel)
    {
        var initrd = Path.Combine(bed.Folder, "script.initrd");
        _ = await RunAsync("/bin/bash", [PathOf("pack.sh"), bed.Image, Directory.CreateDirectory(Path.Combine(bed.Folder, "script")).FullName, initrd], cancel);
        return initrd;
    }

    public static async Task<ScriptTimes> BootAsync(Bed bed, string initrd, CancellationToken cancel)
    {
        var volume = Path.Combine(bed.Folder, "script.raw");
        using (var file = File.Create(volume))
            file.SetLength((long)AgentMachine.ScratchGiB << 30);
        // As QemuMachine's, but for the firmware: a kernel of our own choice is started directly, before any clock here runs.
        var console = await RunAsync("timeout",
        [
            "--kill-after=5", Limit.TotalSeconds.ToString("F0", CultureInfo.InvariantCulture), "qemu-system-x86_64",
            "-machine", "q35", "-accel", QemuMachine.Accelerator, "-cpu", "max", "-smp", "2", "-m", "4096", "-display", "none", "-no-reboot",
            "-serial", "stdio", "-monitor", "none", "-nic", "none", "-device", "virtio-rng-pci",
            "-kernel", Path.Combine(bed.Image, "vmlinuz"), "-initrd", initrd, "-append", await File.ReadAllTextAsync(Path.Combine(bed.Image, "cmdline"), cancel),
            "-drive", $"id=root,if=none,format=raw,snapshot=on,file={Path.Combine(bed.Image, "disk.raw")}", "-device", "nvme,drive=root,serial=vol0",
            "-drive", $"id=scratch,if=none,format=raw,discard=unmap,file={volume}", "-device", "nvme,drive=scratch,serial=vol1",
        ], cancel);
        var moments = Moment().Matches(console).ToDictionary(m => m.Groups[2].Value.Trim(), m => 1000 * double.Parse(m.Groups[1].Value, CultureInfo.InvariantCulture));
        return moments.TryGetValue("writable view laid", out var last)
            ? new ScriptTimes(moments["scratch ready"] - moments["root verified"], last - moments["started"])
            : throw new InvalidOperationException($"the script's machine did not come to its end:\n{console}");
    }

    public static string PathOf(string script) => Path.Combine(AppContext.BaseDirectory, "script", script);

    /// <summary>Runs a program to its end.</summary>
    /// <returns>What it printed.</returns>
    /// <exception cref="InvalidOperationException">It failed: carries what it printed.</exception>
    public static async Task<string> RunAsync(string program, string[] arguments, CancellationToken cancel)
    {
        using var process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true })
            ?? throw new InvalidOperationException($"{program} did not start");
        process.StandardInput.Close();
        var errors = process.StandardError.ReadToEndAsync(cancel);
        var output = await process.StandardOutput.ReadToEndAsync(cancel);
        await process.WaitForExitAsync(cancel);
        return process.ExitCode == 0 ? output : throw new InvalidOperationException($"{program} exited with {process.ExitCode}: {await errors}\n{output}");
    }

    [GeneratedRegex(@"bench: ([\d.]+) ([a-z ]+)")]
    private static partial Regex Moment();
}
