using System.Net;
using System.Net.Sockets;

namespace Mayfly.Controller.Tests;

/// <summary>A line to PostgreSQL's socket that a test can cut: connections stay open and nothing passes, as in a network that
/// is parted.</summary>
internal sealed class CuttableLine : IAsyncDisposable
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly CancellationTokenSource _stop = new();
    private readonly string _socket;
    private readonly Task _accepting;
    private readonly TaskCompletionSource _held = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private volatile TaskCompletionSource _whole = new();

    public CuttableLine(string socket)
    {
        _socket = socket;
        _whole.SetResult();
        _listener.Start();
        _accepting = AcceptAsync();
    }

    private int Port => ((IPEndPoint)_listener.LocalEndpoint).Port;

    /// <summary>Complete once something was to pass that the cut keeps back.</summary>
    public Task Held => _held.Task;

    /// <summary>The same database, over this line.</summary>
    public string To(string connection) => connection.Replace(Path.GetDirectoryName(_socket)!, $"127.0.0.1;Port={Port};SSL Mode=Disable", StringComparison.Ordinal);

    public void Cut() => _whole = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);

    public void Mend() => _whole.TrySetResult();

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        _listener.Stop();
        await _accepting;
        _stop.Dispose();
    }

    private async Task AcceptAsync()
    {
        try
        {
            while (true)
            {
                var client = await _listener.AcceptTcpClientAsync(_stop.Token);
                _ = CarryAsync(client);
            }
        }
        catch (Exception e) when (e is OperationCanceledException or SocketException)
        {
        }
    }

    private async Task CarryAsync(TcpClient client)
    {
        using var server = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            using (client)
            {
                await server.ConnectAsync(new UnixDomainSocketEndPoint(_socket), _stop.Token);
                await using var there = new NetworkStream(server);
                var near = client.GetStream();
                await Task.WhenAny(CopyAsync(near, there), CopyAsync(there, near));
            }
        }
        catch (Exception e) when (e is OperationCanceledException or SocketException or IOException)
        {
        }
    }

    private async Task CopyAsync(NetworkStream from, NetworkStream to)
    {
        var buffer = new byte[64 * 1024];
        for (int read; (read = await from.ReadAsync(buffer, _stop.Token)) > 0;)
        {
            if (_whole.Task is { IsCompleted: false } mended)
            {
                _held.TrySetResult();
                await mended.WaitAsync(_stop.Token);
            }

            await to.WriteAsync(buffer.AsMemory(0, read), _stop.Token);
        }
    }
}
