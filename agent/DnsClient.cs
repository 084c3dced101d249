using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;

namespace Mayfly.Agent;

/// <summary>
/// Asks the network's own name servers, by sockets that bear the agent's mark: where an egress policy judges every user, the C
/// library's questions are refused (docs/decisions/0016).
/// </summary>
internal static class DnsClient
{
    private const int Port = 53;

    /// <summary>For one question to one server: a resolver's own patience is five seconds (resolv.conf(5)).</summary>
    public static readonly TimeSpan Limit = TimeSpan.FromSeconds(5);

    /// <summary>The network's name servers; none before it is up.</summary>
    public static IReadOnlyList<IPEndPoint> Servers() => File.Exists(NameServers.ResolvConf) ? ServersIn(File.ReadLines(NameServers.ResolvConf)) : [];

    /// <summary>The name servers of a resolv.conf(5).</summary>
    public static IReadOnlyList<IPEndPoint> ServersIn(IEnumerable<string> resolvConf) =>
        [.. resolvConf.Select(line => line.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries))
            .Where(words => words is ["nameserver", _, ..]).Select(words => IPAddress.TryParse(words[1], out var address) ? new IPEndPoint(address, Port) : null).OfType<IPEndPoint>()];

    /// <summary>A host's addresses, those of IPv4 first. What the name servers do not know may stand in /etc/hosts, so the C
    /// library is asked last.</summary>
    /// <exception cref="SocketException">There is no such host, or nobody to ask.</exception>
    public static async Task<IReadOnlyList<IPAddress>> AddressesAsync(string host, TimeProvider time, CancellationToken cancel)
    {
        if (IPAddress.TryParse(host, out var address))
            return [address];
        foreach (var server in Servers())
        {
            var found = (await Task.WhenAll(AddressesAsync(server, host, DnsMessage.Ipv4, time), AddressesAsync(server, host, DnsMessage.Ipv6, time)).WaitAsync(cancel)).SelectMany(a => a).ToList();
            if (found.Count > 0)
                return found;
        }

        return await Dns.GetHostAddressesAsync(host, cancel);
    }

    /// <summary>A server's answer; null if it gives none in time.</summary>
    public static async Task<byte[]?> AskAsync(IPEndPoint server, byte[] query, SocketType by, TimeProvider time)
    {
        using var limit = new CancellationTokenSource(Limit, time);
        using var socket = new Socket(server.AddressFamily, by, by == SocketType.Dgram ? ProtocolType.Udp : ProtocolType.Tcp);
        try
        {
            MarkedSocket.Set(socket);
            await socket.ConnectAsync(server, limit.Token);
            byte[] answer;
            if (by == SocketType.Dgram)
            {
                await socket.SendAsync(query, SocketFlags.None, limit.Token);
                var buffer = new byte[DnsMessage.MostBytes];
                answer = buffer[..await socket.ReceiveAsync(buffer, SocketFlags.None, limit.Token)];
            }
            else
            {
                await using var stream = new NetworkStream(socket);
                await WriteMessageAsync(stream, query, limit.Token);
                answer = await ReadMessageAsync(stream, limit.Token);
            }

            // The identification is the question's own.
            return answer.Length >= 2 && answer.AsSpan(0, 2).SequenceEqual(query.AsSpan(0, 2)) ? answer : null;
        }
        catch (Exception e) when (e is SocketException or IOException or OperationCanceledException)
        {
            return null; // the next one may answer
        }
    }

    /// <summary>Over TCP a message has its length in front.</summary>
    public static async Task<byte[]> ReadMessageAsync(Stream stream, CancellationToken cancel)
    {
        var length = new byte[2];
        await stream.ReadExactlyAsync(length, cancel);
        var message = new byte[BinaryPrimitives.ReadUInt16BigEndian(length)];
        await stream.ReadExactlyAsync(message, cancel);
        return message;
    }

    public static async Task WriteMessageAsync(Stream stream, byte[] message, CancellationToken cancel)
    {
        var framed = new byte[message.Length + 2];
        BinaryPrimitives.WriteUInt16BigEndian(framed, (ushort)message.Length);
        message.CopyTo(framed, 2);
        await stream.WriteAsync(framed, cancel);
    }

    private static async Task<IReadOnlyList<IPAddress>> AddressesAsync(IPEndPoint server, string host, ushort type, TimeProvider time) =>
        await AskAsync(server, DnsMessage.Query(host, type), SocketType.Dgram, time) is { } answer ? DnsMessage.AddressesIn(answer) : [];
}
