using Mayfly.Contract;
using Xunit;

namespace Mayfly.Machine.Tests;

/// <summary>
/// Jobs that try to break out, as the runner's user and, where the launch allows sudo, as root of the sandbox. Each attempt is
/// a shell command that succeeds if the job gets through.
/// </summary>
public sealed class SandboxTests
{
    private const string Token = "-s --max-time 5 -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' http://169.254.169.254/latest/api/token";

    /// <summary>For perl, which has no debugger in the image but can make system calls: PTRACE_ATTACH.</summary>
    private const string Attach = "sub attach { require Config; syscall($Config::Config{archname} =~ /aarch64/ ? 117 : 101, 16, int $_[0], 0, 0) == 0 }";

    /// <summary>The same: ids of all processes in sight but its own.</summary>
    private const string Others = "grep { $_ != $$ } map { m{(\\d+)$} } glob q(/proc/[0-9]*)";

    /// <summary>Neither the job's user nor the sandbox's root gets through.</summary>
    private static readonly (string Name, string Command)[] Attempts =
    [
        // The metadata service
        ("read metadata", $"curl {Token}"),
        ("read metadata by IPv6", $"curl {Token.Replace("169.254.169.254", "[fd00:ec2::254]", StringComparison.Ordinal)}"),
        ("read metadata from a namespace that a container would have", $"unshare --user --map-root-user --mount --pid --fork curl {Token}"),
        ("read metadata through a process that outlives its parent", $"(setsid -f curl {Token} -o /tmp/token; sleep 6); grep -q . /tmp/token"),
        ("read metadata through systemd", $"systemd-run --wait curl {Token}"),
        ("mark packets as the agent does", "perl -MSocket -e 'socket(S, AF_INET, SOCK_STREAM, 0) && setsockopt(S, 1, 36, pack(q(l), 0x6d66)) or exit 1'"),
        ("send packets past the rules", "perl -e 'socket(S, 17, 3, 768) or exit 1'"),
        ("flush the rules", "/usr/sbin/nft flush ruleset"),

        // The agent
        ("see the agent", "grep -l 'mayfly-agen[t]' /proc/[0-9]*/cmdline"),
        ("kill the agent", "kill -KILL $(grep -lE '^(mayfly-agent|systemd)$' /proc/[0-9]*/comm | cut -d / -f 3)"),
        ("signal a process that is out of sight", "perl -e 'for (2 .. 32768) { kill(0, $_) and !-e qq(/proc/$_) and print(qq($_\\n)), exit 0 } exit 1'"),
        ("end the first process of the sandbox", "kill -KILL 1 && sleep 1 && ! kill -0 1"),
        ("trace a process that it did not start", $"perl -e '{Attach} for ({Others}) {{ attach($_) and print(qq($_\\n)), exit 0 }} exit 1'"),
        ("read the memory of a process that it did not start",
            $"perl -e 'for my $p ({Others}) {{ open my $m, q(<), qq(/proc/$p/maps) or next; my ($a) = <$m> =~ /^([0-9a-f]+)/ or next; open my $f, q(<), qq(/proc/$p/mem) or next; sysseek($f, hex $a, 0) and sysread($f, my $b, 16) and print(qq($p\\n)), exit 0 }} exit 1'"),
        ("read the handover", "cat /run/mayfly/handover.json"),
        ("find the configuration in an environment", "cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n' | grep -iE 'jitconfig|rsaparams|AWS_'"),
        ("find the key of the runner in a command line", "cat /proc/[0-9]*/cmdline | tr '\\0' '\\n' | grep -F \"$(grep -o '.d.:.[A-Za-z0-9+/]\\{32\\}' /run/actions-runner/.credentials_rsaparams | tail -c 33)\""),
        ("leave the cgroup", "echo $$ > /sys/fs/cgroup/cgroup.procs"),
        ("lift the limit on processes", "echo max > /sys/fs/cgroup/pids.max"),
        ("mount the cgroups anew", "unshare --user --map-root-user --mount --cgroup sh -c 'mount -t cgroup2 none /mnt && echo max > /mnt/pids.max'"),
        ("change the programs of the runner", "echo x >> /run/actions-runner/bin/Runner.Listener"),

        // The machine
        ("see the disks", "ls /dev/nvme* /dev/dm-* /dev/mapper /dev/zram*"),
        ("make a device file", "mknod /tmp/disk b 259 0 && head -c 1 /tmp/disk"),
        ("ask device-mapper for its keys", "mknod /tmp/control c 10 236 && head -c 1 /tmp/control"),
        ("write to the console", "test -c /dev/ttyS0 && echo 'mayfly: end {}' > /dev/ttyS0"),
        ("write to the kernel log", "test -c /dev/kmsg && echo 'mayfly: end {}' > /dev/kmsg"),
        ("make the kernel start a program", "echo '|/tmp/planted' > /proc/sys/kernel/core_pattern"),
        ("load a module", "/usr/sbin/modprobe dummy"),
        ("remount", "mount -o remount,rw /sys"),
        ("take a cover off", "umount /proc/sys || umount /sys/fs/cgroup"),
        ("take a cover off from a namespace that a container would have", "unshare --user --map-root-user --mount umount /sys/fs/cgroup"),
        ("mount a file system", "mount -t tmpfs none /mnt"),
        ("speak to systemd", "systemctl daemon-reload"),
        ("find a listening socket that no file stands for", "grep -E '^[0-9a-f]+: [0-9A-F]+ [0-9A-F]+ 00010000 .* @' /proc/net/unix"),
        ("stop the timer that ends the machine", "systemctl stop mayfly-deadman.timer mayfly-ceiling.timer"),
        ("hold up a shutdown", "systemd-inhibit --what=shutdown --mode=block true"),
        ("stop the machine", "systemctl --force --force poweroff"),
        ("restart the machine", "echo b > /proc/sysrq-trigger"),
        ("change the clock", "date -s 2001-01-01"),
    ];

