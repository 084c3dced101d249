using System.Globalization;
using System.Security.Cryptography;
using System.Text;

namespace Mayfly.Agent;

/// <summary>A scratch file system, mounted: encrypted on a disk, or in memory.</summary>
/// <param name="Device">The block device below the file system.</param>
/// <param name="Disk">The disk, or the stripe of several, that scratch and swap share; empty where they are in memory.</param>
internal sealed record Scratch(string MountPoint, string Device, string Disk, string Description, StoragePlan Plan)
{
    public static async Task<Scratch> MakeAsync(StoragePlan plan, VerifiedRoot root, string mountPoint, TimeProvider time, CancellationToken cancel)
    {
        var disk = plan is StoragePlan.OnDisk where ? Storage.Join(where) : "";
        var (device, description) = plan switch
        {
            StoragePlan.OnDisk on => (
                Storage.Encrypt("mayfly-scratch", disk, on.SwapBytes, on.ScratchBytes),
                $"{on.ScratchBytes >> 20} MiB on {Storage.Describe(on)}, dm-crypt aes-xts-plain64 under a random key"),
            StoragePlan.InMemory memory => (
                Storage.MakeZram(memory.ScratchBytes),
                $"{memory.ScratchBytes >> 20} MiB of zram, half of memory, since {memory.Why}"),
            _ => throw new InvalidOperationException($"a plan without a way to carry it out: {plan}"),
        };
        await Storage.MakeFileSystemAsync(root, device, plan.ScratchBytes, mountPoint, time, cancel);
        return new Scratch(mountPoint, device, disk, description, plan);
    }
}

/// <summary>Swap in use, on an encrypted device or in memory.</summary>
internal sealed record Swap(string Device, string Description)
{
    public static Swap Make(Scratch scratch)
    {
        var (device, description) = scratch.Plan switch
        {
            StoragePlan.OnDisk on => (
                Storage.Encrypt("mayfly-swap", scratch.Disk, 0, on.SwapBytes),
                $"on {Storage.Describe(on)}, dm-crypt aes-xts-plain64 under a random key of its own"),
            _ => (Storage.MakeZram(scratch.Plan.SwapBytes), "of zram"),
        };
        SwapArea.Use(device, scratch.Plan.SwapBytes);
        return new Swap(device, $"{scratch.Plan.SwapBytes >> 20} MiB {description}");
    }
}

/// <summary>Carries a <see cref="StoragePlan"/> out.</summary>
internal static class Storage
{
    private const int KeyBytes = 64; // AES-256 in XTS mode takes two keys of 256 bits
    private const int CryptSector = 4096;
    private const int Sector = 512;

    /// <summary>Twice what the kernel reads ahead by default: most requests of one reader stay on one disk, while what a job
    /// writes in bulk, a mebibyte a request, keeps four busy. See docs/decisions/0010.</summary>
    private const int StripeChunk = 256 << 10;

    /// <summary>A job's files do not grow in number with its disk: small disks get an inode for each 8 KiB (131,072 a GiB, which
    /// a <c>node_modules</c> full of small files needs, for 3 % of the disk), larger ones for each 16 KiB (65,536 a GiB).</summary>
    private const long SmallDisk = 64L << 30;

    private const string ZramControl = "/sys/class/zram-control/hot_add";

    public static MadeStorage Made(Scratch scratch, Swap swap) =>
        new(scratch.Device, scratch.Plan.ScratchBytes, scratch.Plan is StoragePlan.InMemory, swap.Device, scratch.Plan.SwapBytes);

    /// <summary>Makes one device of several equal ones. Below the encryption, so that there is one key and one table, and each
    /// request is encrypted whole.</summary>
    /// <returns>The stripe, or the disk itself if it is alone.</returns>
    public static string Join(StoragePlan.OnDisk plan) =>
        plan.Disks is [var only]
            ? only.Path
            : DeviceMapper.Map("mayfly-stripe", "striped", (ulong)(plan.BytesOfEach * plan.Disks.Count / Sector), readOnly: false,
                Encoding.ASCII.GetBytes(StripeTable(plan)));

