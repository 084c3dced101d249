using System.ComponentModel;
using System.Runtime.InteropServices;

namespace Mayfly.Agent;

/// <summary>The system calls that .NET does not offer. Each throws with the call's name, its object and the kernel's
/// reason. Numbers are from the kernel's uapi headers, the same on x86-64 and arm64 unless said.</summary>
internal static unsafe partial class Kernel
{
    [Flags]
    public enum MountFlags : ulong
    {
        None = 0,
        ReadOnly = 1,
        NoSetUid = 2,
        NoDevices = 4,
        NoExec = 8,
        Remount = 32,
        NoAccessTime = 1024,
        Bind = 4096,
        Move = 8192,
        Recursive = 16384,
    }

    public static int ProcessId => getpid();

    /// <summary>Seconds since the kernel started, time asleep included.</summary>
    public static double SecondsSinceStart()
    {
        const int clockBootTime = 7;
        TimeSpec now;
        Check(clock_gettime(clockBootTime, &now), "clock_gettime", "CLOCK_BOOTTIME");
        return now.Seconds + (now.Nanoseconds / 1e9);
    }

    /// <summary>Seconds of processor time that this process and the programs it ran to their end have taken.</summary>
    public static double ProcessorSeconds()
    {
        const int self = 0, children = -1;
        return Of(self) + Of(children);

        static double Of(int who)
        {
            ResourceUsage usage;
            Check(getrusage(who, &usage), "getrusage", $"{who}");
            return usage.UserSeconds + usage.SystemSeconds + ((usage.UserMicroseconds + usage.SystemMicroseconds) / 1e6);
        }
    }

    public static void Mount(string source, string target, string? type, MountFlags flags, string? options = null) =>
        Check(mount(source, target, type, (nuint)flags, options), "mount", $"{type} {source} on {target}");

    /// <summary>Shows a file or folder at another place, or its own, without letting anyone write there.</summary>
    public static void BindReadOnly(string source, string target)
    {
        const MountFlags closed = MountFlags.NoSetUid | MountFlags.NoDevices;
        Mount(source, target, null, MountFlags.Bind);
        Mount("none", target, null, MountFlags.Bind | MountFlags.Remount | MountFlags.ReadOnly | closed);
    }

    /// <summary>Takes a mount out of sight; what uses it keeps it.</summary>
    public static void UnmountLazily(string target)
    {
        const int detach = 2;
        Check(umount2(target, detach), "umount2", target);
    }

    public static void SwapOn(string device) => Check(swapon(device, 0), "swapon", device);

    public static void SwapOff(string device) => Check(swapoff(device), "swapoff", device);

    public static void LoadModule(string path)
    {
        const int alreadyLoaded = 17; // EEXIST
        using var file = File.OpenHandle(path);
        if (syscall(FinitModule, file.DangerousGetHandle(), "", 0) != 0 && Marshal.GetLastPInvokeError() != alreadyLoaded)
            throw Failure("finit_module", path);
    }

    /// <summary>Random bytes from the kernel. .NET's own generator needs OpenSSL, which the initrd does not hold.</summary>
    public static void FillRandom(Span<byte> bytes)
    {
        fixed (byte* start = bytes)
        {
            // Up to 256 bytes come whole and uninterrupted once the pool is ready. https://man7.org/linux/man-pages/man2/getrandom.2.html
            if (bytes.Length > 256 || getrandom(start, (nuint)bytes.Length, 0) != bytes.Length)
                throw Failure("getrandom", $"{bytes.Length} bytes");
        }
    }

    /// <summary>Keeps this process's pages out of the swap device, each from the moment it is used: without the last flag
    /// the kernel would fill all that the runtime has reserved.</summary>
    public static void LockMemory()
    {
        const int currentFutureOnFault = 1 | 2 | 4;
        Check(mlockall(currentFutureOnFault), "mlockall", "current and future pages, on fault");
    }

    /// <summary>No core dump, and no other process of ours may trace this one.</summary>
    public static void ForbidDumps()
    {
        const int setDumpable = 4;
        Check(prctl(setDumpable, 0, 0, 0, 0), "prctl", "PR_SET_DUMPABLE");
    }

    public static int Ioctl(SafeHandle file, nuint request, void* argument) => ioctl((int)file.DangerousGetHandle(), request, argument);

    /// <summary>Waits until a terminal has sent what was written to it. On anything else: nothing to wait for.</summary>
    public static void Drain(SafeHandle terminal) => _ = tcdrain((int)terminal.DangerousGetHandle());

