using Mayfly.Contract;
using Mayfly.Lab.Machines;
using Xunit;

namespace Mayfly.Machine.Tests;

/// <summary>
/// A job on the docker toolset: containers work as a job expects them to, and whoever has the engine's socket gets no further
/// than a job does. The container image is made of the machine's own bash and perl; no registry is asked.
/// </summary>
public sealed class DockerTests
{
    /// <summary>A dozen large programs start for each container, which takes an emulated machine seconds.</summary>
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(12);

    private const string Import =
        """
        { for program in bash cat sleep touch perl; do readlink -f /usr/bin/$program; ldd /usr/bin/$program | grep -o '/[^ ]*'; done; ls -d /usr/lib/*/perl-base; } \
          | sort -u | xargs cp --parents --dereference --recursive --target-directory="$(mktemp --directory --tmpdir=. box.XXX)" && tar -C box.* -c . | docker import - box
        """;

    private const string Serve =
        """perl -MIO::Socket::INET -e 'my $s = IO::Socket::INET->new(LocalPort => 80, Listen => 9) or die $!; while (my $c = $s->accept) { print $c qq(HTTP/1.0 200 OK\r\n\r\nserved\n); close $c }'""";

    /// <summary>What jobs do with containers. Each has to succeed.</summary>
    private static readonly (string Name, string Command)[] Uses =
    [
        ("an image is made from scratch", Import),
        ("a container writes to the folder of the job as its user", "docker run --rm --user $(id -u):$(id -g) --volume $PWD:/w box touch /w/mine && test -O mine"),
        ("an image is built", "mkdir context && printf 'FROM box\\nSHELL [\"/usr/bin/bash\", \"-c\"]\\nRUN touch /built\\n' > context/Dockerfile && docker build --quiet --tag built context"),
        ("an image is built by BuildKit, from nothing", "mkdir kit && echo kept > kit/file && printf 'FROM scratch\\nCOPY file /\\n' > kit/Dockerfile && DOCKER_BUILDKIT=1 docker build --output=kit/out kit && grep -x kept kit/out/file"),
        ("a container has an init, and dies alone of more memory than it may have",
            "docker run --rm --init --memory 32m --memory-swap 32m box bash -c '[[ $(< /proc/1/comm) == docker-init && $(< /sys/fs/cgroup/memory.max) == 33554432 ]] && perl -e \"\\$x = q(x) x 64_000_000\"'; test $? = 137"),
        ("a service runs on a network of its own and offers a port", $"docker network create own && docker run --detach --name service --network own --network-alias web --publish 8080:80 box {Serve}"),
        ("the job reaches the service on its port", "curl -s --retry 20 --retry-all-errors --retry-delay 1 http://localhost:8080/ | grep -x served"),
    ];

    /// <summary>In a container without any privilege, on a network with the service.</summary>
    private static (string Name, string Command)[] UsesInside(int port) =>
    [
        ("a container reaches another by its name", ": < /dev/tcp/web/80"),
        ("a container reaches what the launch names", $": < /dev/tcp/{LabNetwork.Inside}/{port}"),
        ("a container asks the agent for names", "[[ $( (: < /dev/tcp/denied.example/80) 2>&1) == *'not known'* ]]"),
    ];

    /// <summary>What no container gets through to.</summary>
    private static readonly (string Name, string Command)[] Attempts =
    [
        ("read metadata", ": < /dev/tcp/169.254.169.254/80"),
        ("reach what the launch does not name", ": < /dev/tcp/198.51.100.7/80"),
    ];

    private static readonly (string Name, string Command) Privileged = ("a container may do all within its namespaces",
        "nft list ruleset && ip link set lo up && mount -t tmpfs none /mnt && umount /mnt && curl --version && nsenter --target 1 --mount true");

