using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Mayfly.Contract;
using Mayfly.Lab;
using Xunit;

namespace Mayfly.Agent.Tests;

public sealed class NameServerTests : IDisposable
{
    private const string Allowed = "allowed.example";
    private static readonly IPAddress Address = IPAddress.Parse("192.0.2.7");

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);

    private readonly Socket _above;
    private readonly Socket _aboveByTcp;
    private readonly List<IPAddress> _through = [];
    private readonly List<string> _denied = [];
    private Task _serving = Task.CompletedTask;

    public NameServerTests()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "marking packets needs root: run the tests as root to try the name server");
        (_above, _aboveByTcp) = BindBoth();
        _aboveByTcp.Listen();
        _ = ServeAsync();
        _ = ServeByTcpAsync();
    }

    [Fact]
    public async Task A_permitted_names_addresses_are_let_through_before_they_are_answered()
    {
        using var server = Make("allow");

        var answer = await AskAsync(server, Query(Allowed));

        Assert.Equal([Address], DnsMessage.AddressesIn(answer));
        Assert.Equal([Address], _through);
        Assert.Equal(Allowed, server.NameOf(Address));
    }

    [Fact]
    public async Task A_name_is_asked_for_in_any_case_and_over_tcp()
    {
        using var server = Make("allow");
        using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        await socket.ConnectAsync(server.EndPoint, TestContext.Current.CancellationToken);
        var query = Query("Allowed.EXAMPLE");

        await socket.SendAsync((byte[])[0, (byte)query.Length, .. query], TestContext.Current.CancellationToken);
        var buffer = new byte[512];
        var length = await socket.ReceiveAsync(buffer, TestContext.Current.CancellationToken);

        Assert.Equal(length - 2, buffer[1]);
        Assert.Equal([Address], DnsMessage.AddressesIn(buffer.AsSpan(2, length - 2)));
        Assert.Equal(Allowed, server.NameOf(Address));
    }

    [Fact]
    public async Task Another_name_does_not_exist_and_is_told_of()
    {
        using var server = Make("allow");

        var answer = await AskAsync(server, Query("secret-as-a-name.attacker.example"));

        Assert.Equal(3, answer[3] & 15); // NXDOMAIN
        Assert.Empty(DnsMessage.AddressesIn(answer));
        Assert.Equal(["secret-as-a-name.attacker.example"], _denied);
        Assert.Empty(_through);
    }

    [Fact]
    public async Task An_audit_answers_every_name_and_remembers_it()
    {
        using var server = Make("audit");

        await AskAsync(server, Query("anything.example"));

        Assert.Equal("anything.example", server.NameOf(Address));
        Assert.Empty(_denied);
    }

    [Fact]
    public async Task A_name_server_that_is_gone_is_passed_over()
    {
        using var gone = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
        gone.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        var at = (IPEndPoint)gone.LocalEndPoint!;
        gone.Dispose();
        using var server = Make("audit", at);

        Assert.Equal([Address], DnsMessage.AddressesIn(await AskAsync(server, Query(Allowed))));
    }

    [Theory]
    [InlineData("")]
    [InlineData("000100000001000000000000")]                   // no question
    [InlineData("000101000001000000000000c00c00010001")]       // a name that is a pointer to itself
    [InlineData("000101000001000000000000c01000010001c00c")]   // two that point to each other
    [InlineData("000101000001000000000000ff00010001")]         // a label longer than the message
    [InlineData("000181000001000000000000016100000100010000")] // a response
    public void What_is_no_query_asks_for_no_name(string hexadecimal) => Assert.Null(DnsMessage.NameAsked(Convert.FromHexString(hexadecimal)));

    [Theory]
    [InlineData("ssm.eu-central-1.amazonaws.com")]
    [InlineData("SSM.eu-central-1.amazonaws.com.")]
    public void A_question_asks_for_its_name(string host) =>
        Assert.Equal("ssm.eu-central-1.amazonaws.com", DnsMessage.NameAsked(DnsMessage.Query(host, DnsMessage.Ipv4)));

    [Theory]
    [InlineData("")]
    [InlineData("a..b")]
    [InlineData("a-label-of-more-than-sixty-three-letters-has-no-place-in-any-message.example")]
    public void What_is_no_hosts_name_is_not_asked_for(string host) => Assert.Throws<FormatException>(() => DnsMessage.Query(host, DnsMessage.Ipv4));

    [Fact]
    public void No_cut_of_an_answer_does_any_harm()
    {
        var answer = Answer(Query(Allowed));
        for (var length = 0; length < answer.Length; length++)
            Assert.Empty(DnsMessage.AddressesIn(answer.AsSpan(0, length)));
    }

    [Fact]
    public void Name_servers_are_read_from_resolv_conf() =>
        Assert.Equal(["10.0.0.2:53", "[fd00::2]:53"], DnsClient.ServersIn(["# comment", "nameserver 10.0.0.2", "search example", "nameserver fd00::2", "nameserver"]).Select(e => e.ToString()));

    [Fact]
    public async Task A_name_server_that_is_disposed_of_has_served()
    {
        Make("allow").Dispose();

        await _serving.WaitAsync(Patience, TestContext.Current.CancellationToken);
    }

    [Fact]
    public async Task A_name_server_that_can_serve_one_way_only_says_so()
    {
        using var server = Make("allow");
        using var streams = new Socket(new SafeSocketHandle(ListenerOn(server.EndPoint.Port), ownsHandle: false));

        streams.Shutdown(SocketShutdown.Both);

        await Assert.ThrowsAsync<SocketException>(() => _serving.WaitAsync(Patience, TestContext.Current.CancellationToken));
    }

    public void Dispose()
    {
        _above.Dispose();
        _aboveByTcp.Dispose();
    }

    /// <summary>One port that is free for datagrams and for streams.</summary>
    private static (Socket Datagrams, Socket Streams) BindBoth()
    {
        for (var attempt = 1; ; attempt++)
        {
            var (datagrams, streams) = (new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp), new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp));
            try
            {
                streams.Bind(new IPEndPoint(IPAddress.Loopback, 0));
                datagrams.Bind(streams.LocalEndPoint!);
                return (datagrams, streams);
            }
            catch (SocketException e) when (e.SocketErrorCode == SocketError.AddressAlreadyInUse && attempt < 20)
            {
                datagrams.Dispose();
                streams.Dispose();
            }
        }
    }

    private NameServer Make(string mode, params IPEndPoint[] first)
    {
        var policy = EgressPolicy.From(LaunchSettings.From(new Dictionary<string, string> { [Tags.Egress] = mode, [Tags.EgressAllow] = Allowed }), []);
        NameServer? server = null;
        for (var attempt = 1; server is null; attempt++)
        {
            try
            {
                server = new NameServer(new IPEndPoint(IPAddress.Loopback, 0), policy, [.. first, (IPEndPoint)_above.LocalEndPoint!], addresses =>
                {
                    _through.AddRange(addresses);
                    return Task.CompletedTask;
                }, _denied.Add, new HandMovedTime(DateTimeOffset.UnixEpoch)); // no limit of its own passes here
            }
            catch (SocketException e) when (e.SocketErrorCode == SocketError.AddressAlreadyInUse && attempt < 20)
            {
                // The port that was free for datagrams is another's for streams.
            }
        }

        _serving = server.ServeAsync();
        return server;
    }

    private static async Task<byte[]> AskAsync(NameServer server, byte[] query)
    {
        using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
        await socket.ConnectAsync(server.EndPoint, TestContext.Current.CancellationToken);
        await socket.SendAsync(query, TestContext.Current.CancellationToken);
        var buffer = new byte[512];
        return buffer[..await socket.ReceiveAsync(buffer, TestContext.Current.CancellationToken)];
    }

    private async Task ServeAsync()
    {
        var buffer = new byte[512];
        while (true)
        {
            var received = await _above.ReceiveFromAsync(buffer, new IPEndPoint(IPAddress.Any, 0));
            await _above.SendToAsync(Answer(buffer[..received.ReceivedBytes]), received.RemoteEndPoint);
        }
    }

    private async Task ServeByTcpAsync()
    {
        using var client = await _aboveByTcp.AcceptAsync();
        var buffer = new byte[512];
        var length = await client.ReceiveAsync(buffer);
        var answer = Answer(buffer[2..length]);
        await client.SendAsync((byte[])[0, (byte)answer.Length, .. answer]);
    }

    /// <summary>The number that this process has the socket under which listens on the port.</summary>
    private static nint ListenerOn(int port)
    {
        const string listening = "0A";
        var inode = File.ReadLines("/proc/self/net/tcp").Select(line => line.Split(' ', StringSplitOptions.RemoveEmptyEntries))
            .First(fields => fields[1].EndsWith($":{port:X4}", StringComparison.Ordinal) && fields[3] == listening)[9];
        return nint.Parse(new DirectoryInfo("/proc/self/fd").EnumerateFiles().First(file => file.LinkTarget == $"socket:[{inode}]").Name, CultureInfo.InvariantCulture);
    }

    private static byte[] Query(string name) =>
        [0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, .. name.Split('.').SelectMany(l => (byte[])[(byte)l.Length, .. Encoding.ASCII.GetBytes(l)]), 0, 0, 1, 0, 1];

    /// <summary>One address, under a name that points back to the question's.</summary>
    private static byte[] Answer(byte[] query) =>
        [.. query[..2], 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0, .. query[12..], 0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, .. Address.GetAddressBytes()];
}
