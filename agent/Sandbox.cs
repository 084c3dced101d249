using System.Globalization;

namespace Mayfly.Agent;

/// <summary>
/// What the job sees of the machine: its own view of the file system, its own processes, and nothing of the agent. Made of
/// namespaces, so that it also holds against a job that may use sudo: that root has neither the capabilities to leave it nor
/// anything of the system within its sight.
/// https://man7.org/linux/man-pages/man7/namespaces.7.html, https://man7.org/linux/man-pages/man7/capabilities.7.html
/// </summary>
internal static class Sandbox
{
    public const string Entry = "enter-sandbox";

    /// <summary>Exit code of an entry that failed, as container engines have it; the runner knows no such code.</summary>
    public const int Failed = 125;

    /// <summary>Where the sandbox finds the runner's root.</summary>
    public const string RunnerRoot = "/run/" + RunnerFolder;

    private const string RunnerFolder = "actions-runner";

    /// <summary>Where the agent has laid that out, out of the sandbox's sight.</summary>
    public const string RunnerRootOutside = Handover.Folder + "/runner";

    private const Kernel.MountFlags Closed = Kernel.MountFlags.NoSetUid | Kernel.MountFlags.NoDevices | Kernel.MountFlags.NoExec;

    /// <summary>Device files that programs expect and that reach nothing: those of every container, and what containers
    /// within the job (fuse, tun) and virtual machines (kvm, where the instance type has it) need.</summary>
    private static readonly IReadOnlyList<string> Devices = ["null", "zero", "full", "random", "urandom", "tty", "fuse", "net/tun", "kvm"];

    /// <summary>
    /// For the sandbox's root: the kernel's switches, through which it could otherwise start programs outside (core_pattern)
    /// or restart the machine. The job's user may write none of them anyway; and a /proc that is covered up cannot be mounted
    /// anew for a container without root.
    /// </summary>
    private static readonly IReadOnlyList<string> ReadOnlyForRoot = ["sys", "irq", "bus", "fs", "sysrq-trigger"];

    /// <summary>For the sandbox's root: the machine's memory and keys.</summary>
    private static readonly IReadOnlyList<string> HiddenFromRoot = ["kcore", "keys", "kmsg", "timer_list"];

    /// <summary>A program and arguments, to be started by the agent as a job's first: in new namespaces for mounts, processes
    /// and System V objects, behind which the agent's own entry goes into the job's cgroup, shapes the view, waits for its word and
    /// becomes the program.</summary>
    /// <param name="processList">Of the job's cgroup.</param>
    public static string[] Command(string agent, string processList, params ReadOnlySpan<string> program) =>
        ["/usr/bin/unshare", "--mount", "--pid", "--ipc", "--fork", "--", agent, Entry, Handover.JobRoot, processList, .. program];

    /// <summary>What the entry says where the image has a container engine, once it has laid the view: from then on that may enter it.</summary>
    private const string Laid = "laid";

    /// <summary>What the entry waits for: a line that says whether the job may use sudo, how long the rest is and whose network
    /// it shares, and its <c>resolv.conf</c>.</summary>
    /// <param name="networkProcess">A process of that network, by its id inside; null for the machine's own.</param>
    public static string Word(bool sudo, int? networkProcess, string resolver) =>
        string.Create(CultureInfo.InvariantCulture, $"{(sudo ? "sudo" : "no-sudo")} {resolver.Length} {networkProcess}\n{resolver}");

    /// <summary>Whom the network says to ask for names; empty for nobody.</summary>
    public static string NetworksResolver() => File.Exists(NameServers.ResolvConf) ? File.ReadAllText(NameServers.ResolvConf) : "";

    /// <summary>Shapes the view, waits for the word and becomes the program. To be called by the first process of new namespaces,
    /// whose mounts unshare(1) has made private. Nothing that can be done before the word is left for after it. Does not return.</summary>
    /// <exception cref="EndOfStreamException">No word came, or not all of it: the agent has gone.</exception>
    public static Exception Enter(string root, string processList, Stream words, TextWriter output, string[] program)
    {
        // Before it becomes anything else: nothing of the job ever runs outside.
        File.WriteAllText(processList, "0");
        Kernel.EnterOwnCgroupNamespace();
        Kernel.Mount("proc", root + "/proc", "proc", Closed);
        Kernel.Mount("sysfs", root + "/sys", "sysfs", Engine.IsInstalled ? Closed : Closed | Kernel.MountFlags.ReadOnly);
        Kernel.Mount("cgroup2", root + "/sys/fs/cgroup", "cgroup2", Closed | Kernel.MountFlags.ReadOnly);
        LayDevices(root + "/dev");
        LayRun(root + "/run");
        // The agent is the last that the kernel may kill for memory; what a job started goes first.
        File.WriteAllText("/proc/self/oom_score_adj", "500");
        Kernel.PivotRoot(root);

        if (Engine.IsInstalled)
        {
            output.WriteLine(Laid);
            output.Flush();
        }

        var (sudo, resolver, network) = ReadWord(words);
        if (resolver.Length > 0)
            File.WriteAllText(NameServers.ResolvConf, resolver);
        // Only now: a container engine that has cloned the view keeps what a container with all privileges expects, and writes
        // to nothing there that is root's.
        if (Engine.IsInstalled)
            Kernel.Mount("none", "/sys", null, Kernel.MountFlags.Bind | Kernel.MountFlags.Remount | Kernel.MountFlags.ReadOnly | Closed);
        if (sudo)
        {
            CoverProcesses();
            AllowSudo();
        }

        if (network.Length > 0)
            Kernel.EnterNetwork($"/proc/{network}/ns/net");
        return RunnerUser.Become(sudo, program[0], program[1..]);
    }

