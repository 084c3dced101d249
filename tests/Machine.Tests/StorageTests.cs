using Mayfly.Contract;
using Xunit;

namespace Mayfly.Machine.Tests;

public sealed class StorageTests
{
    [Fact]
    public async Task Without_a_scratch_disk_the_machine_takes_memory_and_says_so()
    {
        await using var bed = await Bed.MakeAsync();
        bed.Launch(("BlockDeviceMapping.1.DeviceName", "/dev/xvda"));

        var scratch = await bed.WaitForAsync("console", Milestone.ScratchReady);
        var swap = await bed.WaitForAsync("console", Milestone.SwapReady);

        Assert.Contains("zram", scratch.Detail, StringComparison.Ordinal);
        Assert.Contains("no scratch disk is attached", scratch.Detail, StringComparison.Ordinal);
        Assert.StartsWith("none", swap.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_volume_that_holds_data_is_left_as_it_is()
    {
        var volume = "";
        await using var bed = await Bed.MakeAsync(prepareVolume: path =>
        {
            volume = path;
            using var file = File.OpenWrite(path);
            file.Position = 1080; // where ext2, ext3 and ext4 keep their magic number
            file.Write([0x53, 0xEF]);
        });
        bed.Launch();

        var scratch = await bed.WaitForAsync("console", Milestone.ScratchReady);

        Assert.Contains("zram", scratch.Detail, StringComparison.Ordinal);
        Assert.Contains(bed.Lab.Journal.Events, e => e is { Source: "console", Name: "note" } && e.Detail.Contains("is not empty: refused", StringComparison.Ordinal));
        using var after = File.OpenRead(volume);
        var head = new byte[1 << 20];
        after.ReadExactly(head);
        Assert.Equal(2, head.Count(b => b != 0));
    }

    [Fact]
    public async Task What_the_machine_writes_to_its_volume_is_ciphertext()
    {
        var volume = "";
        await using var bed = await Bed.MakeAsync(prepareVolume: path => volume = path);
        bed.Launch();

        await bed.WaitForAsync("console", Milestone.ViewLaid);

        // An unencrypted ext4 shows its magic number, an unencrypted swap its signature, at known places.
        using var file = File.OpenRead(volume);
        var swap = new byte[4096];
        file.ReadExactly(swap);
        Assert.True(swap.Distinct().Count() > 200, "the first page of the swap area is not random");
        Assert.Equal(-1, swap.AsSpan().IndexOf("SWAPSPACE2"u8));
    }
}
