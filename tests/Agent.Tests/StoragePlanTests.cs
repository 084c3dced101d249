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
        Assert.Equal(Store, Assert.IsType<StoragePlan.OnDisk>(Plan([Root, Ebs, Store])).Disk);

    [Fact]
    public void An_empty_ebs_volume_is_taken_whatever_its_device_name()
    {
        var renamed = Ebs with { Name = "nvme0n1" };

        Assert.Equal(renamed, Assert.IsType<StoragePlan.OnDisk>(Plan([renamed, Root with { Name = "nvme1n1" }], root: "nvme1n1")).Disk);
    }

    [Fact]
    public void A_disk_that_holds_data_is_refused_by_name_and_memory_taken_instead()
    {
        var plan = StoragePlan.For([Root, Ebs], "nvme0n1", 4 * Gibibyte, _ => false, out var notes);

        Assert.Equal(2 * Gibibyte, Assert.IsType<StoragePlan.InMemory>(plan).Bytes);
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
        Assert.True(plan.SwapBytes + plan.ScratchBytes <= plan.Disk.Bytes);
        Assert.Equal(0, plan.ScratchBytes % 4096);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1 << 19)]
    [InlineData((8L << 20) - 1)]
    public void One_byte_at_either_end_makes_a_disk_not_empty(long offset)
    {
        using var disk = new MemoryStream(new byte[8 << 20]);
        Assert.True(Storage.IsEmpty(disk, disk.Length));

        disk.Position = offset;
        disk.WriteByte(1);

        Assert.False(Storage.IsEmpty(disk, disk.Length));
    }

    private static StoragePlan Plan(IReadOnlyList<Disk> disks, string root = "nvme0n1") =>
        StoragePlan.For(disks, root, 4 * Gibibyte, _ => true, out _);

    private static Disk DiskOf(string name, string model, string serial, long gibibytes, int partitions = 0) =>
        new(name, model, serial, gibibytes * Gibibyte, [.. Enumerable.Range(1, partitions).Select(i => new Partition($"{name}p{i}", i == 2 ? VerifiedRoot.PartitionLabel : "esp"))]);
}
