using System.Globalization;
using System.Security.Cryptography;
using System.Text;

namespace Mayfly.Agent;

/// <summary>A scratch file system, mounted: encrypted on a disk, or in memory.</summary>
internal sealed record Scratch(string MountPoint, string Description, StoragePlan Plan)
{
    public static async Task<Scratch> MakeAsync(StoragePlan plan, VerifiedRoot root, string mountPoint, TimeProvider time, CancellationToken cancel)
    {
        var (device, description) = plan switch
        {
            StoragePlan.OnDisk on => (
                Storage.Encrypt("mayfly-scratch", on.Disk.Path, on.SwapBytes, on.ScratchBytes),
                $"{on.ScratchBytes >> 20} MiB on {on.Disk.Kind} {on.Disk.Serial}, dm-crypt aes-xts-plain64 under a random key"),
            StoragePlan.InMemory memory => (
                Storage.MakeZram(memory.Bytes),
                $"{memory.Bytes >> 20} MiB of zram, since {memory.Why}"),
            _ => throw new InvalidOperationException($"a plan without a way to carry it out: {plan}"),
        };
        await Storage.MakeFileSystemAsync(root, device, mountPoint, time, cancel);
        return new Scratch(mountPoint, description, plan);
    }
}

/// <summary>Encrypted swap in use, or the reason why there is none.</summary>
internal sealed record Swap(string Description)
{
    public static async Task<Swap> MakeAsync(StoragePlan plan, VerifiedRoot root, TimeProvider time, CancellationToken cancel)
    {
        if (plan is not StoragePlan.OnDisk on)
            return new Swap("none: there is no disk to put it on");
        var device = Storage.Encrypt("mayfly-swap", on.Disk.Path, 0, on.SwapBytes);
        await root.RunAsync("/usr/sbin/mkswap", [device], time, cancel);
        Kernel.SwapOn(device);
        return new Swap($"{on.SwapBytes >> 20} MiB on {on.Disk.Kind} {on.Disk.Serial}, dm-crypt aes-xts-plain64 under a random key of its own");
    }
}

/// <summary>Carries a <see cref="StoragePlan"/> out.</summary>
internal static class Storage
{
    private const int KeyBytes = 64; // AES-256 in XTS mode takes two keys of 256 bits
    private const int CryptSector = 4096;
    private const int Sector = 512;

    /// <summary>What is read at either end of a disk to tell whether it is empty. File systems, RAID, LVM, LUKS and
    /// partition tables all leave their signatures within these.</summary>
    private const int ProbeBytes = 1 << 20;

    /// <summary>Whether a disk reads as zeros at its beginning and its end.</summary>
    public static bool IsEmpty(Stream disk, long bytes)
    {
        var probe = new byte[Math.Min(ProbeBytes, bytes)];
        foreach (var start in (ReadOnlySpan<long>)[0, bytes - probe.Length])
        {
            disk.Position = start;
            disk.ReadExactly(probe);
            if (probe.AsSpan().ContainsAnyExcept((byte)0))
                return false;
        }

        return true;
    }

    /// <summary>Maps part of a disk through dm-crypt under a random key that exists only in the kernel.</summary>
    /// <returns>The mapped device.</returns>
    public static string Encrypt(string name, string disk, long offset, long bytes)
    {
        Span<byte> key = stackalloc byte[KeyBytes];
        Span<byte> hexadecimal = stackalloc byte[KeyBytes * 2];
        var front = "aes-xts-plain64 "u8;
        // No queues of their own: encryption in the submitter's context saves two switches a request on fast disks.
        var back = Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture,
            $" 0 {disk} {offset / Sector} 4 allow_discards no_read_workqueue no_write_workqueue sector_size:{CryptSector}"));
        Span<byte> table = stackalloc byte[front.Length + hexadecimal.Length + back.Length];
        try
        {
            Kernel.FillRandom(key);
            for (var i = 0; i < key.Length; i++)
                (hexadecimal[2 * i], hexadecimal[(2 * i) + 1]) = ("0123456789abcdef"u8[key[i] >> 4], "0123456789abcdef"u8[key[i] & 15]);
            front.CopyTo(table);
            hexadecimal.CopyTo(table[front.Length..]);
            back.CopyTo(table[(front.Length + hexadecimal.Length)..]);
            return DeviceMapper.Map(name, "crypt", (ulong)(bytes / Sector), readOnly: false, table);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(key);
            CryptographicOperations.ZeroMemory(hexadecimal);
            CryptographicOperations.ZeroMemory(table);
        }
    }

    /// <summary>Makes a block device of compressed memory.</summary>
    public static string MakeZram(long bytes)
    {
        File.WriteAllText("/sys/block/zram0/disksize", bytes.ToString(CultureInfo.InvariantCulture));
        return "/dev/zram0";
    }

    /// <summary>Makes the scratch file system and mounts it. Without a journal and without zeroed inode tables: nothing
    /// on it outlives the machine, so nothing has to survive a crash.</summary>
    public static async Task MakeFileSystemAsync(VerifiedRoot root, string device, string mountPoint, TimeProvider time, CancellationToken cancel)
    {
        await root.RunAsync("/usr/sbin/mke2fs",
            ["-q", "-F", "-t", "ext4", "-O", "^has_journal", "-E", "nodiscard,lazy_itable_init=1", "-m", "0", device], time, cancel);
        Directory.CreateDirectory(mountPoint);
        Kernel.Mount(device, mountPoint, "ext4", Kernel.MountFlags.NoAccessTime | Kernel.MountFlags.NoDevices | Kernel.MountFlags.NoSetUid);
    }
}
