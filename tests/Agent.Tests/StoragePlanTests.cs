using System.Diagnostics;
using Xunit;

namespace Mayfly.Agent.Tests;

public sealed class StoragePlanTests
{
    private const long Gibibyte = 1L << 30;
    private static readonly Disk Root = DiskOf("nvme0n1", "Amazon Elastic Block Store", "vol0root", 8, partitions: 2);
    private static readonly Disk Ebs = DiskOf("nvme1n1", "Amazon Elastic Block Store", "vol0scratch", 40);
    private static readonly Disk Store = DiskOf("nvme2n1", "Amazon EC2 NVMe Instance Storage", "AWS0store", 75);

    [Fact]
    public void Instance_store_is_taken_before_an_ebs_volume() =>
        Assert.Equal([Store], Assert.IsType<StoragePlan.OnDisk>(Plan([Root, Ebs, Store])).Disks);

    [Fact]
    public void Of_several_ebs_volumes_the_largest_is_taken_alone()
    {
        var larger = Ebs with { Name = "nvme3n1", Serial = "vol0larger", Bytes = 41 * Gibibyte };

        Assert.Equal([larger], Assert.IsType<StoragePlan.OnDisk>(Plan([Root, Ebs, larger])).Disks);
    }

    [Fact]
    public void Equal_instance_stores_are_striped_whole()
    {
        var plan = Assert.IsType<StoragePlan.OnDisk>(StoragePlan.For([Root, StoreOf(1, 900), StoreOf(0, 900)], "nvme0n1", Gibibyte, _ => true, out var notes));

        Assert.Equal(["AWS0", "AWS1"], plan.Disks.Select(d => d.Serial));
        Assert.Equal(1800 * Gibibyte, plan.ScratchBytes + plan.SwapBytes);
        Assert.Equal("2 512 /dev/nvme10n1 0 /dev/nvme11n1 0", Storage.StripeTable(plan));
        Assert.Empty(notes);
    }

    [Fact]
    public void Of_unequal_instance_stores_the_smallest_length_is_striped_and_the_rest_told_of()
    {
        var plan = Assert.IsType<StoragePlan.OnDisk>(StoragePlan.For([Root, StoreOf(0, 90), StoreOf(1, 100)], "nvme0n1", Gibibyte, _ => true, out var notes));

        Assert.Equal((2, 90 * Gibibyte), (plan.Disks.Count, plan.BytesOfEach));
        Assert.Contains("AWS1: 10240 MiB are left unused", Assert.Single(notes), StringComparison.Ordinal);
    }

    [Fact]
    public void A_small_instance_store_among_large_ones_is_left_out_rather_than_costing_their_rest()
    {
        var plan = Assert.IsType<StoragePlan.OnDisk>(
            StoragePlan.For([Root, StoreOf(0, 900), StoreOf(1, 10), StoreOf(2, 900)], "nvme0n1", Gibibyte, _ => true, out var notes));

        Assert.Equal(["AWS0", "AWS2"], plan.Disks.Select(d => d.Serial));
        Assert.Contains("AWS1 is left unused", Assert.Single(notes), StringComparison.Ordinal);
    }

    [Fact]
    public void An_instance_store_that_holds_data_is_refused_and_the_others_taken()
    {
        var plan = Assert.IsType<StoragePlan.OnDisk>(
            StoragePlan.For([Root, StoreOf(0, 900), StoreOf(1, 900)], "nvme0n1", Gibibyte, d => d.Serial != "AWS0", out var notes));

        Assert.Equal(["AWS1"], plan.Disks.Select(d => d.Serial));
        Assert.Contains("AWS0 is not empty: refused", Assert.Single(notes), StringComparison.Ordinal);
    }

    [Fact]
    public void No_ebs_volume_is_read_where_an_instance_store_serves() =>
        StoragePlan.For([Root, Ebs, Store], "nvme0n1", Gibibyte, disk => disk == Store ? true : throw new InvalidOperationException("read"), out _);

    [Fact]
    public void An_empty_ebs_volume_is_taken_whatever_its_device_name()
    {
        var renamed = Ebs with { Name = "nvme0n1" };

        Assert.Equal([renamed], Assert.IsType<StoragePlan.OnDisk>(Plan([renamed, Root with { Name = "nvme1n1" }], root: "nvme1n1")).Disks);
    }

