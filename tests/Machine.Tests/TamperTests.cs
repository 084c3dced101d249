using System.Text.Json;
using Mayfly.Contract;
using Xunit;

namespace Mayfly.Machine.Tests;

/// <summary>An altered image ends before systemd: nothing of it runs.</summary>
public sealed class TamperTests
{
    [Fact]
    public async Task A_wrong_root_hash_ends_the_machine_before_systemd() => await EndsBeforeSystemdAsync(disk =>
    {
        var hash = Manifest().GetProperty("rootHash").GetString()!;
        var at = Find(disk, System.Text.Encoding.ASCII.GetBytes("mayfly.roothash=" + hash));
        Flip(disk, at + "mayfly.roothash=".Length, before => before == (byte)'0' ? (byte)'1' : (byte)'0');
    });

    [Fact]
    public async Task One_flipped_byte_in_the_file_systems_first_block_ends_the_machine_before_systemd() =>
        await EndsBeforeSystemdAsync(disk => Flip(disk, RootStart(disk) + 1024, before => (byte)(before ^ 1)));

    [Fact]
    public async Task One_flipped_byte_in_the_hash_tree_ends_the_machine_before_systemd() => await EndsBeforeSystemdAsync(disk =>
        // The tree's top block comes first.
        Flip(disk, RootStart(disk) + (Manifest().GetProperty("dataBlocks").GetInt64() * 4096) + 7, before => (byte)(before ^ 0x80)));

    [Fact]
    public async Task One_flipped_byte_in_the_middle_of_systemds_own_program_ends_the_machine_before_systemd() => await EndsBeforeSystemdAsync(disk =>
    {
        // Nearly all of it is a library of its own, which the boot order puts in front.
        var before = Unpack(disk.Name, RootStart(disk), "usr/lib/*-linux-gnu/systemd/libsystemd-core-*.so");
        Flip(disk, RootStart(disk) + 100_000, value => (byte)(value ^ 1));
        disk.Flush();
        Assert.NotEqual(before, Unpack(disk.Name, RootStart(disk), "usr/lib/*-linux-gnu/systemd/libsystemd-core-*.so"));
    });

    private static async Task EndsBeforeSystemdAsync(Action<FileStream> alter)
    {
        var copy = Path.Combine(Path.GetTempPath(), $"tampered-{Guid.NewGuid()}.raw");
        File.Copy(Built.Image, copy);
        try
        {
            using (var disk = new FileStream(copy, FileMode.Open, FileAccess.ReadWrite))
                alter(disk);
            await using var bed = await Bed.MakeAsync(copy);
            bed.Launch();

            await bed.WaitForAsync("ec2", "instance terminated");

            Assert.Equal("root-not-verified", bed.Ending?.Ending);
            Assert.Equal(1, bed.Ending!.Step);
            Assert.DoesNotContain(bed.Ending.Events, e => e.Name == Milestone.RootVerified);
            Assert.DoesNotContain(bed.Console, line => line.Contains("systemd 252", StringComparison.Ordinal));
        }
        finally
        {
            File.Delete(copy);
        }
    }

    private static JsonElement Manifest() => JsonDocument.Parse(File.ReadAllBytes(Built.Path("artifacts/image/manifest.json"))).RootElement;

    /// <summary>Where the root's partition begins, from the partition table's second entry.</summary>
    private static long RootStart(FileStream disk)
    {
        var entry = new byte[128];
        disk.Position = 1024 + 128; // LBA 2, second entry
        disk.ReadExactly(entry);
        return BitConverter.ToInt64(entry, 32) * 512;
    }

    private static void Flip(FileStream disk, long at, Func<byte, byte> change)
    {
        disk.Position = at;
        var before = (byte)disk.ReadByte();
        disk.Position = at;
        disk.WriteByte(change(before));
    }

    private static long Find(FileStream disk, byte[] what)
    {
        var chunk = new byte[1 << 20];
        for (var start = 0L; start < disk.Length; start += chunk.Length - what.Length)
        {
            disk.Position = start;
            var read = disk.ReadAtLeast(chunk, chunk.Length, throwOnEndOfStream: false);
            if (chunk.AsSpan(0, read).IndexOf(what) is var found and >= 0)
                return start + found;
        }

        throw new InvalidOperationException("the command line is not in the image");
    }

    /// <returns>A file's content, as far as it unpacks.</returns>
    private static byte[] Unpack(string disk, long offset, string file)
    {
        var unpacked = Path.Combine(Path.GetTempPath(), $"unpacked-{Guid.NewGuid()}");
        using var process = System.Diagnostics.Process.Start(new System.Diagnostics.ProcessStartInfo("unsquashfs", ["-quiet", "-no-progress", "-offset", $"{offset}", "-dest", unpacked, disk, file])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;
        var errors = process.StandardError.ReadToEndAsync();
        process.StandardOutput.ReadToEnd();
        _ = errors.Result;
        process.WaitForExit();
        try
        {
            return Directory.EnumerateFiles(unpacked, "*", SearchOption.AllDirectories).SingleOrDefault() is { } only ? File.ReadAllBytes(only) : [];
        }
        finally
        {
            Directory.Delete(unpacked, recursive: true);
        }
    }
}
