using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Mayfly.Aws;
using Mayfly.Contract;
using Xunit;

namespace Mayfly.Agent.Tests;

/// <summary>
/// What is left of a configuration in this process's memory once it was taken from SSM and disposed of: read back from
/// /proc/self/mem. The envelope and what it holds stand in the program only under a mask, and the service that answers them
/// is a bare socket, so that no copy is the test's own.
/// </summary>
public sealed class MemoryTests
{
    private const byte Mask = 0xA5;

    /// <summary>Three small files, packed; the third holds <see cref="Marker"/>.</summary>
    private static readonly byte[] MaskedEnvelope = Convert.FromHexString(
        "C8C3948BFC97E7C291EE9CF2C6CEDDF5DFF6D3DDF1E3E2DCF0CFEFF0D4C8F3C2FCE7E6D4F3CCD5EADFCECFEBF1F4F2EE8EE1D0F2C9C8F6E4F7F697D4C9F0E7EEF5E9EAEBD4D6D5C1E4DF96F6DCD5EBF1E6DCECD78AC1DFF1CBE0D2EBEC90EBDCDCDCD6C6CC90EAE1F6D4D39DC6DCDFC6F1F0EAC1CBEFD2EEE8CD95D1F1E6EEE9C9E2CAE7");

    private static readonly byte[] Marker = Convert.FromHexString(
        "ECCE97DFD2E0F4EDC3D2C6C0D5FCDCEBE2C3E79094FCC7C8D2DDE4D6C6F7D0DFEAC99DE290F0E7E7E7D5CCE49D91FCD7");

    [Fact]
    public async Task Nothing_of_a_configuration_is_left_once_it_is_disposed_of()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        var serving = ServeAsync(listener);
        Environment.SetEnvironmentVariable("AWS_ENDPOINT_URL_MEMORY", $"http://127.0.0.1:{((IPEndPoint)listener.LocalEndpoint).Port}/");
        var narration = new Narration(new MemoryStream(), () => 1, []);
        using (var connection = AwsConnection.To("memory", "eu-central-1", new AwsKeys("AKID", "key", null), TimeSpan.FromSeconds(60), TimeProvider.System))
        {
            using var config = await JitConfig.TakeAsync(new ParameterSource(new SsmClient(connection), "i-1"), narration, TimeProvider.System, TestContext.Current.CancellationToken);
            Assert.NotEqual(0, CountInMemory(Marker)); // the search does find it
            // What is moved leaves a copy where it was.
            GC.Collect(GC.MaxGeneration, GCCollectionMode.Forced, blocking: true, compacting: true);
        }