    /// <summary>What only a user without sudo does not get through to; the sandbox's root changes its own view.</summary>
    private static readonly (string Name, string Command)[] UsersAttempts =
    [
        ("become root", "setpriv --reuid=0 true"),
        ("use a set-user-ID program", "su -c true"),
        ("use sudo", "sudo -n true"),
        ("write the root", "touch /usr/bin/planted"),
        ("write the agent", "echo x >> /usr/lib/mayfly/mayfly-agent"),
        ("own a capability", "grep -E '^Cap(Inh|Prm|Eff|Bnd|Amb):' /proc/self/status | grep -v 0000000000000000"),
    ];

    /// <summary>What ordinary jobs rely on; each has to succeed.</summary>
    private static readonly (string Name, string Command)[] Uses =
    [
        ("files are made for all to read", "test \"$(umask)\" = 0022"),
        ("the kernel ends the job before the agent when memory is short", "test \"$(cat /proc/self/oom_score_adj)\" = 500"),
        ("orphans are buried", "(setsid -f true; sleep 1); ! grep -l '^State:.Z' /proc/[0-9]*/status"),
        ("terminals, shared memory and queues are there", "test -c /dev/ptmx && test -w /dev/shm && test -d /dev/mqueue && test -L /dev/fd"),
        ("a container without root can have processes of its own", "unshare --user --map-root-user --mount --pid --fork --mount-proc sh -c 'test $$ = 1 && test -d /proc/1'"),
        ("names can be asked for", "test -s /etc/resolv.conf"),
        ("the home folder belongs to the user", "touch ~/mine"),
        ("KVM is there where the processor offers it", "! grep -qwE 'vmx|svm' /proc/cpuinfo || { (exec 3<> /dev/kvm) && test -d /sys/module/kvm; }"),
        ("device files for containers load what serves them", "(exec 3<> /dev/fuse) && test -d /sys/module/fuse && test -c /dev/net/tun"),
        ("a debugger traces what it has started", $"perl -e '{Attach} my $p = fork; $p or sleep(60), exit; my $held = !attach($p); kill 9, $p; exit $held'"),
        ("the high-water mark can be read", "test \"$(cat /sys/fs/cgroup/memory.peak)\" -gt 0"),
    ];

    /// <summary>Left behind by a job, it ends by nothing that a process can refuse.</summary>
    private const string Stubborn = "setsid perl -e '$SIG{$_} = q(IGNORE) for keys %SIG; sleep 3600' < /dev/null > /dev/null 2>&1 &";

    [Fact]
    public async Task A_job_breaks_out_of_nothing_and_every_guarantee_holds_meanwhile()
    {
        await using var bed = await Bed.MakeAsync(tags: new Dictionary<string, string> { [Tags.Check] = "true" });

        var output = await bed.RunJobAsync([
            Stubborn,
            .. Attempts.Concat(UsersAttempts).Select(a => Try(a.Name, a.Command)),
            .. Uses.Select(u => $"if {{ {u.Command}; }} > /tmp/out 2>&1; then echo 'works: {u.Name}'; else echo 'FAILS: {u.Name}'; cat /tmp/out; fi"),
            bed.StepUntilChecked()]);

        Assert.Equal([.. Attempts.Concat(UsersAttempts).Select(a => $"held: {a.Name}"), .. Uses.Select(u => $"works: {u.Name}")], output);
        AssertEnded(bed);
        var guarantees = bed.Ending!.Events.Select(e => e.Detail).Where(d => d.StartsWith("check ", StringComparison.Ordinal)).ToList();
        Assert.Equal(Bed.Guarantees, guarantees.Count);
        Assert.All(guarantees, guarantee => Assert.StartsWith("check holds", guarantee, StringComparison.Ordinal));
    }