    /// <summary>Lets no Ctrl-S from a terminal's far end stop what is written to it; one that stopped it before goes on. On
    /// anything else: nothing to do. https://man7.org/linux/man-pages/man3/termios.3.html, IXON</summary>
    public static void IgnoreStopCharacter(SafeHandle terminal)
    {
        const nuint getSettings = 0x5401, setSettings = 0x5402; // TCGETS, TCSETS
        const uint stopCharacter = 0x400;
        TerminalSettings settings;
        if (Ioctl(terminal, getSettings, &settings) != 0 || (settings.Input & stopCharacter) == 0)
            return;
        settings.Input &= ~stopCharacter;
        _ = Ioctl(terminal, setSettings, &settings);
    }

    public static void Signal(int processId, int signal) => Check(kill(processId, signal), "kill", $"signal {signal} to {processId}");

    /// <summary>With the mode that the file system gives it.</summary>
    public static void MakeCharacterDevice(string path, uint major, uint minor)
    {
        const uint character = 0x2000; // S_IFCHR
        // The layout of numbers below 256, as makedev(3) has them.
        Check(mknod(path, character, (major << 8) | minor), "mknod", path);
    }

    public static void ChangeOwner(string path, uint user, uint group) => Check(chown(path, user, group), "chown", path);

    /// <summary>Makes the folder the root of this process's mount namespace, by moving it over the old one: the way out
    /// of an initrd, whose own root cannot be left behind otherwise.</summary>
    public static void MoveRoot(string root)
    {
        Check(chdir(root), "chdir", root);
        Mount(root, "/", null, MountFlags.Move);
        Check(chroot("."), "chroot", root);
        Check(chdir("/"), "chdir", "/");
    }

    /// <summary>Makes a mount the root of this process's mount namespace and lets go of the old one.
    /// https://man7.org/linux/man-pages/man2/pivot_root.2.html, "pivot_root(".", ".")"</summary>
    public static void PivotRoot(string root)
    {
        Check(chdir(root), "chdir", root);
        Check((int)syscall(PivotRootCall, ".", "."), "pivot_root", root);
        UnmountLazily(".");
        Check(chdir("/"), "chdir", "/");
    }

    /// <summary>This thread, and the program that it becomes, has another network from here on.</summary>
    /// <param name="network">A file below <c>/proc/PID/ns</c>.</param>
    public static void EnterNetwork(string network)
    {
        const int networks = 0x40000000; // CLONE_NEWNET
        using var file = File.OpenHandle(network);
        Check(setns((int)file.DangerousGetHandle(), networks), "setns", network);
    }

    /// <summary>From here on the cgroup that this thread is in is the root of all that it and its programs see of cgroups.</summary>
    public static void EnterOwnCgroupNamespace()
    {
        const int cgroups = 0x02000000; // CLONE_NEWCGROUP
        Check(unshare(cgroups), "unshare", "CLONE_NEWCGROUP");
    }

    /// <summary>Becomes another program, with the environment given and nothing of this process's: does not return.</summary>
    public static Exception Become(string program, IReadOnlyList<string> arguments, IReadOnlyDictionary<string, string> environment)
    {
        // .NET ignores it, and what is ignored stays so: pipelines of shells would not end.
        const int brokenPipe = 13, byDefault = 0;
        _ = signal(brokenPipe, byDefault);
        var path = Marshal.StringToCoTaskMemUTF8(program);
        nint* argv = stackalloc nint[arguments.Count + 2];
        argv[0] = path;
        for (var i = 0; i < arguments.Count; i++)
            argv[i + 1] = Marshal.StringToCoTaskMemUTF8(arguments[i]);
        argv[arguments.Count + 1] = 0;
        nint* envp = stackalloc nint[environment.Count + 1];
        var at = 0;
        foreach (var (name, value) in environment)
            envp[at++] = Marshal.StringToCoTaskMemUTF8($"{name}={value}");
        envp[at] = 0;
        _ = execve(path, argv, envp);
        return Failure("execve", program);
    }