        await serving;
        Assert.Equal(0, CountInMemory(Marker));
        for (var start = Envelope.Version.Length; start + 24 <= MaskedEnvelope.Length; start += 24)
            Assert.Equal(0, CountInMemory(MaskedEnvelope[start..(start + 24)]));
    }

    [Fact]
    public async Task Nothing_of_the_tags_is_left_that_were_read_when_another_could_not_be()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        var serving = ServeTagsAsync(listener);
        using var connection = AwsConnection.To("ec2", "eu-central-1", new AwsKeys("AKID", "key", null), TimeSpan.FromSeconds(60), TimeProvider.System);
        using (var http = new HttpClient(WipedConnections.MakeHandler(Timeout.InfiniteTimeSpan, useProxy: false)) { BaseAddress = new Uri($"http://127.0.0.1:{((IPEndPoint)listener.LocalEndpoint).Port}/") })
        {
            var source = new TagSource(new Imds(http, TimeProvider.System), new Ec2Client(connection), "i-1");
            await Assert.ThrowsAsync<HttpRequestException>(() => source.ReadAsync(TestContext.Current.CancellationToken));
        }

        await serving;
        Assert.Equal(0, CountInMemory(Marker));
    }

    /// <summary>A token, the list of tags, how many pieces there are; the first of them, and no second.</summary>
    private static async Task ServeTagsAsync(TcpListener listener)
    {
        // Pieces may be asked for side by side.
        var connections = new List<Task>();
        var pieces = new TaskCompletionSource();
        var asked = 0;
        while (await Task.WhenAny(pieces.Task, listener.AcceptSocketAsync()) is Task<Socket> accepted)
            connections.Add(ServeAsync(await accepted));
        await Task.WhenAll(connections);

        async Task ServeAsync(Socket socket)
        {
            using var owned = socket;
            var buffer = new byte[4096];
            while (await socket.ReceiveAsync(buffer) is var length and > 0)
            {
                var path = Encoding.ASCII.GetString(buffer, 0, length).Split(' ')[1];
                var (status, body) = path switch
                {
                    "/latest/api/token" => ("200 OK", Masked("token")),
                    "/latest/meta-data/tags/instance" => ("200 OK", Masked($"{ConfigTags.CountKey}\n{ConfigTags.Keys[1]}\n{ConfigTags.Keys[2]}")),
                    _ when path.EndsWith(ConfigTags.CountKey, StringComparison.Ordinal) => ("200 OK", Masked("2")),
                    _ when path.EndsWith("-1", StringComparison.Ordinal) => ("200 OK", Marker),
                    _ => ("403 Forbidden", []),
                };
                await SendAsync(socket, status, body);
                if ((path.EndsWith("-1", StringComparison.Ordinal) || path.EndsWith("-2", StringComparison.Ordinal)) && Interlocked.Increment(ref asked) == 2)
                    pieces.SetResult();
            }
        }

        static byte[] Masked(string text) => [.. Encoding.ASCII.GetBytes(text).Select(b => (byte)(b ^ Mask))];
    }

    /// <summary>GetParameter, DeleteParameter, and a GetParameter that finds nothing.</summary>
    private static async Task ServeAsync(TcpListener listener)
    {
        using var socket = await listener.AcceptSocketAsync();
        byte[] before = [.. "{\"Parameter\":{\"Name\":\"n\",\"Value\":\""u8], after = [.. "\"}}"u8];
        await AnswerAsync(socket, "200 OK", [.. before.Select(b => (byte)(b ^ Mask)), .. MaskedEnvelope, .. after.Select(b => (byte)(b ^ Mask))]);
        await AnswerAsync(socket, "200 OK", [.. "{}"u8.ToArray().Select(b => (byte)(b ^ Mask))]);
        await AnswerAsync(socket, "400 Bad Request", [.. "{\"__type\":\"ParameterNotFound\"}"u8.ToArray().Select(b => (byte)(b ^ Mask))]);
    }

    private static async Task AnswerAsync(Socket socket, string status, byte[] maskedBody)
    {
        var request = new StringBuilder();
        var buffer = new byte[4096];
        while (!IsWhole(request.ToString()))
            request.Append(Encoding.ASCII.GetString(buffer, 0, await socket.ReceiveAsync(buffer)));
        await SendAsync(socket, status, maskedBody);
    }

    private static async Task SendAsync(Socket socket, string status, byte[] maskedBody)
    {
        var head = Encoding.ASCII.GetBytes($"HTTP/1.1 {status}\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: {maskedBody.Length}\r\n\r\n");
        var answer = Secret.Allocate(head.Length + maskedBody.Length);
        head.CopyTo(answer, 0);
        for (var i = 0; i < maskedBody.Length; i++)
            answer[head.Length + i] = (byte)(maskedBody[i] ^ Mask);
        await socket.SendAsync(answer);
        Array.Clear(answer);
    }

    private static bool IsWhole(string request)
    {
        const string mark = "Content-Length: ";
        var end = request.IndexOf("\r\n\r\n", StringComparison.Ordinal);
        var length = request.IndexOf(mark, StringComparison.Ordinal);
        return end >= 0 && length >= 0
            && request.Length - end - 4 >= int.Parse(request[(length + mark.Length)..request.IndexOf("\r\n", length, StringComparison.Ordinal)], CultureInfo.InvariantCulture);
    }

    /// <summary>How often the bytes stand in any memory of this process that can be read.</summary>
    private static int CountInMemory(byte[] masked)
    {
        var found = 0;
        byte[] first = [(byte)(masked[0] ^ Mask), (byte)(masked[1] ^ Mask), (byte)(masked[2] ^ Mask), (byte)(masked[3] ^ Mask)];
        var chunk = GC.AllocateArray<byte>(1 << 20, pinned: true);
        using var memory = File.OpenHandle("/proc/self/mem");
        foreach (var line in File.ReadAllLines("/proc/self/maps"))
        {
            var fields = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
            if (!fields[1].StartsWith("rw", StringComparison.Ordinal))
                continue;
            var range = fields[0].Split('-').Select(f => long.Parse(f, NumberStyles.HexNumber, CultureInfo.InvariantCulture)).ToArray();
            // Chunks overlap, so that nothing hides between two.
            for (var at = range[0]; at < range[1]; at += chunk.Length - masked.Length)
            {
                int read;
                try
                {
                    read = RandomAccess.Read(memory, chunk.AsSpan(0, (int)Math.Min(chunk.Length, range[1] - at)), at);
                }
                catch (IOException)
                {
                    break; // unmapped meanwhile
                }

                found += CountIn(chunk.AsSpan(0, read), first, masked);
                Array.Clear(chunk);
            }
        }

        return found;
    }

    private static int CountIn(ReadOnlySpan<byte> memory, ReadOnlySpan<byte> first, ReadOnlySpan<byte> masked)
    {
        var count = 0;
        while (memory.IndexOf(first) is var at and >= 0)
        {
            memory = memory[at..];
            if (memory.Length < masked.Length)
                break;
            var same = 0;
            while (same < masked.Length && (memory[same] ^ Mask) == masked[same])
                same++;
            count += same == masked.Length ? 1 : 0;
            memory = memory[1..];
        }

        return count;
    }
}