    /// <summary>What no container with all privileges and namespaces that the engine can give gets through to, in the job's whole
    /// view of the file system.</summary>
    private static readonly (string Name, string Command)[] PrivilegedAttempts =
    [
        ("read metadata by the token", "curl -s --max-time 5 -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' http://169.254.169.254/latest/api/token"),
        ("read metadata by the mark of the agent", "perl -MSocket -e 'socket(S, AF_INET, SOCK_STREAM, 0) or exit 1; setsockopt(S, 1, 36, pack(q(l), 0x6d66)) or die; alarm 5; connect(S, sockaddr_in(80, inet_aton(q(169.254.169.254)))) or exit 1'"),
        ("read metadata from another address", "ip address add 192.0.0.3/29 dev eth0 && curl -s --max-time 3 --interface 192.0.0.3 http://169.254.169.254/"),
        ("read metadata from the network of the engine", "nsenter --target 1 --mount --net curl -s --max-time 5 http://169.254.169.254/"),
        ("own user 0 of the machine", "awk '$2 == 0' /proc/self/uid_map /proc/self/gid_map | grep ."),
        ("see the agent", "grep -l 'mayfly-agen[t]' /proc/[0-9]*/cmdline"),
        ("see the runner", "grep -l 'Runner.Listene[r]' /proc/[0-9]*/cmdline"),
        ("read the handover", "cat /run/mayfly/handover.json || nsenter --target 1 --mount --net cat /run/mayfly/handover.json"),
        ("read the memory of the machine", "head -c 1 /proc/kcore || head -c 1 /dev/mem"),
        ("see the disks", "ls /dev/nvme* /dev/dm-* /dev/mapper /dev/zram*"),
        ("make a device file", "mknod /tmp/disk b 259 0 && head -c 1 /tmp/disk"),
        ("write to the kernel log", "test -c /dev/kmsg && echo 'mayfly: end {}' > /dev/kmsg"),
        ("make the kernel start a program", "echo '|/tmp/planted' > /proc/sys/kernel/core_pattern"),
        ("lift the limits", "mount -t cgroup2 none /mnt && { echo max > /mnt/pids.max || echo max > /mnt/memory.max || echo max > /mnt/../pids.max; }"),
        ("use the set-user-ID bit of a program", "test \"$(sudo -n id -u 2>&1)\" = 0"),
        ("load a module", "/usr/sbin/modprobe dummy"),
        ("write the root", "touch /usr/bin/planted"),
        ("change the clock", "date -s 2001-01-01"),
        ("restart the machine", "echo b > /proc/sysrq-trigger"),
        ("flush the rules and read metadata", "/usr/sbin/nft flush ruleset && curl -s --max-time 5 http://169.254.169.254/"),
    ];

    [Fact]
    public async Task A_job_runs_containers_and_breaks_out_of_nothing_by_them()
    {
        // The list names the metadata service too: the door refuses what no policy does.
        await using var bed = await Bed.MakeAsync(Built.DockerImage, tags: new Dictionary<string, string>
        {
            [Tags.Egress] = "allow", [Tags.EgressAllow] = $"{LabNetwork.Inside} 169.254.169.254", [Tags.Check] = "true",
        }, limit: Limit);

        var inside = UsesInside(bed.Lab.AwsAddress.Port);
        var output = await bed.RunJobAsync([
            .. Uses.Select(Use),
            InFile("inside", [.. inside.Select(Use), .. Attempts.Select(Try)]),
            "docker run --rm --network own --volume $PWD:/w box bash /w/inside",
            InFile("privileged", [Use(Privileged), .. PrivilegedAttempts.Select(Try)]),
            "docker run --rm built cat /built",
            "docker run --rm --privileged --network host --pid host --ipc host --uts host --volume /:/host --cgroupns host built perl -e 'chroot q(/host) or die; chdir q(/); exec @ARGV' bash $PWD/privileged",
        ]);

        string[] expected =
            [
                .. Uses.Concat(inside).Select(u => $"works: {u.Name}"), .. Attempts.Select(a => $"held: {a.Name}"),
                $"works: {Privileged.Name}", .. PrivilegedAttempts.Select(a => $"held: {a.Name}"),
            ];
        Assert.True(expected.SequenceEqual(output), string.Join('\n', output)); // what fails says why
        Assert.Equal("job-succeeded", bed.Ending?.Ending);
        Assert.Contains(bed.Ending!.Events, e => e.Detail == "the container engine is asked for and starts");
        Assert.Contains(bed.Ending.Events, e => e.Detail == "egress denied: tcp 198.51.100.7:80");
        Assert.Contains(bed.Ending.Events, e => e.Detail.StartsWith("check holds", StringComparison.Ordinal));
        Assert.DoesNotContain(bed.Ending.Events, e => e.Detail.StartsWith("check FAILS", StringComparison.Ordinal));
    }

    private static string Use((string Name, string Command) use) =>
        $"if said=$({{ {use.Command}; }} 2>&1); then echo 'works: {use.Name}'; else echo 'FAILS: {use.Name}'; echo \"$said\"; fi";

    private static string Try((string Name, string Command) attempt) =>
        $"if said=$({{ {attempt.Command}; }} 2>&1); then echo 'GOT THROUGH: {attempt.Name}'; echo \"$said\"; else echo 'held: {attempt.Name}'; fi";

    private static string InFile(string name, IEnumerable<string> lines) => $"cat > {name} <<'END'\n{string.Join('\n', lines)}\nEND";
}