    /// <summary>https://docs.kernel.org/admin-guide/device-mapper/striped.html: number of disks, chunk, and each with its
    /// offset.</summary>
    internal static string StripeTable(StoragePlan.OnDisk plan) =>
        string.Create(CultureInfo.InvariantCulture, $"{plan.Disks.Count} {StripeChunk / Sector} {string.Join(' ', plan.Disks.Select(d => d.Path + " 0"))}");

    public static string Describe(StoragePlan.OnDisk plan) => plan.Disks is [var only]
        ? $"{only.Kind} {only.Serial}"
        : $"{plan.Disks.Count} striped {plan.Disks[0].Kind} {string.Join(", ", plan.Disks.Select(d => d.Serial))}";

    /// <summary>Maps part of a disk through dm-crypt under a random key that exists only in the kernel. The key and its copies
    /// here lie on the stack and in one pinned buffer, all wiped; no swap exists yet that their pages could go to.</summary>
    /// <returns>The mapped device.</returns>
    public static string Encrypt(string name, string disk, long offset, long bytes)
    {
        Span<byte> key = stackalloc byte[KeyBytes];
        Span<byte> hexadecimal = stackalloc byte[KeyBytes * 2];
        var front = "aes-xts-plain64 "u8;
        // No queues of their own: encryption in the submitter's context saves two switches a request on fast disks. No
        // discards: nothing here issues them, and they would show which blocks are in use.
        var back = Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture,
            $" 0 {disk} {offset / Sector} 3 no_read_workqueue no_write_workqueue sector_size:{CryptSector}"));
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

    /// <summary>Makes a block device of compressed memory. Of what does not compress it takes no more than its size.</summary>
    public static string MakeZram(long bytes)
    {
        var name = "zram" + File.ReadAllText(ZramControl).Trim(); // reading it makes a device and tells its number
        File.WriteAllText($"/sys/block/{name}/disksize", bytes.ToString(CultureInfo.InvariantCulture));
        File.WriteAllText($"/sys/block/{name}/mem_limit", bytes.ToString(CultureInfo.InvariantCulture));
        return "/dev/" + name;
    }

    /// <summary>
    /// Makes the scratch file system and mounts it. Nothing on it outlives the machine, so nothing has to survive a crash: no
    /// journal, no backup superblocks, no room to grow, no barriers, and no zeroed inode tables, neither now nor by the
    /// kernel's thread while the job runs. Groups of 256 keep the metadata of 900 GiB in 28 places instead of 450. The features
    /// are named one by one: whatever a release of e2fsprogs adds to its defaults stays out. No discard: the disk is empty.
    /// </summary>
    public static async Task MakeFileSystemAsync(VerifiedRoot root, string device, long bytes, string mountPoint, TimeProvider time, CancellationToken cancel)
    {
        await root.RunAsync("/usr/sbin/mke2fs",
        [
            "-q", "-F", "-t", "ext4", "-b", "4096", "-I", "256", "-i", bytes < SmallDisk ? "8192" : "16384", "-m", "0", "-G", "256",
            "-O", "none,sparse_super2,filetype,dir_index,dir_nlink,ext_attr,extent,extra_isize,flex_bg,huge_file,large_file,metadata_csum,64bit",
            "-E", "nodiscard,lazy_itable_init=1,num_backup_sb=0", device,
        ], time, cancel);
        Directory.CreateDirectory(mountPoint);
        Kernel.Mount(device, mountPoint, "ext4", Kernel.MountFlags.NoAccessTime | Kernel.MountFlags.NoDevices | Kernel.MountFlags.NoSetUid,
            "noinit_itable,nobarrier,noauto_da_alloc");
    }
}
