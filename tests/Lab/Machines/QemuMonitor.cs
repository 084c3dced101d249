using System.Net.Sockets;
using System.Text.Json.Nodes;

namespace Mayfly.Lab.Machines;

/// <summary>What a machine has read of its root disk since it was switched on, firmware included, as its disk controller
/// saw it: whatever this computer has in its page cache makes no difference.</summary>
internal sealed record DiskReads(long Bytes, long Requests);

/// <summary>A machine's QMP socket. https://www.qemu.org/docs/master/interop/qemu-qmp-ref.html</summary>
internal sealed class QemuMonitor : IDisposable
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(20);

    private readonly Socket _socket;
    private readonly StreamReader _reader;
    private readonly StreamWriter _writer;

    private QemuMonitor(Socket socket)
    {
        _socket = socket;
        var stream = new NetworkStream(socket);
        (_reader, _writer) = (new StreamReader(stream), new StreamWriter(stream) { AutoFlush = true });
    }

    /// <exception cref="SocketException">QEMU is gone, or was never there.</exception>
    public static async Task<QemuMonitor> ConnectAsync(string path, CancellationToken cancel)
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        await socket.ConnectAsync(new UnixDomainSocketEndPoint(path), cancel);
        var monitor = new QemuMonitor(socket);
        _ = await monitor._reader.ReadLineAsync(cancel); // its greeting
        _ = await monitor.ExecuteAsync("qmp_capabilities", null, cancel);
        return monitor;
    }

    /// <param name="drive">The drive's id on QEMU's command line.</param>
    public async Task<DiskReads> ReadsAsync(string drive, CancellationToken cancel)
    {
        var answer = await ExecuteAsync("query-blockstats", null, cancel);
        var stats = answer.AsArray().First(d => (string?)d!["device"] == drive)!["stats"]!;
        return new DiskReads((long)stats["rd_bytes"]!, (long)stats["rd_operations"]!);
    }

    /// <exception cref="InvalidOperationException">QEMU refuses, or does not answer within 20 s.</exception>
    public async Task<JsonNode> ExecuteAsync(string command, JsonObject? arguments, CancellationToken cancel)
    {
        var request = new JsonObject { ["execute"] = command };
        if (arguments is not null)
            request["arguments"] = arguments;
        await _writer.WriteLineAsync(request.ToJsonString().AsMemory(), cancel);
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        limit.CancelAfter(Limit);
        while (await _reader.ReadLineAsync(limit.Token) is { } line)
        {
            var answer = JsonNode.Parse(line)!;
            if (answer["error"] is { } error)
                throw new InvalidOperationException($"QEMU refuses {command}: {error["desc"]}");
            if (answer["return"] is { } result)
                return result;
        }

        throw new InvalidOperationException($"QEMU ended while it was asked for {command}");
    }

    public void Dispose()
    {
        _reader.Dispose();
        _socket.Dispose();
    }
}
