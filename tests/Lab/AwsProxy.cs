using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using Mayfly.Lab.Machines;

namespace Mayfly.Lab;

/// <summary>
/// A checking proxy of somebody else's between all clients and the lab's AWS: a program that is started with a port of the
/// loopback to listen on and the address to pass requests on to. Machines reach it through a relay.
/// </summary>
internal sealed class AwsProxy : IAsyncDisposable
{
    private static readonly TimeSpan StartLimit = TimeSpan.FromSeconds(20);

    private readonly Process _process;
    private readonly StreamWriter _log;
    private readonly TcpListener _relay;
    private readonly Task _relaying;

    private AwsProxy(Process process, StreamWriter log, TcpListener relay, int port)
    {
        (_process, _log, _relay) = (process, log, relay);
        Address = new Uri($"http://127.0.0.1:{port}/");
        _relaying = RelayAsync(relay, port);
    }

    public Uri Address { get; }

    public static async Task<AwsProxy> StartAsync(Lab lab, string command, string logFile)
    {
        var relay = new TcpListener(LabNetwork.Inside, 0);
        relay.Start();
        var port = ((IPEndPoint)relay.LocalEndpoint).Port;
        lab.Signatures.AlsoKnownAs.Add($"{LabNetwork.Inside}:{port}");
        var start = new ProcessStartInfo("/bin/sh") { RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (var argument in (string[])["-c", $"exec {command} {port} {lab.AwsAddress.AbsoluteUri.TrimEnd('/')}"])
            start.ArgumentList.Add(argument);
        var process = Process.Start(start)!;
        var log = new StreamWriter(logFile) { AutoFlush = true };
        process.OutputDataReceived += (_, e) => Write(log, e.Data);
        process.ErrorDataReceived += (_, e) => Write(log, e.Data);
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        var proxy = new AwsProxy(process, log, relay, port);
        await proxy.WaitUntilListeningAsync(port);
        return proxy;
    }

    public async ValueTask DisposeAsync()
    {
        _relay.Stop();
        await _relaying;
        _process.Kill(entireProcessTree: true);
        await _process.WaitForExitAsync();
        _process.Dispose();
        await _log.DisposeAsync();
    }

    private async Task WaitUntilListeningAsync(int port)
    {
        using var limit = new CancellationTokenSource(StartLimit);
        while (true)
        {
            using var socket = new TcpClient();
            try
            {
                await socket.ConnectAsync(IPAddress.Loopback, port, limit.Token);
                return;
            }
            catch (SocketException) when (!_process.HasExited)
            {
                await Task.Delay(TimeSpan.FromMilliseconds(100), TimeProvider.System, limit.Token);
            }
        }
    }

    private static async Task RelayAsync(TcpListener relay, int port)
    {
        try
        {
            while (true)
                _ = PassAsync(await relay.AcceptTcpClientAsync(), port);
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // stopped
        }
    }

    private static async Task PassAsync(TcpClient client, int port)
    {
        using (client)
        using (var server = new TcpClient())
        {
            try
            {
                await server.ConnectAsync(IPAddress.Loopback, port);
                await Task.WhenAny(client.GetStream().CopyToAsync(server.GetStream()), server.GetStream().CopyToAsync(client.GetStream()));
            }
            catch (Exception e) when (e is SocketException or IOException)
            {
                // either side sees its connection closed
            }
        }
    }

    private static void Write(StreamWriter log, string? line)
    {
        if (line is null)
            return;
        lock (log)
            log.WriteLine(line);
    }
}
