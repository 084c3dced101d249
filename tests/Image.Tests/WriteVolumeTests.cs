using Mayfly.Machine.Tests;
using Xunit;

namespace Mayfly.Image.Tests;

/// <summary>packer/scripts/write-volume.sh, by which the AMI's volume becomes the disk: on loop devices.</summary>
public sealed class WriteVolumeTests : IAsyncDisposable
{
    private const int DiskBytes = 3 << 20;
    private readonly string _folder = Directory.CreateTempSubdirectory("mayfly-volume-").FullName;
    private readonly List<string> _volumes = [];

    [Fact]
    public async Task The_volume_that_holds_nothing_becomes_the_disk()
    {
        var (used, empty) = (await VolumeAsync(8 << 20, holds: "a file system"), await VolumeAsync(4 << 20));
        var before = await ContentAsync(used);

        var (code, output) = await WriteAsync([used, empty]);

        Assert.True(code == 0, output);
        Assert.Contains($"wrote {DiskBytes} bytes to {empty}", output, StringComparison.Ordinal);
        Assert.Equal(await File.ReadAllBytesAsync(Disk, TestContext.Current.CancellationToken), (await ContentAsync(empty))[..DiskBytes]);
        Assert.Equal(before, await ContentAsync(used));
    }

    [Fact]
    public async Task A_volume_that_is_too_small_is_left_as_it_is()
    {
        var small = await VolumeAsync(DiskBytes - 4096);

        var (code, output) = await WriteAsync([small]);

        Assert.Equal(1, code);
        Assert.Contains($"{small} has room for {DiskBytes - 4096} bytes, and the disk has {DiskBytes}", output, StringComparison.Ordinal);
        Assert.All(await ContentAsync(small), value => Assert.Equal(0, value));
    }

    [Fact]
    public async Task Of_several_empty_volumes_and_of_none_nothing_is_written()
    {
        var (one, other, used) = (await VolumeAsync(4 << 20), await VolumeAsync(4 << 20), await VolumeAsync(8 << 20, holds: "a file system"));

        var (several, severalOutput) = await WriteAsync([one, other]);
        var (none, noneOutput) = await WriteAsync([used]);

        Assert.Equal((1, 1), (several, none));
        Assert.Contains($"expected one empty volume, found 2: {one} {other}", severalOutput, StringComparison.Ordinal);
        Assert.Contains("expected one empty volume, found 0", noneOutput, StringComparison.Ordinal);
        Assert.All(await ContentAsync(one), value => Assert.Equal(0, value));
    }

    [Fact]
    public async Task A_disk_that_is_not_the_manifests_is_not_written()
    {
        var volume = await VolumeAsync(4 << 20);

        var (code, output) = await WriteAsync([volume], sha256: new string('0', 64));

        Assert.Equal(1, code);
        Assert.Contains("is not the disk of the manifest", output, StringComparison.Ordinal);
        Assert.All(await ContentAsync(volume), value => Assert.Equal(0, value));
    }

    /// <summary>A write of which one byte arrives as another.</summary>
    [Fact]
    public async Task A_volume_that_does_not_hold_what_was_written_is_found()
    {
        var volume = await VolumeAsync(4 << 20);
        var programs = Directory.CreateDirectory(Path.Combine(_folder, "programs")).FullName;
        var lying = Path.Combine(programs, "dd");
        await File.WriteAllTextAsync(lying, $"#!/bin/sh\n/usr/bin/dd \"$@\" && printf '\\001' | /usr/bin/dd of={volume} bs=1 seek=1000000 conv=notrunc,fsync status=none\n", TestContext.Current.CancellationToken);
        File.SetUnixFileMode(lying, (UnixFileMode)0b111_101_101);

        var (code, output) = await WriteAsync([volume], path: programs);

        Assert.Equal(1, code);
        Assert.Contains($"{volume} does not hold what was written", output, StringComparison.Ordinal);
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var volume in _volumes)
            await Builder.RunAsync("losetup", ["--detach", volume]);
        Directory.Delete(_folder, recursive: true);
    }

    private string Disk => Path.Combine(_folder, "disk.raw");

    private async Task<string> VolumeAsync(int bytes, string holds = "")
    {
        var file = Path.Combine(_folder, $"volume{_volumes.Count}");
        await using (var volume = File.Create(file))
            volume.SetLength(bytes);
        if (holds.Length > 0)
            await Builder.RunAsync("mkfs.vfat", [file]);
        var (code, output) = await Builder.TryRunAsync("losetup", "--find", "--show", file);
        Assert.SkipUnless(code == 0, $"no loop devices here, so nothing shows that the AMI's volume is written as it should be: {output}");
        _volumes.Add(output.Trim());
        return _volumes[^1];
    }

    private async Task<(int Code, string Output)> WriteAsync(string[] volumes, string? sha256 = null, string path = "")
    {
        var disk = new byte[DiskBytes];
        new Random(1).NextBytes(disk);
        await File.WriteAllBytesAsync(Disk, disk, TestContext.Current.CancellationToken);
        var (code, output, error) = await Builder.StartAsync(Built.Path("packer/scripts/write-volume.sh"), [],
            [("SHA256", sha256 ?? Builder.Digest(Disk)), ("DISK", Disk), ("VOLUMES", string.Join(' ', volumes)), ("PATH", $"{path}:{Environment.GetEnvironmentVariable("PATH")}")]);
        return (code, output + error);
    }

    private static Task<byte[]> ContentAsync(string volume) => File.ReadAllBytesAsync(volume, TestContext.Current.CancellationToken);
}
