using System.Globalization;
using System.Text;

namespace Mayfly.Agent;

/// <summary>The root, mounted read-only through dm-verity.</summary>
internal sealed record VerifiedRoot(string MountPoint, string DiskName, string RootHash)
{
    public const string PartitionLabel = "mayfly-root";

    private const int Block = 4096;
    private const string ReadAheadKiB = "16";

    /// <summary>Debian's name for the folder of this architecture's libraries.</summary>
    private string Libraries => Path.GetFileName(Directory.EnumerateDirectories(Path.Combine(MountPoint, "usr/lib"), "*-linux-gnu").Single());

    private static readonly TimeSpan ProgramLimit = TimeSpan.FromSeconds(60);

    /// <summary>
    /// Files that are read whole, and so verified, before systemd is started: its own program and what it cannot start
    /// without. What is altered further on is an I/O error when it is first read.
    /// </summary>
    private static readonly IReadOnlyList<string> ReadBeforeHandover =
        ["usr/lib/systemd/systemd", "usr/lib/*-linux-gnu/systemd/libsystemd-*.so"];

    /// <summary>
    /// Folders whose files' inodes are read in one go, in the order in which they lie on the disk. systemd and udev look at them
    /// one by one and in turn; squashfs keeps eight blocks of inodes and would read the same ones hundreds of times.
    /// </summary>
    private static readonly IReadOnlyList<string> WalkBeforeHandover = ["etc", "usr/bin", "usr/lib", "usr/sbin"];

    /// <summary>Below them, what no boot looks at.</summary>
    private static readonly HashSet<string> NotWalked = ["perl", "perl-base", "perl5", "git-core", "gconv", "apt", "dpkg", "python3", "gcc", "ssl", "locale"];

    /// <summary>Opens dm-verity over the partition and mounts it.</summary>
    public static VerifiedRoot Open(KernelCommandLine parameters, Disk disk, string mountPoint)
    {
        var partition = "/dev/" + disk.Partitions.Single(p => p.Label == PartitionLabel).Name;
        // https://docs.kernel.org/admin-guide/device-mapper/verity.html: version, data and hash device, block sizes,
        // data blocks, first hash block, algorithm, digest, salt.
        var table = string.Create(CultureInfo.InvariantCulture,
            $"1 {partition} {partition} {Block} {Block} {parameters.DataBlocks} {parameters.DataBlocks} sha256 {parameters.RootHash} {parameters.Salt}");
        var device = DeviceMapper.Map("mayfly-root", "verity", parameters.DataBlocks * (Block / 512), readOnly: true, Encoding.ASCII.GetBytes(table));
        // A fault in a mapped file reads this much around it, and of squashfs always whole blocks: the kernel's 128 KiB, half
        // before and half behind, would mostly touch two of them for the few pages that are wanted.
        File.WriteAllText($"/sys/block/{Path.GetFileName(device)}/queue/read_ahead_kb", ReadAheadKiB);
        Directory.CreateDirectory(mountPoint);
        Kernel.Mount(device, mountPoint, "squashfs", Kernel.MountFlags.ReadOnly);
        return new VerifiedRoot(mountPoint, disk.Name, parameters.RootHash);
    }

    /// <summary>Reads what the next moment starts from.</summary>
    /// <returns>Bytes read.</returns>
    /// <exception cref="IOException">A block does not match the hash tree.</exception>
    public long ReadAhead()
    {
        var read = 0L;
        var buffer = new byte[1 << 18];
        foreach (var pattern in ReadBeforeHandover)
        {
            var folder = Path.Combine(MountPoint, Path.GetDirectoryName(pattern.Replace("*-linux-gnu", Libraries, StringComparison.Ordinal)) ?? "");
            foreach (var file in Directory.EnumerateFiles(folder, Path.GetFileName(pattern)))
            {
                using var stream = new FileStream(file, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 0);
                for (int got; (got = stream.Read(buffer)) > 0;)
                    read += got;
            }
        }

        foreach (var folder in WalkBeforeHandover)
            Walk(new DirectoryInfo(Path.Combine(MountPoint, folder)));
        return read;
    }

    private static void Walk(DirectoryInfo folder)
    {
        foreach (var entry in folder.EnumerateFileSystemInfos().OrderBy(e => e.Name, StringComparer.Ordinal))
        {
            // Asking for the attributes reads the inode.
            var attributes = entry.Attributes;
            if (entry is DirectoryInfo below && !attributes.HasFlag(FileAttributes.ReparsePoint) && !NotWalked.Contains(entry.Name))
                Walk(below);
        }
    }

    /// <summary>
    /// Runs a program of the root from outside it, by its own dynamic loader: the initrd holds no programs, and a
    /// change of root would concern this whole process.
    /// </summary>
    public Task RunAsync(string program, IReadOnlyList<string> arguments, TimeProvider time, CancellationToken cancel)
    {
        var libraries = Path.Combine(MountPoint, "usr/lib", Libraries);
        var loader = Directory.EnumerateFiles(libraries, "ld-linux-*.so.*").Single();
        return Command.RunAsync(loader, ["--library-path", libraries, MountPoint + program, .. arguments], input: null, ProgramLimit, time, cancel);
    }
}
