namespace Mayfly.Lab.Ec2;

/// <summary>The instance stores that come with a type, without being asked for: NVMe disks that no block device mapping
/// names. https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-store-volumes.html</summary>
internal static class InstanceStore
{
    private const long Gigabyte = 1_000_000_000;

    private static readonly Dictionary<string, (int Count, long Gigabytes)> Sizes = new()
    {
        ["m5d.large"] = (1, 75),
        ["m5d.4xlarge"] = (2, 300),
        ["m5d.12xlarge"] = (2, 900),
        ["m5d.24xlarge"] = (4, 900),
        ["c5d.9xlarge"] = (1, 900),
        ["m6id.large"] = (1, 118),
    };

    /// <summary>Size in bytes of each; none for a type that has none, or that this lab does not know to have any.</summary>
    public static IEnumerable<long> Of(string type) =>
        Sizes.TryGetValue(type, out var size) ? Enumerable.Repeat(size.Gigabytes * Gigabyte / 512 * 512, size.Count) : [];
}
