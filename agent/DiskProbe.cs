namespace Mayfly.Agent;

/// <summary>
/// Tells whether a disk holds anything. A fresh EBS volume and a fresh instance store read as zeros, so that one byte that
/// is not zero, wherever it is found, makes the disk somebody's. Read are the places where signatures are kept:
/// <list type="bullet">
/// <item>the first mebibyte: partition tables, LUKS, LVM, swap, md 1.1 and 1.2, bcache, btrfs (64 KiB), ZFS, and all file
/// systems;</item>
/// <item>the last two: GPT's second table, md 0.90 and 1.0, ZFS's second pair of labels, DDF and the firmware RAIDs, of which
/// one (Promise) reaches back 1.5 MiB;</item>
/// <item>each power of two from 1 MiB: LUKS2's second header (up to 4 MiB), VMFS (1 and 2 MiB), bcachefs (1 MiB and a page),
/// btrfs's mirrors (64 MiB, 256 GiB), ext4's backup superblock (128 MiB; 8 MiB and 32 MiB with smaller blocks);</item>
/// <item>each sixteenth of the disk: XFS's allocation groups begin at the quarters, and of data whose ends were wiped
/// something is likely to be met.</item>
/// </list>
/// Offsets as libblkid has them: https://github.com/util-linux/util-linux/tree/master/libblkid/src/superblocks. That is 4 MiB
/// of a disk of any size, some milliseconds.
/// </summary>
internal static class DiskProbe
{
    private const int HeadBytes = 1 << 20;
    private const int TailBytes = 2 << 20;

    /// <summary>Holds a superblock that begins a page behind the spot, as bcachefs's does.</summary>
    private const int SpotBytes = 8 << 10;

    private const int Sixteenths = 16;

    /// <summary>Whether a disk reads as zeros wherever something would show.</summary>
    public static bool IsBlank(Stream disk, long bytes)
    {
        var buffer = new byte[TailBytes];
        foreach (var (start, length) in Places(bytes))
        {
            disk.Position = start;
            disk.ReadExactly(buffer, 0, length);
            if (buffer.AsSpan(0, length).ContainsAnyExcept((byte)0))
                return false;
        }

        return true;
    }

    private static IEnumerable<(long Start, int Length)> Places(long bytes)
    {
        yield return (0, (int)Math.Min(HeadBytes, bytes));
        yield return (Math.Max(0, bytes - TailBytes), (int)Math.Min(TailBytes, bytes));
        for (long spot = HeadBytes; spot + SpotBytes <= bytes; spot *= 2)
            yield return (spot, SpotBytes);
        for (var i = 1; i < Sixteenths; i++)
        {
            var spot = bytes / Sixteenths * i / SpotBytes * SpotBytes;
            if (spot + SpotBytes <= bytes)
                yield return (spot, SpotBytes);
        }
    }
}
