using System.Net;
using System.Net.Sockets;

namespace Mayfly.Agent;

/// <summary>
/// Sockets that bear the agent's packet mark, which the door lets through (<see cref="ClosedDoor"/>). The kernel lets only a
/// process with CAP_NET_ADMIN or CAP_NET_RAW set one, and nothing in the job's sandbox has either, its root included.
/// https://man7.org/linux/man-pages/man7/socket.7.html, SO_MARK
/// </summary>
internal static class MarkedSocket
{
    /// <summary>Any number would do that nothing else on the machine uses: "mf".</summary>
    public const int Mark = 0x6d66;

    private const int SocketLevel = 1;  // SOL_SOCKET
    private const int MarkOption = 36;  // SO_MARK

    public static void Set(Socket socket) => socket.SetRawSocketOption(SocketLevel, MarkOption, BitConverter.GetBytes(Mark));

    /// <summary>A connection of an <see cref="HttpClient"/>, marked, and so are the questions for its host's addresses.</summary>
    public static async ValueTask<Stream> ConnectAsync(SocketsHttpConnectionContext context, CancellationToken cancel) =>
        new NetworkStream(await ConnectAsync(context.DnsEndPoint, cancel), ownsSocket: true);

    /// <summary>A connection for whoever blocks: nothing of it ever waits for the pool.</summary>
    /// <param name="limit">Of each read and write, in the socket itself. A connection is tried for three seconds.</param>
    /// <exception cref="SocketException">There is none.</exception>
    public static Stream Connect(IPEndPoint to, TimeSpan limit)
    {
        const int tcpLevel = 6, connectRetries = 7; // IPPROTO_TCP, TCP_SYNCNT
        var socket = new Socket(to.AddressFamily, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            (socket.ReceiveTimeout, socket.SendTimeout) = ((int)limit.TotalMilliseconds, (int)limit.TotalMilliseconds);
            socket.SetRawSocketOption(tcpLevel, connectRetries, BitConverter.GetBytes(1)); // after one second, and two more to answer
            Set(socket);
            socket.Connect(to);
            return new NetworkStream(socket, ownsSocket: true);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    /// <summary>Tries a host's addresses one after the other, each with a socket of its own.</summary>
    private static async Task<Socket> ConnectAsync(DnsEndPoint to, CancellationToken cancel)
    {
        var addresses = await DnsClient.AddressesAsync(to.Host, TimeProvider.System, cancel);
        for (var i = 0; ; i++)
        {
            var socket = new Socket(addresses[i].AddressFamily, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
            try
            {
                Set(socket);
                await socket.ConnectAsync(addresses[i], to.Port, cancel);
                return socket;
            }
            catch (SocketException) when (i + 1 < addresses.Count)
            {
                socket.Dispose();
            }
            catch
            {
                socket.Dispose();
                throw;
            }
        }
    }
}
