using System.Globalization;

namespace Mayfly.Agent;

/// <summary>What PID 1 of the initrd does around the steps: the kernel's file systems, its modules, the disks, the
/// writable view.</summary>
internal static class Initrd
{
    private static readonly TimeSpan DiskLimit = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan DiskPause = TimeSpan.FromMilliseconds(20);

    public static void MountKernelFileSystems()
    {
        const Kernel.MountFlags closed = Kernel.MountFlags.NoSetUid | Kernel.MountFlags.NoDevices | Kernel.MountFlags.NoExec;
        Kernel.Mount("proc", "/proc", "proc", closed);
        Kernel.Mount("sysfs", "/sys", "sysfs", closed);
        Kernel.Mount("devtmpfs", "/dev", "devtmpfs", Kernel.MountFlags.NoSetUid | Kernel.MountFlags.NoExec, "mode=0755");
        Kernel.Mount("tmpfs", "/run", "tmpfs", Kernel.MountFlags.NoSetUid | Kernel.MountFlags.NoDevices, "mode=0755,size=20%");
    }

    /// <summary>Loads the modules that the image's build listed for a part of the initrd's work, in the order it found.</summary>
    public static void LoadModules(string part)
    {
        foreach (var module in File.ReadLines(Path.Combine("/modules", part)))
            Kernel.LoadModule(Path.Combine("/modules", module));
    }

    /// <summary>Device files whose first use loads their module, of those that a job is given (<see cref="Sandbox"/>). systemd has
    /// two programs for this, and udev waits for both. Numbers: https://docs.kernel.org/admin-guide/devices.html</summary>
    public static void MakeDevices(string dev)
    {
        List<(string Name, uint Minor)> devices = [("fuse", 229), ("net/tun", 200)];
        if (OffersVirtualMachines(File.ReadLines("/proc/cpuinfo")))
            devices.Add(("kvm", 232));
        foreach (var (name, minor) in devices)
        {
            var path = Path.Combine(dev, name);
            if (File.Exists(path))
                continue; // its module is there already, and made it
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            Kernel.MakeCharacterDevice(path, major: 10, minor);
            File.SetUnixFileMode(path, (UnixFileMode)0b110_110_110); // as udev's rules have them
        }
    }

    /// <summary>By the flags of Intel's and AMD's processors. Another architecture's kernel has KVM built in, and its device file.</summary>
    internal static bool OffersVirtualMachines(IEnumerable<string> cpuInfo) =>
        cpuInfo.FirstOrDefault(line => line.StartsWith("flags", StringComparison.Ordinal))?.Split((char[]?)null).Any(flag => flag is "vmx" or "svm") == true;

    /// <summary>Waits for the disk that holds the root, and for every other NVMe disk on the bus.</summary>
    /// <exception cref="InvalidDataException">None or more than one holds a partition of that name.</exception>
    /// <exception cref="TimeoutException">No disk appeared in time.</exception>
    public static async Task<Disk> WaitForRootDiskAsync(TimeProvider time, CancellationToken cancel)
    {
        var start = time.GetTimestamp();
        while (true)
        {
            var disks = Disk.FindAll("/sys");
            var roots = disks.Where(disk => disk.Partitions.Any(p => p.Label == VerifiedRoot.PartitionLabel)).ToList();
            var late = time.GetElapsedTime(start) > DiskLimit;
            if (roots.Count > 1)
                throw new InvalidDataException($"more than one disk has a partition '{VerifiedRoot.PartitionLabel}': {string.Join(", ", roots.Select(d => d.Serial))}; detach all but the root volume");
            if (roots.Count == 1 && (late || Disk.AllPresent("/sys")))
                return roots[0];
            if (late)
                throw new TimeoutException($"no NVMe disk with a partition '{VerifiedRoot.PartitionLabel}' appeared within {DiskLimit.TotalSeconds:F0} s; seen: {string.Join(", ", disks.Select(d => $"{d.Model} {d.Serial}"))}");
            await Task.Delay(DiskPause, time, cancel);
        }
    }

    public static long MemoryBytes()
    {
        var line = File.ReadLines("/proc/meminfo").First(l => l.StartsWith("MemTotal:", StringComparison.Ordinal));
        return long.Parse(line.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture) * 1024;
    }

    public static bool IsBlank(Disk disk)
    {
        using var stream = new FileStream(disk.Path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite, bufferSize: 0);
        return DiskProbe.IsBlank(stream, disk.Bytes);
    }

    /// <summary>
    /// Lays two overlays, each the verified root below and a folder of scratch above: the system's, and the job's. What
    /// a job writes, be it as root of its sandbox, no program of the system ever reads. Root and scratch themselves are
    /// then taken out of sight, but for the folder of the job's container engine. Volatile: no program waits for its writes to be on the disk, since nothing has to survive a
    /// crash. https://docs.kernel.org/filesystems/overlayfs.html#volatile-mount
    /// </summary>
    public static void LayWritableViews(VerifiedRoot root, Scratch scratch, string system, string job)
    {
        foreach (var (name, target) in (ReadOnlySpan<(string, string)>)[("system", system), ("job", job)])
        {
            var upper = Path.Combine(scratch.MountPoint, name);
            var work = Path.Combine(scratch.MountPoint, $"{name}.work");
            Directory.CreateDirectory(upper);
            Directory.CreateDirectory(work);
            Directory.CreateDirectory(target);
            Kernel.Mount("overlay", target, "overlay", Kernel.MountFlags.NoAccessTime | Kernel.MountFlags.NoDevices, $"lowerdir={root.MountPoint},upperdir={upper},workdir={work},volatile");
        }

        if (Directory.Exists(job + Engine.Storage))
        {
            var containers = Path.Combine(scratch.MountPoint, "containers");
            Directory.CreateDirectory(containers);
            Kernel.Mount(containers, job + Engine.Storage, null, Kernel.MountFlags.Bind);
            // Of scratch's flags only the one about times: BuildKit shows itself folders of its storage read-only, and in a user
            // namespace a mount keeps the flags that it was cloned with, or is refused. Nobody can make a device there, and what
            // a set-user-ID bit there gives is the runner's user or one of the engine's own.
            Kernel.Mount("none", job + Engine.Storage, null, Kernel.MountFlags.Bind | Kernel.MountFlags.Remount | Kernel.MountFlags.NoAccessTime);
        }

        Kernel.UnmountLazily(scratch.MountPoint);
        Kernel.UnmountLazily(root.MountPoint);
    }

    public static void MoveMounts(string target)
    {
        foreach (var folder in (string[])["/dev", "/proc", "/sys", "/run"])
            Kernel.Mount(folder, target + folder, null, Kernel.MountFlags.Move);
    }

    /// <summary>Shows this program in the system where the root has its own copy of it: that one need not be read. This one is
    /// as verified as the root hash, which lies in the same signed file.</summary>
    public static void Stay(string system) => Kernel.BindReadOnly("/init", system + "/usr/lib/mayfly/mayfly-agent");

    /// <summary>What the initrd unpacked stays in memory until its files are gone; this program's has to stay.</summary>
    public static void FreeMemory()
    {
        Directory.Delete("/modules", recursive: true);
    }
}