    private static (bool Sudo, string Resolver, string Network) ReadWord(Stream words)
    {
        using var reader = new StreamReader(words);
        return reader.ReadLine()?.Split(' ') is [("sudo" or "no-sudo") and var may, var length, var network]
            && reader.ReadToEnd() is var resolver && int.TryParse(length, NumberStyles.None, CultureInfo.InvariantCulture, out var wanted) && resolver.Length == wanted
            ? (may == "sudo", resolver, network)
            : throw new EndOfStreamException("the agent has gone before it let the runner in");
    }

    private static void CoverProcesses()
    {
        // What the kernel was built without needs no cover.
        foreach (var path in ReadOnlyForRoot.Select(name => "/proc/" + name).Where(Path.Exists))
            Kernel.BindReadOnly(path, path);
        foreach (var path in HiddenFromRoot.Select(name => "/proc/" + name).Where(Path.Exists))
            Kernel.Mount("/dev/null", path, null, Kernel.MountFlags.Bind);
    }

    private static void LayDevices(string dev)
    {
        Kernel.Mount("tmpfs", dev, "tmpfs", Closed, "mode=0755,size=64k");
        foreach (var name in Devices.Where(name => File.Exists("/dev/" + name)))
        {
            var target = $"{dev}/{name}";
            Directory.CreateDirectory(Path.GetDirectoryName(target)!);
            File.Create(target).Dispose();
            Kernel.Mount("/dev/" + name, target, null, Kernel.MountFlags.Bind);
        }

        foreach (var (link, to) in (ReadOnlySpan<(string, string)>)[
            ("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"), ("stdout", "/proc/self/fd/1"), ("stderr", "/proc/self/fd/2"), ("ptmx", "pts/ptmx")])
        {
            File.CreateSymbolicLink($"{dev}/{link}", to);
        }

        Directory.CreateDirectory(dev + "/pts");
        Kernel.Mount("devpts", dev + "/pts", "devpts", Kernel.MountFlags.NoSetUid | Kernel.MountFlags.NoExec, "newinstance,ptmxmode=0666,mode=0620,gid=5");
        Directory.CreateDirectory(dev + "/shm");
        Kernel.Mount("tmpfs", dev + "/shm", "tmpfs", Kernel.MountFlags.NoSetUid | Kernel.MountFlags.NoDevices, "mode=1777");
        Directory.CreateDirectory(dev + "/mqueue");
        Kernel.Mount("mqueue", dev + "/mqueue", "mqueue", Closed);
    }

    /// <summary>Of the system's /run nothing but where to ask for names: systemd's own sockets obey user 0.</summary>
    private static void LayRun(string run)
    {
        Kernel.Mount("tmpfs", run, "tmpfs", Kernel.MountFlags.NoSetUid | Kernel.MountFlags.NoDevices, "mode=0755,size=20%");
        Directory.CreateDirectory(run + "/lock");
        File.SetUnixFileMode(run + "/lock", (UnixFileMode)0b001_111_111_111);
        Directory.CreateDirectory(run + "/systemd/resolve");
        var facts = run + Facts.FolderInside["/run".Length..];
        Directory.CreateDirectory(facts);
        Kernel.BindReadOnly(Facts.Folder, facts);
        var runner = $"{run}/{RunnerFolder}";
        Directory.CreateDirectory(runner);
        Kernel.Mount(RunnerRootOutside, runner, null, Kernel.MountFlags.Bind | Kernel.MountFlags.Recursive);
    }

    private static void AllowSudo()
    {
        const string rule = "/etc/sudoers.d/mayfly";
        File.WriteAllText(rule, $"{RunnerUser.Name} ALL=(ALL:ALL) NOPASSWD: ALL\n");
        File.SetUnixFileMode(rule, UnixFileMode.UserRead | UnixFileMode.GroupRead);
    }
}
