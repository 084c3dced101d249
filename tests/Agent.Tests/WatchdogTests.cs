using System.Net.Sockets;
using System.Text;
using Xunit;

namespace Mayfly.Agent.Tests;

public sealed class WatchdogTests
{
    [Fact]
    public async Task It_tells_systemd_again_and_again()
    {
        var path = Path.Combine(Path.GetTempPath(), $"notify-{Guid.NewGuid()}");
        using var systemd = new Socket(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified);
        systemd.Bind(new UnixDomainSocketEndPoint(path));
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        limit.CancelAfter(TimeSpan.FromSeconds(20));

        using (Watchdog.Start(path, "30000", TimeProvider.System))
        {
            var buffer = new byte[64];
            for (var i = 0; i < 3; i++)
                Assert.Equal("WATCHDOG=1", Encoding.ASCII.GetString(buffer, 0, await systemd.ReceiveAsync(buffer, limit.Token)));
        }

        File.Delete(path);
    }

    [Theory]
    [InlineData(null, "1000")]
    [InlineData("/run/systemd/notify", null)]
    public void Where_nobody_asks_it_says_nothing(string? socket, string? microseconds) =>
        Assert.Null(Watchdog.Start(socket, microseconds, TimeProvider.System));

    [Fact]
    public void What_is_no_number_is_named() =>
        Assert.Contains("'soon'", Assert.Throws<FormatException>(() => Watchdog.Start("/run/systemd/notify", "soon", TimeProvider.System)).Message, StringComparison.Ordinal);
}
