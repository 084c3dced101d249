using System.Globalization;
using System.Text.RegularExpressions;

namespace Mayfly.Bench;

/// <summary>
/// In which order a boot reads the root's files, for packer/boot-order. The kernel's own tracing tells of each page that it
/// reads, by inode; a non-maskable interrupt has it panic and print what it traced, so that nothing in the image takes part.
/// https://docs.kernel.org/trace/events.html
/// </summary>
internal static partial class BootOrder
{
    private const string Tracing = "trace_event=filemap:mm_filemap_add_to_page_cache trace_buf_size=40M log_buf_len=32M ftrace_dump_on_oops unknown_nmi_panic";

    public static async Task WriteAsync(Bed bed, string file, CancellationToken cancel)
    {
        var commandLine = await File.ReadAllTextAsync(Path.Combine(bed.Image, "cmdline"), cancel);
        string[] extra = ["-kernel", Path.Combine(bed.Image, "vmlinuz"), "-initrd", Path.Combine(bed.Image, "initrd"), "-append", $"{commandLine} {Tracing}"];
        var run = await RootBoot.OfImageAsync(bed, bed.Folder, extra, tell: false, cancel, interrupt: true);
        var paths = await PathsAsync(Path.Combine(bed.Image, "root.part"), cancel);
        // The device with the most pages is the root's.
        var pages = run.Console.Select(l => Page().Match(l.Line)).Where(m => m.Success).GroupBy(m => m.Groups[1].Value).MaxBy(g => g.Count())
            ?? throw new InvalidOperationException("the kernel told of no page that it read");
        var inodes = pages.Select(m => long.Parse(m.Groups[2].Value, NumberStyles.HexNumber, CultureInfo.InvariantCulture)).Distinct();
        var files = inodes.Select(i => paths.GetValueOrDefault(i)).OfType<string>().ToList();
        await File.WriteAllLinesAsync(file,
        [
            "# Files of the root in the order in which a boot reads them, until its runner listens: they lie in this order on the disk.",
            "# Made by ./build.sh --target=BootOrder. What an image does not have is skipped, so that this may be old.",
            .. files.Select(f => KernelVersion().Replace(f, "$1*/")),
        ], cancel);
        bed.Say($"{files.Count} files, {pages.Count()} pages");
    }

    private static async Task<Dictionary<long, string>> PathsAsync(string root, CancellationToken cancel)
    {
        var listing = await ScriptMachine.RunAsync("unshare", ["--mount", "sh", "-c", "mount -t squashfs -o loop,ro \"$0\" /mnt && find /mnt -type f -printf '%i %P\\n'", root], cancel);
        return listing.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(l => l.Split(' ', 2)).GroupBy(l => l[0])
            .ToDictionary(g => long.Parse(g.Key, CultureInfo.InvariantCulture), g => g.First()[1]);
    }

    /// <summary>The next kernel's modules lie elsewhere.</summary>
    [GeneratedRegex("^(usr/lib/modules/)[^/]+/")]
    private static partial Regex KernelVersion();

    [GeneratedRegex(@"mm_filemap_add_to_page_cache: dev (\d+:\d+) ino ([0-9a-f]+) ")]
    private static partial Regex Page();
}
