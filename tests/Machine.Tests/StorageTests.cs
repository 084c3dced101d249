using System.Globalization;
using Mayfly.Contract;
using Mayfly.Lab;
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
        Assert.Contains("zram", swap.Detail, StringComparison.Ordinal);
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

    [Fact]
    public async Task Nine_hundred_gibibytes_become_scratch_and_whoever_terminates_the_instance_hears_that_it_was_stopped()
    {
        await using var bed = await Bed.MakeAsync();
        bed.Launch(("BlockDeviceMapping.1.DeviceName", "/dev/sdf"), ("BlockDeviceMapping.1.Ebs.VolumeSize", "900"));

        var scratch = await bed.WaitForAsync("console", Milestone.ScratchReady);
        var swap = await bed.WaitForAsync("console", Milestone.SwapReady);
        await bed.WaitForAsync("console", Milestone.IdentityLearned); // the system runs on it

        Assert.StartsWith($"{(900 << 10) - MebibytesOf(swap)} MiB on Ebs vol1", scratch.Detail, StringComparison.Ordinal);

        // It waits for a configuration that nobody stores. EC2 presses its power button.
        bed.Terminate();
        await bed.WaitForAsync("ec2", "instance terminated");

        Assert.Equal("stopped", bed.Ending?.Ending);
        Assert.Contains("the power button", bed.Ending!.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_instance_stores_of_a_type_are_striped_under_one_encryption_before_any_volume()
    {
        var stores = new List<string>();
        await using var bed = await Bed.MakeAsync(prepareVolume: path =>
        {
            if (Path.GetFileName(path).StartsWith("AWS", StringComparison.Ordinal))
                stores.Add(path);
        });
        bed.Launch(("InstanceType", "m5d.12xlarge"));

        var scratch = await bed.WaitForAsync("console", Milestone.ScratchReady);
        var swap = await bed.WaitForAsync("console", Milestone.SwapReady);
        await bed.WaitForAsync("console", Milestone.IdentityLearned);

        Assert.Contains("2 striped InstanceStore AWS1", scratch.Detail, StringComparison.Ordinal);
        Assert.Equal(2, stores.Count);
        foreach (var store in stores)
        {
            // Scratch begins behind swap, half of which lies on each; the first chunks hold ext4's superblock and descriptors.
            using var file = File.OpenRead(store);
            file.Position = MebibytesOf(swap) / 2 << 20;
            var chunk = new byte[256 << 10];
            file.ReadExactly(chunk);
            Assert.True(chunk.Take(4096).Distinct().Count() > 200, $"{Path.GetFileName(store)} holds no ciphertext where scratch begins");
        }
    }

    [Fact]
    public async Task An_instance_store_that_holds_data_is_left_as_it_is_and_the_volume_taken()
    {
        await using var bed = await Bed.MakeAsync(prepareVolume: path =>
        {
            if (!Path.GetFileName(path).StartsWith("AWS", StringComparison.Ordinal))
                return;
            using var file = File.OpenWrite(path);
            file.Position = file.Length - 65536; // where md 0.90 keeps its superblock
            file.Write([0xfc, 0x4e, 0x2b, 0xa9]);
        });
        bed.Launch(("InstanceType", "m5d.large"));

        var scratch = await bed.WaitForAsync("console", Milestone.ScratchReady);

        Assert.Contains("MiB on Ebs vol1", scratch.Detail, StringComparison.Ordinal);
        Assert.Contains(bed.Lab.Journal.Events, e => e is { Source: "console", Name: "note" } && e.Detail.Contains("AWS1", StringComparison.Ordinal) && e.Detail.Contains("is not empty: refused", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("0", "swap: none, as mayfly:swap-gib=0 asks")]
    [InlineData("1", "swap: 1024 MiB, as mayfly:swap-gib=1 asks")]
    [InlineData("6", "swap: 6144 MiB, {0} of them in a file on encrypted scratch, as mayfly:swap-gib=6 asks")]
    public async Task Swap_is_fitted_to_what_the_launch_asks_for(string gibibytes, string told)
    {
        await using var bed = await Bed.MakeAsync();
        bed.Launch(Tagged((Tags.SwapGiB, gibibytes)));

        var made = MebibytesOf(await bed.WaitForAsync("console", Milestone.SwapReady));
        await bed.WaitForAsync("console", Milestone.IdentityLearned);
        var note = await bed.Lab.Journal.WaitForAsync(e => e is { Source: "console", Name: "note" } && e.Detail.StartsWith("swap: ", StringComparison.Ordinal), Bed.Limit, TestContext.Current.CancellationToken);

        Assert.Equal(string.Format(CultureInfo.InvariantCulture, told, 6144 - made), note.Detail);
    }

    [Fact]
    public async Task A_launch_that_asks_for_more_scratch_than_there_is_runs_no_job_and_says_what_to_do()
    {
        await using var bed = await Bed.MakeAsync();
        bed.Launch(Tagged((Tags.ScratchGiB, "100")));

        await bed.WaitForAsync("ec2", "instance terminated");

        Assert.Equal("scratch-too-small", bed.Ending?.Ending);
        Assert.Contains("102400 MiB are asked for", bed.Ending!.Detail, StringComparison.Ordinal);
        Assert.DoesNotContain(bed.Ending.Events, e => e.Name == Milestone.ConfigTaken);
    }

    private static (string, string)[] Tagged(params (string Key, string Value)[] tags) =>
    [
        ("TagSpecification.1.ResourceType", "instance"),
        .. tags.SelectMany((tag, i) => new[] { ($"TagSpecification.1.Tag.{i + 1}.Key", tag.Key), ($"TagSpecification.1.Tag.{i + 1}.Value", tag.Value) }),
    ];

    /// <summary>The size that a detail begins with.</summary>
    private static long MebibytesOf(LabEvent e) => long.Parse(e.Detail.Split(' ')[0], CultureInfo.InvariantCulture);
}
