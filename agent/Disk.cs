using System.Globalization;

namespace Mayfly.Agent;

internal enum DiskKind
{
    Unknown,
    InstanceStore,
    Ebs,
}

/// <summary>A whole disk as sysfs tells of it.</summary>
/// <param name="Name">Kernel name, such as <c>nvme1n1</c>. NVMe names change from boot to boot: nothing is chosen by it.</param>
/// <param name="Partitions">Device name and GPT name of each partition.</param>
internal sealed record Disk(string Name, string Model, string Serial, long Bytes, IReadOnlyList<Partition> Partitions)
{
    public string Path => "/dev/" + Name;

    public DiskKind Kind => DiskRule.All.FirstOrDefault(rule => rule.Matches(this))?.Kind ?? DiskKind.Unknown;

    /// <summary>All disks of the NVMe driver below a sysfs root.</summary>
    public static IReadOnlyList<Disk> FindAll(string sys)
    {
        var block = System.IO.Path.Combine(sys, "block");
        return
        [
            .. Directory.EnumerateDirectories(block, "nvme*").Order(StringComparer.Ordinal).Select(folder => new Disk(
                System.IO.Path.GetFileName(folder),
                Read(folder, "device/model"),
                Read(folder, "device/serial"),
                long.Parse(Read(folder, "size"), CultureInfo.InvariantCulture) * 512,
                [
                    .. Directory.EnumerateDirectories(folder)
                        .Where(sub => File.Exists(System.IO.Path.Combine(sub, "partition")))
                        .Select(sub => new Partition(System.IO.Path.GetFileName(sub), PartitionName(sub))),
                ])),
        ];
    }

    /// <summary>Whether every NVMe controller on the bus has brought up its disk: before, a scratch volume could be
    /// missed that is only slower to appear than the root.</summary>
    public static bool AllPresent(string sys)
    {
        const string nvmeClass = "0x010802"; // PCI class code of an NVM Express controller
        var controllers = Directory.EnumerateDirectories(System.IO.Path.Combine(sys, "bus/pci/devices"))
            .Count(device => Read(device, "class") == nvmeClass);
        return controllers <= Directory.EnumerateDirectories(System.IO.Path.Combine(sys, "block"), "nvme*").Count();
    }

    private static string Read(string folder, string file)
    {
        var path = System.IO.Path.Combine(folder, file);
        return File.Exists(path) ? File.ReadAllText(path).Trim() : "";
    }

    private static string PartitionName(string folder) =>
        Read(folder, "uevent").Split('\n').FirstOrDefault(line => line.StartsWith("PARTNAME=", StringComparison.Ordinal))?["PARTNAME=".Length..] ?? "";
}

/// <summary>A partition's device name and its name in the partition table.</summary>
internal sealed record Partition(string Name, string Label);

/// <summary>How a disk is recognised: by model and the beginning of its serial, as EC2's NVMe devices give them.
/// https://docs.aws.amazon.com/ebs/latest/userguide/identify-nvme-ebs-device.html</summary>
internal sealed record DiskRule(string Model, string SerialStart, DiskKind Kind)
{
    public static readonly IReadOnlyList<DiskRule> All =
    [
        new("Amazon EC2 NVMe Instance Storage", "", DiskKind.InstanceStore),
        new("Amazon Elastic Block Store", "vol", DiskKind.Ebs),
        // The image also runs in a local virtual machine, where QEMU's model is fixed and only the serial can be given.
        new("QEMU NVMe Ctrl", "AWS", DiskKind.InstanceStore),
        new("QEMU NVMe Ctrl", "vol", DiskKind.Ebs),
    ];

    public bool Matches(Disk disk) => disk.Model == Model && disk.Serial.StartsWith(SerialStart, StringComparison.Ordinal);
}
