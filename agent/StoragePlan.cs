namespace Mayfly.Agent;

/// <summary>Where scratch and swap go, decided from what is there; carried out elsewhere.</summary>
internal abstract record StoragePlan
{
    private StoragePlan()
    {
    }

    /// <summary>Swap at the front of a disk, scratch behind it, each under a key of its own.</summary>
    public sealed record OnDisk(Disk Disk, long SwapBytes) : StoragePlan
    {
        public long ScratchBytes => RoundDown(Disk.Bytes - SwapBytes);
    }

    /// <summary>Scratch in compressed memory, no swap: nothing reaches a disk.</summary>
    public sealed record InMemory(long Bytes, string Why) : StoragePlan;

    /// <summary>dm-crypt's sectors of 4,096 bytes need lengths in multiples of it; a mebibyte also keeps file systems aligned.</summary>
    private const long Unit = 1 << 20;

    /// <summary>Under this a disk is not worth taking: a checkout and a tool cache would fill it.</summary>
    private const long LeastDisk = 1L << 30;

    private const long MostSwap = 4L << 30;

    /// <summary>
    /// Instance store first (no charge, fast), then an EBS volume, then memory. The disk that holds the root is never
    /// taken, nor one of unknown model, nor one that is not empty.
    /// </summary>
    /// <param name="rootDisk">Name of the disk that holds the root.</param>
    /// <param name="isEmpty">Whether a disk shows no trace of data.</param>
    /// <param name="notes">Why a disk was passed over, for the console.</param>
    public static StoragePlan For(
        IReadOnlyList<Disk> disks, string rootDisk, long memoryBytes, Func<Disk, bool> isEmpty, out IReadOnlyList<string> notes)
    {
        var passedOver = new List<string>();
        notes = passedOver;
        var candidates = disks
            .Where(disk => disk.Name != rootDisk && disk.Kind != DiskKind.Unknown)
            .OrderBy(disk => disk.Kind)
            .ThenByDescending(disk => disk.Bytes)
            .ThenBy(disk => disk.Serial, StringComparer.Ordinal);
        foreach (var disk in candidates)
        {
            if (disk.Partitions.Count > 0 || !isEmpty(disk))
                passedOver.Add($"{disk.Serial} is not empty: refused as scratch, left as it is");
            else if (disk.Bytes < LeastDisk)
                passedOver.Add($"{disk.Serial} is smaller than 1 GiB: not taken as scratch");
            else
                return new OnDisk(disk, RoundDown(Math.Min(Math.Min(memoryBytes, MostSwap), disk.Bytes / 8)));
        }

        return new InMemory(RoundDown(memoryBytes / 2),
            disks.Count <= 1 ? "no scratch disk is attached" : "no attached disk is an empty EBS volume or instance store");
    }

    private static long RoundDown(long bytes) => bytes / Unit * Unit;
}
