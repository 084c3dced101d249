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
    /// </summary>
    private const string RootsCapabilities =
        "-all,+chown,+dac_override,+fowner,+fsetid,+kill,+setgid,+setuid,+setpcap,+net_bind_service,+sys_chroot,+audit_write,+setfcap,+sys_nice";

    /// <summary>
    /// A program and arguments, to be run as the runner's user: no other group and no capability. Without sudo none is left
    /// even in the bounding set, and there is no way to gain any (no-new-privileges disarms set-user-ID programs).
    /// </summary>
    public static string[] Command(bool sudo, params ReadOnlySpan<string> programAndArguments) =>
    [
        "/usr/bin/setpriv", "--reuid=1001", "--regid=1001", "--clear-groups", "--inh-caps=-all", "--ambient-caps=-all",
        .. sudo ? [$"--bounding-set={RootsCapabilities}"] : (string[])["--no-new-privs", "--bounding-set=-all"], "--", .. programAndArguments,
    ];
}
