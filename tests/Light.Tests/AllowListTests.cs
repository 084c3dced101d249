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
        using var names = ServeNames(("listed.example", Listed), ("a.below.example", Listed), ("unlisted.example", Unlisted));
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
        await Process.Start("ip", ["addr", "replace", $"{address}/32", "dev", "lo"]).WaitForExitAsync();
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

    /// <summary>Answers questions for IPv4 addresses, and others with nothing.</summary>
    private static UdpClient ServeNames(params (string Name, IPAddress Address)[] names)
    {
        var server = new UdpClient(new IPEndPoint(LabNetwork.Inside, 53));
        _ = AnswerAsync();
        return server;

        async Task AnswerAsync()
        {
            while (true)
            {
                var asked = await server.ReceiveAsync();
                var query = asked.Buffer;
                var end = query.AsSpan(12).IndexOf((byte)0) + 5; // name, type and class
                var name = Labels(Encoding.ASCII.GetString(query, 13, end - 6));
                var address = names.FirstOrDefault(n => n.Name == name).Address;
                var isAddress = query[12 + end - 3] == 1;
                byte[] answer = address is null || !isAddress
                    ? [.. query[..2], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0, .. query[12..(12 + end)]]
                    : [.. query[..2], 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0, .. query[12..(12 + end)], 0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, .. address.GetAddressBytes()];
                await server.SendAsync(answer, asked.RemoteEndPoint);
            }
        }
    }

    /// <summary>A name as it stands in a message, less its first length: what is no letter is another label's length.</summary>
    private static string Labels(string name) => string.Concat(name.Select(c => c < 32 ? '.' : char.ToLowerInvariant(c)));
}
