namespace Mayfly.Agent;

/// <summary>The unprivileged user that the runner and its job run as; made by the image.</summary>
internal static class RunnerUser
{
    public const string Name = "runner";
    public const uint Id = 1001;
    public const string Home = "/home/runner";

    /// <summary>
    /// What the sandbox's root may do: own files, change users, bind low ports; what a package manager needs. Not among them,
    /// with what each would open: SYS_ADMIN (mounts, device-mapper's keys), NET_ADMIN and NET_RAW (the door's rules and mark),
    /// SYS_PTRACE, SYS_MODULE, SYS_RAWIO, SYS_BOOT, MKNOD (the disks), BPF, PERFMON, SYSLOG, SYS_TIME.
    /// Numbers are those of the kernel's uapi header <c>linux/capability.h</c>.
    /// </summary>
    private static readonly IReadOnlyCollection<int> RootsCapabilities =
    [
        0,  // CHOWN
        1,  // DAC_OVERRIDE
        3,  // FOWNER
        4,  // FSETID
        5,  // KILL
        6,  // SETGID
        7,  // SETUID
        8,  // SETPCAP
        10, // NET_BIND_SERVICE
        18, // SYS_CHROOT
        23, // SYS_NICE
        29, // AUDIT_WRITE
        31, // SETFCAP
    ];

    /// <summary>All that the runner and its steps inherit. The two switches make the exit code tell the job's result
    /// and a release that is too old.</summary>
    public static readonly IReadOnlyDictionary<string, string> Environment = new Dictionary<string, string>(Facts.HookVariables)
    {
        ["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        ["HOME"] = Home,
        ["USER"] = Name,
        ["LOGNAME"] = Name,
        ["SHELL"] = "/bin/bash",
        ["LANG"] = "C.UTF-8",
        ["ACTIONS_RUNNER_RETURN_JOB_RESULT_FOR_HOSTED"] = "1",
        ["ACTIONS_RUNNER_RETURN_VERSION_DEPRECATED_EXIT_CODE"] = "1",
    };

    /// <summary>
    /// Becomes a program of the runner's user: no other group and no capability. Without sudo none is left even in the bounding
    /// set, and there is no way to gain any (no-new-privileges disarms set-user-ID programs). Does not return.
    /// </summary>
    public static Exception Become(bool sudo, string program, IReadOnlyList<string> arguments)
    {
        Kernel.BecomeUser(Id, sudo ? RootsCapabilities : [], mayGain: sudo);
        return Kernel.Become(program, arguments, Environment);
    }
}
