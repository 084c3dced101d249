using System.Net;
using System.Net.Sockets;
using System.Text;
using Xunit;

namespace Mayfly.Agent.Tests;

public sealed class NotFoundProbeTests
{
    [Theory]
    [InlineData("HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\nConnection: close\r\n\r\nnot found")]
    [InlineData("HTTP/1.0 404 Not Found\r\n\r\n")]
    [InlineData("HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")]
    public async Task What_is_not_there_is_known_by_its_status(string answer)
    {
        var (isNotFound, asked) = await AskAsync(answer);

        Assert.True(isNotFound);
        Assert.Equal("GET /latest/x HTTP/1.1\r\nHost: imds\r\nConnection: close\r\ntoken: t\r\n\r\n", asked);
    }

    [Theory]
    [InlineData("HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\nHTTP/1.1 404 ")]
    [InlineData("HTTP/1.1 401 Unauthorized\r\n\r\n")]
    [InlineData("HTTP/1.1 4040 ")]
    [InlineData("HTTP/1.1 404")]
    [InlineData("HTTP/2 404 Not Found\r\n\r\n")]
    [InlineData("")]
    public async Task Any_other_answer_says_nothing(string answer) => Assert.False((await AskAsync(answer)).IsNotFound);

    [Fact]
    public void Nor_does_a_service_that_is_not_there() =>
        Assert.False(new NotFoundProbe("imds", () => throw new SocketException((int)SocketError.ConnectionRefused)).IsNotFound("latest/x", "token", "t"));

    private static async Task<(bool IsNotFound, string Asked)> AskAsync(string answer)
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        var serving = Task.Run(async () =>
        {
            using var client = await listener.AcceptTcpClientAsync(TestContext.Current.CancellationToken);
            var buffer = new byte[4096];
            var asked = Encoding.ASCII.GetString(buffer, 0, await client.GetStream().ReadAsync(buffer, TestContext.Current.CancellationToken));
            await client.GetStream().WriteAsync(Encoding.ASCII.GetBytes(answer), TestContext.Current.CancellationToken);
            return asked;
        }, TestContext.Current.CancellationToken);

        var probe = new NotFoundProbe("imds", () => new TcpClient(IPAddress.Loopback.ToString(), ((IPEndPoint)listener.LocalEndpoint).Port).GetStream());
        return (probe.IsNotFound("latest/x", "token", "t"), await serving);
    }
}
