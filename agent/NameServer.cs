using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;

namespace Mayfly.Agent;

/// <summary>
/// The job's name server under an egress policy: hands questions on to the network's own, lets the addresses of permitted
/// names through before it answers, and answers at once that others do not exist. It also remembers which address has which
/// name, for people.
/// </summary>
internal sealed class NameServer : IDisposable
{
    /// <summary>Any address of the loopback that nothing else uses; systemd-resolved would have 127.0.0.53 and .54.</summary>
    public const string Address = "127.0.0.153";

    /// <summary>Questions under way. More wait in the socket's buffer, or are lost and asked again.</summary>
    private const int MostAtOnce = 64;

    private const int MostNames = 20_000;

    private readonly EgressPolicy _policy;
    private readonly IReadOnlyList<IPEndPoint> _above;
    private readonly Func<IReadOnlyList<IPAddress>, Task> _letThrough;
    private readonly Action<string> _denied;
    private readonly TimeProvider _time;
    private readonly Socket _datagrams;
    private readonly Socket _streams;
    private readonly SemaphoreSlim _room = new(MostAtOnce);
    private readonly CancellationTokenSource _stop = new();
    private readonly ConcurrentDictionary<IPAddress, string> _names = new();

    /// <param name="above">The network's name servers, tried in order.</param>
    /// <param name="letThrough">Called with a permitted name's addresses, before they are answered.</param>
    /// <param name="denied">Called with a name that is not permitted.</param>
    /// <exception cref="SocketException">The address is taken.</exception>
    public NameServer(IPEndPoint at, EgressPolicy policy, IReadOnlyList<IPEndPoint> above, Func<IReadOnlyList<IPAddress>, Task> letThrough, Action<string> denied, TimeProvider time)
    {
        (_policy, _above, _letThrough, _denied, _time) = (policy, above, letThrough, denied, time);
        _datagrams = new Socket(at.AddressFamily, SocketType.Dgram, ProtocolType.Udp);
        _streams = new Socket(at.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        _datagrams.Bind(at);
        _streams.Bind(_datagrams.LocalEndPoint!);
        _streams.Listen();
    }

    public IPEndPoint EndPoint => (IPEndPoint)_datagrams.LocalEndPoint!;

    /// <summary>Serves until disposed of.</summary>
    /// <exception cref="SocketException">It cannot: half a name server is none.</exception>
    public async Task ServeAsync()
    {
        try
        {
            await await Task.WhenAny(ServeDatagramsAsync(), ServeStreamsAsync());
        }
        catch (Exception e) when (_stop.IsCancellationRequested && e is (OperationCanceledException or ObjectDisposedException or SocketException))
        {
            // as it was meant to
        }
    }

    /// <summary>The name that was asked for when this address was answered.</summary>
    public string? NameOf(IPAddress address) => _names.GetValueOrDefault(address);

    public void Dispose()
    {
        _stop.Cancel();
        _datagrams.Dispose();
        _streams.Dispose();
    }

    private async Task ServeDatagramsAsync()
    {
        var buffer = new byte[DnsMessage.MostBytes];
        var anyone = new IPEndPoint(IPAddress.Any, 0);
        while (!_stop.IsCancellationRequested)
        {
            await _room.WaitAsync(_stop.Token);
            var received = await _datagrams.ReceiveFromAsync(buffer, SocketFlags.None, anyone, _stop.Token);
            _ = AnswerDatagramAsync(buffer[..received.ReceivedBytes], received.RemoteEndPoint);
        }
    }

    private async Task AnswerDatagramAsync(byte[] query, EndPoint from)
    {
        try
        {
            if (await AnswerAsync(query, SocketType.Dgram) is { } answer)
                await _datagrams.SendToAsync(answer, SocketFlags.None, from, _stop.Token);
        }
        catch (Exception e) when (e is SocketException or OperationCanceledException)
        {
            // who asked has gone, or asks again
        }
        finally
        {
            _room.Release();
        }
    }

    private async Task ServeStreamsAsync()
    {
        while (!_stop.IsCancellationRequested)
        {
            await _room.WaitAsync(_stop.Token);
            _ = AnswerStreamAsync(await _streams.AcceptAsync(_stop.Token));
        }
    }

    /// <summary>One question a connection, as resolvers that fall back to TCP ask.</summary>
    private async Task AnswerStreamAsync(Socket client)
    {
        try
        {
            using var limit = new CancellationTokenSource(DnsClient.Limit * 2, _time);
            await using var stream = new NetworkStream(client, ownsSocket: true);
            if (await AnswerAsync(await DnsClient.ReadMessageAsync(stream, limit.Token), SocketType.Stream) is { } answer)
                await DnsClient.WriteMessageAsync(stream, answer, limit.Token);
        }
        catch (Exception e) when (e is IOException or SocketException or OperationCanceledException)
        {
            // who asked has gone, or asks again
        }
        finally
        {
            _room.Release();
        }
    }

    /// <summary>The answer, or null for what is no question or got none.</summary>
    private async Task<byte[]?> AnswerAsync(byte[] query, SocketType by)
    {
        if (DnsMessage.NameAsked(query) is not { } name)
            return null;
        if (!_policy.Permits(name))
        {
            _denied(name);
            return DnsMessage.NoSuchName(query);
        }

        foreach (var server in _above)
        {
            if (await DnsClient.AskAsync(server, query, by, _time) is not { } answer)
                continue;
            var addresses = DnsMessage.AddressesIn(answer);
            foreach (var address in addresses.TakeWhile(_ => _names.Count < MostNames))
                _names[address] = name;
            await _letThrough(addresses);
            return answer;
        }

        return null;
    }
}
