namespace Mayfly.Agent;

/// <summary>Where scratch and swap go, decided from what is there; carried out elsewhere.</summary>
internal abstract record StoragePlan
{
    private StoragePlan()
    {
    }

    public abstract long ScratchBytes { get; }

    public abstract long SwapBytes { get; }

    /// <summary>Swap at the front of a disk, scratch behind it, each under a key of its own. Several instance stores
    /// become one disk by striping.</summary>
    /// <param name="Disks">One, or several instance stores.</param>
    /// <param name="BytesOfEach">What is used of each; a multiple of <see cref="Unit"/>.</param>
    public sealed record OnDisk(IReadOnlyList<Disk> Disks, long BytesOfEach, long SwapBytes) : StoragePlan
    {
        public override long ScratchBytes => (BytesOfEach * Disks.Count) - SwapBytes;

        public override long SwapBytes { get; } = SwapBytes;
    }

    /// <summary>Both in compressed memory: nothing reaches a disk.</summary>
    /// <param name="ScratchBytes">What scratch may hold before compression, and may take of memory after.</param>
    public sealed record InMemory(long ScratchBytes, long SwapBytes, string Why) : StoragePlan
    {
        public override long ScratchBytes { get; } = ScratchBytes;

        public override long SwapBytes { get; } = SwapBytes;
    }

    /// <summary>dm-crypt's sectors of 4,096 bytes and the stripes' chunks need lengths in multiples of theirs; a mebibyte is
    /// one of both, and keeps file systems aligned.</summary>
    public const long Unit = 1 << 20;

    /// <summary>Under this a disk is not worth taking: a checkout and a tool cache would fill it.</summary>
    private const long LeastDisk = 1L << 30;

    /// <summary>Swap catches a peak; who needs more says so by tag.</summary>
    private const long MostSwap = 4L << 30;

    /// <summary>
    /// Instance stores first (no charge, fast), then the largest EBS volume, then memory. The disk that holds the root is
    /// never taken, nor one of unknown model, nor one that is not empty.
    /// </summary>
    /// <param name="rootDisk">Name of the disk that holds the root.</param>
    /// <param name="isBlank">Whether a disk shows no trace of data.</param>
    /// <param name="notes">What was passed over or left unused and why, for the console.</param>
    public static StoragePlan For(
        IReadOnlyList<Disk> disks, string rootDisk, long memoryBytes, Func<Disk, bool> isBlank, out IReadOnlyList<string> notes)
    {
        var told = new List<string>();
        notes = told;
        var others = disks.Where(disk => disk.Name != rootDisk).ToList();
        if (Stripe([.. Usable(others, DiskKind.InstanceStore, isBlank, told)], told) is { Count: > 0 } stores)
            return OnThese(stores, memoryBytes);

        // Only the first is looked at whole: no volume is read that is not needed.
        if (Usable(others, DiskKind.Ebs, isBlank, told).FirstOrDefault() is { } volume)
            return OnThese([volume], memoryBytes);

        return new InMemory(RoundDown(memoryBytes / 2), RoundDown(Math.Min(memoryBytes / 4, MostSwap)),
            others.Count == 0 ? "no scratch disk is attached" : "no attached disk is an empty EBS volume or instance store");
    }

    /// <summary>Those of a kind that may be taken, the largest first. Serials, unlike names, are the same at each boot.</summary>
    private static IEnumerable<Disk> Usable(List<Disk> disks, DiskKind kind, Func<Disk, bool> isBlank, List<string> told)
    {
        foreach (var disk in disks.Where(d => d.Kind == kind).OrderByDescending(d => d.Bytes).ThenBy(d => d.Serial, StringComparer.Ordinal))
        {
            if (disk.Bytes < LeastDisk)
                told.Add($"{disk.Serial} is smaller than 1 GiB: not taken as scratch");
            else if (disk.Partitions.Count > 0 || !isBlank(disk))
                told.Add($"{disk.Serial} is not empty: refused as scratch, left as it is");
            else
                yield return disk;
        }
    }

    /// <summary>Of disks in falling order of size, those that together hold most if each gives as much as the smallest. The
    /// disks of one EC2 type are equal, so that nothing is left; a small one among large ones must not cost their rest.</summary>
    private static List<Disk> Stripe(List<Disk> disks, List<string> told)
    {
        var count = Enumerable.Range(1, disks.Count).OrderByDescending(n => n * disks[n - 1].Bytes).FirstOrDefault();
        foreach (var disk in disks.Skip(count))
            told.Add($"{disk.Serial} is left unused: {disk.Bytes >> 20} MiB are too few to stripe with");
        foreach (var disk in disks.Take(count).Where(d => d.Bytes - disks[count - 1].Bytes >= Unit))
            told.Add($"{disk.Serial}: {(disk.Bytes - disks[count - 1].Bytes) >> 20} MiB are left unused, the smallest of {count} striped has no more");
        return disks[..count];
    }

    private static OnDisk OnThese(List<Disk> disks, long memoryBytes)
    {
        var each = RoundDown(disks.Min(d => d.Bytes));
        return new OnDisk(disks, each, RoundDown(Math.Min(Math.Min(memoryBytes, MostSwap), each * disks.Count / 8)));
    }

    private static long RoundDown(long bytes) => bytes / Unit * Unit;
}