    [Fact]
    public void A_disk_that_holds_data_is_refused_by_name_and_memory_taken_instead()
    {
        var plan = StoragePlan.For([Root, Ebs], "nvme0n1", 4 * Gibibyte, _ => false, out var notes);

        Assert.Equal((2 * Gibibyte, Gibibyte), (Assert.IsType<StoragePlan.InMemory>(plan).ScratchBytes, plan.SwapBytes));
        Assert.Contains("vol0scratch", Assert.Single(notes), StringComparison.Ordinal);
    }

    [Fact]
    public void A_disk_with_partitions_is_refused_without_being_read()
    {
        var partitioned = Ebs with { Partitions = [new Partition("nvme1n1p1", "")] };

        Assert.IsType<StoragePlan.InMemory>(StoragePlan.For([Root, partitioned], "nvme0n1", Gibibyte, _ => throw new InvalidOperationException("read"), out _));
    }

    [Fact]
    public void A_disk_of_unknown_model_is_never_taken() =>
        Assert.IsType<StoragePlan.InMemory>(Plan([Root, DiskOf("nvme1n1", "Samsung SSD", "vol1", 40)]));

    [Fact]
    public void The_disk_of_the_root_is_never_taken_though_it_looks_like_any_volume() =>
        Assert.IsType<StoragePlan.InMemory>(Plan([Root with { Partitions = [] }]));

    [Theory]
    [InlineData(40, 2, 2)]
    [InlineData(40, 64, 4)]
    [InlineData(8, 64, 1)]
    public void Swap_is_as_large_as_memory_but_at_most_four_gibibytes_and_an_eighth_of_the_disk(long disk, long memory, long swap)
    {
        var plan = Assert.IsType<StoragePlan.OnDisk>(
            StoragePlan.For([Root, Ebs with { Bytes = disk * Gibibyte }], "nvme0n1", memory * Gibibyte, _ => true, out _));

        Assert.Equal(swap * Gibibyte, plan.SwapBytes);
        Assert.Equal(disk * Gibibyte, plan.SwapBytes + plan.ScratchBytes);
    }

    [Fact]
    public void Lengths_are_whole_mebibytes_whatever_a_disk_has()
    {
        var plan = StoragePlan.For([Root, StoreOf(0, 75) with { Bytes = 75_000_000_512 }, StoreOf(1, 75)], "nvme0n1", 3_999_999_488, _ => true, out _);

        Assert.Equal((0, 0), (plan.ScratchBytes % StoragePlan.Unit, plan.SwapBytes % StoragePlan.Unit));
    }

    [Fact]
    public void A_swap_areas_header_is_what_mkswap_writes()
    {
        const string mkswap = "/usr/sbin/mkswap";
        if (!File.Exists(mkswap))
            Assert.Skip($"{mkswap} is not installed");
        var path = Path.GetTempFileName();
        try
        {
            using (var file = File.OpenWrite(path))
                file.SetLength(64 << 20);
            using var process = Process.Start(new ProcessStartInfo(mkswap, ["--quiet", "--uuid", "clear", path]) { RedirectStandardError = true })!;
            process.WaitForExit();

            Assert.Equal(File.ReadAllBytes(path)[..4096], SwapArea.Header(64 << 20, 4096));
        }
        finally
        {
            File.Delete(path);
        }
    }

    [Fact]
    public void The_message_that_carries_a_key_is_wiped_whatever_happens_to_it()
    {
        var key = "0123456789abcdef"u8;
        Span<byte> bytes;
        using (var message = new DeviceMapperMessage("mayfly-scratch", "crypt", 8, readOnly: false, key))
        {
            bytes = message.Bytes;
            Assert.True(bytes.IndexOf(key) > 0);
        }

        Assert.False(bytes.ContainsAnyExcept((byte)0));
    }

    private static StoragePlan Plan(IReadOnlyList<Disk> disks, string root = "nvme0n1") =>
        StoragePlan.For(disks, root, 4 * Gibibyte, _ => true, out _);

    private static Disk StoreOf(int number, long gibibytes) =>
        DiskOf($"nvme1{number}n1", "Amazon EC2 NVMe Instance Storage", $"AWS{number}", gibibytes);

    private static Disk DiskOf(string name, string model, string serial, long gibibytes, int partitions = 0) =>
        new(name, model, serial, gibibytes * Gibibyte, [.. Enumerable.Range(1, partitions).Select(i => new Partition($"{name}p{i}", i == 2 ? VerifiedRoot.PartitionLabel : "esp"))]);
}