    [Fact]
    public async Task With_sudo_a_job_breaks_out_of_nothing_but_its_user()
    {
        await using var bed = await Bed.MakeAsync(tags: new Dictionary<string, string> { [Tags.Sudo] = "true" });

        var output = await bed.RunJobAsync([
            $"sudo -n sh -c {Quoted(Stubborn)}",
            "sudo -n id -u",
            "sudo -n sh -c 'touch /usr/bin/planted && echo x >> /usr/lib/mayfly/mayfly-agent && echo /planted.so > /etc/ld.so.preload.planted' && echo 'changed the view'",
            .. Attempts.Select(a => $"cat > /tmp/attempt <<'END'\n{Try(a.Name, a.Command)}\nEND\nsudo -n bash /tmp/attempt")]);

        Assert.Equal(["0", "changed the view", .. Attempts.Select(a => $"held: {a.Name}")], output);
        AssertEnded(bed);
        Assert.Contains(bed.Ending!.Events, e => e.Name == Milestone.RunnerStarted && e.Detail.Contains("may use sudo", StringComparison.Ordinal));
    }

    [Fact]
    public async Task With_sudo_a_job_that_takes_all_memory_processes_and_disk_still_ends_as_a_job()
    {
        await using var bed = await Bed.MakeAsync(instanceType: "t3.micro", volumeGiB: 1, tags: new Dictionary<string, string> { [Tags.Sudo] = "true" });

        var output = await bed.RunJobAsync(
            // What it can reach of limits it lifts, from a cgroup namespace nested in one that it has mounted.
            "sudo -n unshare --user --map-root-user --mount --cgroup sh -c 'mount -t cgroup2 none /mnt && mkdir /mnt/nested && echo 0 > /mnt/nested/cgroup.procs"
                + " && unshare --cgroup sh -c \"echo max > /mnt/pids.max && echo max > /mnt/memory.max\"' && echo 'some limits are lifted'",
            "{ head -c 8G /dev/zero | tail > /dev/null; } 2> /dev/null || echo 'killed for its memory'",
            // 192 MiB are not the job's. The mark counts what was asked for at last, up to a huge page or two, and refused above.
            "peak=$(cat /sys/fs/cgroup/memory.peak) total=$(sed -n 's/MemTotal: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo); test $peak -le $((total * 1024 - (184 << 20))) && echo 'memory was limited' || echo \"$peak of $total KiB\"",
            "head -c 2G /dev/zero > fill 2> /tmp/out || echo 'the disk is full'",
            "rm fill",
            "perl -e 'open my $m, q(/proc/meminfo); my ($k) = <$m> =~ /(\\d+)/; for (0 .. $k / 256) { my $p = fork; defined $p or print(qq(no more processes\\n)), exit; $p or sleep 3600 }'");

        Assert.Equal(["some limits are lifted", "killed for its memory", "memory was limited", "the disk is full", "no more processes"], output);
        Assert.Equal("job-succeeded", bed.Ending?.Ending);
        Assert.Contains(bed.Ending!.Events, e => e.Detail.Contains("out of memory", StringComparison.Ordinal));
    }

    /// <summary>As a job that did nothing of it: by the agent's own power-off, which the kernel carried out.</summary>
    private static void AssertEnded(Bed bed)
    {
        Assert.Equal("job-succeeded", bed.Ending?.Ending);
        Assert.Equal("Client.InstanceInitiatedShutdown", Assert.Single(bed.Lab.Fleet.Instances).Reason.Code);
        Assert.DoesNotContain(bed.Console, line => line.Contains("the power-off ", StringComparison.Ordinal) || line.Contains("outlived every limit", StringComparison.Ordinal));
    }

    private static string Quoted(string command) => $"'{command.Replace("'", "'\\''", StringComparison.Ordinal)}'";

    private static string Try(string name, string command) =>
        $"if {{ {command}; }} > /tmp/out 2>&1; then echo 'GOT THROUGH: {name}'; cat /tmp/out; else echo 'held: {name}'; fi";
}
