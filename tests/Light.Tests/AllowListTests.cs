using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Mayfly.Contract;
using Mayfly.Lab.Machines;
using Xunit;

namespace Mayfly.Light.Tests;

/// <summary>An allow list by name, with a name server and two web servers in the lab's network.</summary>
public sealed class AllowListTests(LightBed bed)
{
    private static readonly IPAddress Listed = IPAddress.Parse("10.99.0.2");
    private static readonly IPAddress Unlisted = IPAddress.Parse("10.99.0.3");

    [Fact]
    public async Task An_allow_list_lets_through_what_is_named_and_refuses_all_else_at_once()
    {
        var run = await bed.LaunchAsync(spot: false, null, null, (Tags.Egress, "allow"), (Tags.EgressAllow, $"{LabNetwork.Inside} listed.example *.below.example"));
        using var names = ServeNames([], ("listed.example", Listed), ("a.below.example", Listed), ("unlisted.example", Unlisted));
        using var listed = await ServeAsync(Listed);
        using var unlisted = await ServeAsync(Unlisted);

        // curl's exit codes: 6 no such name, 7 refused, 28 no answer in time.
        var job = await run.QueueAsync([
            "curl -s --max-time 10 http://10.99.0.2:8080/ || echo $?",
            "curl -s --max-time 10 http://unlisted.example:8080/ || echo $?",
            "curl -s --max-time 10 http://10.99.0.3:8080/ || echo $?",
            "curl -s --max-time 10 --resolve unlisted.example:8080:10.99.0.3 http://unlisted.example:8080/ || echo $?",
            "curl -s --max-time 10 http://listed.example:8080/",
            "curl -s --max-time 10 http://A.Below.Example:8080/",
            "curl -s --max-time 10 http://10.99.0.2:8080/",
            "unshare --user --map-root-user curl -s --max-time 10 http://10.99.0.3:8080/ || echo $?",
        ]);

        Assert.Equal("job-succeeded", (await run.EndAsync()).Ending);
        Assert.Equal(["7", "6", "7", "7", "10.99.0.2", "10.99.0.2", "10.99.0.2", "7"], bed.Lab.GitHub.Broker.StepsOutput(job.Id));
        Assert.Contains("egress denied: name unlisted.example", run.Notes());
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Under_an_allow_list_no_name_server_of_the_machine_but_the_agents_can_be_asked(bool sudo)
    {
        var run = await bed.LaunchAsync(spot: false, null, null,
            (Tags.Egress, "allow"), (Tags.EgressAllow, $"{LabNetwork.Inside} listed.example"), (Tags.Sudo, sudo ? "true" : "false"));
        var asked = new ConcurrentQueue<string>();
        using var names = ServeNames(asked, ("listed.example", Listed), ("unlisted.example", Unlisted));

        // Where systemd-resolved, should an image have it, listens by default (systemd-resolved.service(8)), by both ways.
        var become = sudo ? "sudo -n " : "";
        var job = await run.QueueAsync([
            become + Ask("127.0.0.53", "udp"), become + Ask("127.0.0.53", "tcp"), become + Ask("127.0.0.54", "udp"), become + Ask("127.0.0.54", "tcp"),
            become + Ask("127.0.0.153", "udp"),
            "getent ahostsv4 listed.example | head -n 1 | cut -d ' ' -f 1",
        ]);

        Assert.Equal("job-succeeded", (await run.EndAsync()).Ending);
        Assert.Equal(["refused", "refused", "refused", "refused", "answered", "10.99.0.2"], bed.Lab.GitHub.Broker.StepsOutput(job.Id));
        Assert.Contains("listed.example", asked);
        Assert.DoesNotContain("unlisted.example", asked);
    }

    [Fact]
    public async Task With_sudo_an_allow_list_does_not_keep_the_agent_from_AWS()
    {
        // Neither the lab's AWS, nor its name server, nor its GitHub is on the list.
        using var names = ServeNames([], ("aws.example", LabNetwork.Inside));
        var run = await bed.LaunchAsync(spot: false, null, null, (Tags.Egress, "allow"), (Tags.EgressAllow, $"{Listed}"), (Tags.Sudo, "true"),
            (LightBed.AwsHostTag, "aws.example"), (LightBed.ArgumentTag, "--drop-capability=CAP_SYS_BOOT"));
        await run.WaitForAsync(Milestone.RunnerStarted);

        var check = await run.Machine.RunAsync("/usr/lib/mayfly/mayfly-agent check || true");
        await run.Machine.RunAsync("systemctl stop --no-block mayfly-agent");

        await run.TerminatedAsync();
        Assert.Contains("holds  the configuration is gone from its source", check, StringComparison.Ordinal);
        // Its power-off is refused, so it asks EC2.
        Assert.Equal("Client.UserInitiatedShutdown", run.Instance.Reason.Code);
    }

    [Fact]
    public async Task With_sudo_an_allow_list_lets_nothing_pass_for_a_question_to_DHCP()
    {
        var run = await bed.LaunchAsync(spot: false, null, null, (Tags.Egress, "allow"), (Tags.EgressAllow, $"{LabNetwork.Inside}"), (Tags.Sudo, "true"));
        await LayAsync(Unlisted);
        using var unlisted = new UdpClient(new IPEndPoint(Unlisted, 67));

        var job = await run.QueueAsync([
            $"sudo -n perl -MIO::Socket::INET -e 'my $s = IO::Socket::INET->new(LocalPort => 68, PeerAddr => q({Unlisted}), PeerPort => 67, Proto => q(udp)) or die $!; print $s->send(q(secret)) ? qq(sent\n) : qq(refused\n)'",
        ]);

        Assert.Equal("job-succeeded", (await run.EndAsync()).Ending);
        Assert.Equal(["refused"], bed.Lab.GitHub.Broker.StepsOutput(job.Id));
        Assert.Equal(0, unlisted.Available);
    }

    [Fact]
    public async Task A_list_that_cannot_be_read_runs_no_job()
    {
        var run = await bed.LaunchAsync(spot: false, null, null, (Tags.Egress, "allow"), (Tags.EgressAllow, "https://github.com"));

        var ending = await run.EndAsync();

        Assert.Equal("door-not-closed", ending.Ending);
        Assert.Contains("'https://github.com'", ending.Detail, StringComparison.Ordinal);
    }

    /// <summary>Answers with the address that it was asked at.</summary>
    private static async Task<TcpListener> ServeAsync(IPAddress address)
    {
        await LayAsync(address);
        var server = new TcpListener(address, 8080);
        server.Start();
        _ = AnswerAsync();
        return server;

        async Task AnswerAsync()
        {
            while (true)
            {
                using var client = await server.AcceptTcpClientAsync();
                await using var stream = client.GetStream();
                _ = await stream.ReadAsync(new byte[4096]);
                await stream.WriteAsync(Encoding.ASCII.GetBytes($"HTTP/1.0 200 OK\r\nContent-Length: {address.ToString().Length + 1}\r\n\r\n{address}\n"));
            }
        }
    }

    /// <summary>Lays an address into the lab's network.</summary>
    private static Task LayAsync(IPAddress address) => Process.Start("ip", ["addr", "replace", $"{address}/32", "dev", "lo"]).WaitForExitAsync();

    /// <summary>A shell command that asks a name server for <c>unlisted.example</c>, and says whether it is answered at all.</summary>
    private static string Ask(string server, string protocol) =>
        $"perl -MIO::Socket::INET -MIO::Select -e 'my $s = IO::Socket::INET->new(PeerAddr => q({server}), PeerPort => 53, Proto => q({protocol})) or print(qq(refused\n)), exit; "
        + "my $q = pack(q(H24 C/a C/a C n n), q(123401000001000000000000), q(unlisted), q(example), 0, 1, 1); "
        + $"$s->send(q({protocol}) eq q(tcp) ? pack(q(n/a), $q) : $q); print IO::Select->new($s)->can_read(5) && sysread($s, my $a, 512) ? qq(answered\n) : qq(refused\n)'";

    /// <summary>Answers questions for IPv4 addresses, and others with nothing.</summary>
    /// <param name="asked">Gets each name that is asked for.</param>
    private static UdpClient ServeNames(ConcurrentQueue<string> asked, params (string Name, IPAddress Address)[] names)
    {
        var server = new UdpClient(new IPEndPoint(LabNetwork.Inside, 53));
        _ = AnswerAsync();
        return server;

        async Task AnswerAsync()
        {
            while (true)
            {
                var question = await server.ReceiveAsync();
                var query = question.Buffer;
                var end = query.AsSpan(12).IndexOf((byte)0) + 5; // name, type and class
                var name = Labels(Encoding.ASCII.GetString(query, 13, end - 6));
                asked.Enqueue(name);
                var address = names.FirstOrDefault(n => n.Name == name).Address;
                var isAddress = query[12 + end - 3] == 1;
                byte[] answer = address is null || !isAddress
                    ? [.. query[..2], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0, .. query[12..(12 + end)]]
                    : [.. query[..2], 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0, .. query[12..(12 + end)], 0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, .. address.GetAddressBytes()];
                try
                {
                    await server.SendAsync(answer, question.RemoteEndPoint);
                }
                catch (SocketException)
                {
                    // another test's machine asked, and has gone
                }
            }
        }
    }

    /// <summary>A name as it stands in a message, less its first length: what is no letter is another label's length.</summary>
    private static string Labels(string name) => string.Concat(name.Select(c => c < 32 ? '.' : char.ToLowerInvariant(c)));
}