    /// <summary>
    /// Makes this process, which is root's and about to become another program, that of an ordinary user: no group but the user's
    /// own, and no capability in any set that the user's id would not clear. What setpriv(1) does, without its start.
    /// https://man7.org/linux/man-pages/man7/capabilities.7.html, https://docs.kernel.org/userspace-api/no_new_privs.html
    /// </summary>
    /// <param name="capabilities">Those that its programs may gain, by their numbers; none may be gained unless <paramref name="mayGain"/>.</param>
    /// <param name="mayGain">Whether set-user-ID programs work.</param>
    public static void BecomeUser(uint user, IReadOnlyCollection<int> capabilities, bool mayGain)
    {
        const int readBounding = 23, dropBounding = 24, forbidNewPrivileges = 38, ambient = 47, invalid = 22; // EINVAL
        const nuint clearAll = 4;
        if (!mayGain)
            Check(prctl(forbidNewPrivileges, 1, 0, 0, 0), "prctl", "PR_SET_NO_NEW_PRIVS");
        // The kernel knows no capability beyond the first that it calls invalid.
        for (var capability = 0; capability == 0 || prctl(readBounding, (nuint)capability, 0, 0, 0) >= 0 || Marshal.GetLastPInvokeError() != invalid; capability++)
        {
            if (!capabilities.Contains(capability))
                Check(prctl(dropBounding, (nuint)capability, 0, 0, 0), "prctl", $"PR_CAPBSET_DROP {capability}");
        }

        Check(prctl(ambient, clearAll, 0, 0, 0), "prctl", "PR_CAP_AMBIENT_CLEAR_ALL");
        Check(setgroups(0, null), "setgroups", "none");
        Check(setresgid(user, user, user), "setresgid", $"{user}");
        Check(setresuid(user, user, user), "setresuid", $"{user}"); // clears what is effective and permitted
        var header = new CapabilityHeader { Version = CapabilityHeader.Newest };
        ulong* none = stackalloc ulong[] { 0, 0, 0 }; // twice 32 bits of each: effective, permitted, inheritable
        Check(capset(&header, none), "capset", "none");
    }

    /// <summary>Switches the machine off at once, without writing anything back: nothing on it is to be kept, and a disk that
    /// hangs must not keep it alive. On EC2 this terminates an instance whose shutdown behaviour says so.</summary>
    public static Exception PowerOff()
    {
        const int powerOff = 0x4321FEDC;
        _ = reboot(powerOff);
        return Failure("reboot", "LINUX_REBOOT_CMD_POWER_OFF");
    }

    public static Exception Failure(string call, string subject)
    {
        var error = Marshal.GetLastPInvokeError();
        return new Win32Exception(error, $"{call} {subject}: {Marshal.GetPInvokeErrorMessage(error)} (errno {error})");
    }

    private static void Check(int result, string call, string subject)
    {
        if (result != 0)
            throw Failure(call, subject);
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct TimeSpec
    {
        public long Seconds;
        public long Nanoseconds;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct ResourceUsage
    {
        public long UserSeconds;
        public long UserMicroseconds;
        public long SystemSeconds;
        public long SystemMicroseconds;
        public fixed long Rest[14];
    }

    /// <summary>https://man7.org/linux/man-pages/man2/capset.2.html</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct CapabilityHeader
    {
        public const uint Newest = 0x20080522; // _LINUX_CAPABILITY_VERSION_3: 64 bits

        public uint Version;
        public int Thread; // 0: the calling one, which becomes the program
    }

    /// <summary>The kernel's own <c>termios</c>, which is not glibc's.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct TerminalSettings
    {
        public uint Input;
        public uint Output;
        public uint Control;
        public uint Local;
        public fixed byte Rest[20];
    }

    [LibraryImport("libc")]
    private static partial int getpid();

    [LibraryImport("libc", SetLastError = true)]
    private static partial int getrusage(int who, ResourceUsage* usage);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int clock_gettime(int clock, TimeSpec* time);

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int mount(string source, string target, string? type, nuint flags, string? data);

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int umount2(string target, int flags);

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int swapon(string path, int flags);

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int swapoff(string path);

    /// <summary>glibc has no wrapper for it; its number differs by architecture.</summary>
    private static nint FinitModule => RuntimeInformation.ProcessArchitecture == Architecture.Arm64 ? 273 : 313;

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial nint syscall(nint number, nint file, string parameters, nint flags);

    private static nint PivotRootCall => RuntimeInformation.ProcessArchitecture == Architecture.Arm64 ? 41 : 155;

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial nint syscall(nint number, string newRoot, string oldRoot);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint getrandom(byte* buffer, nuint length, uint flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int mlockall(int flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int prctl(int option, nuint a, nuint b, nuint c, nuint d);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int ioctl(int file, nuint request, void* argument);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int kill(int processId, int signal);

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int mknod(string path, uint mode, nuint device);

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int chown(string path, uint user, uint group);

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int chroot(string path);

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int chdir(string path);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int execve(nint path, nint* arguments, nint* environment);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int unshare(int flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int setns(int file, int kind);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int setgroups(nuint count, uint* groups);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int setresgid(uint real, uint effective, uint saved);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int setresuid(uint real, uint effective, uint saved);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int capset(CapabilityHeader* header, ulong* sets);

    [LibraryImport("libc")]
    private static partial nint signal(int number, nint handler);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int tcdrain(int file);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int reboot(int command);
}
