using Xunit;

namespace Mayfly.Agent.Tests;

public sealed class NameServersTests : IDisposable
{
    // As networkd of Debian 12 writes it.
    private const string Known = "# This is private data. Do not parse.\nOPER_STATE=routable\nCARRIER_STATE=carrier\nDNS=10.0.0.2 fd00::2\nNTP=169.254.169.123\nDOMAINS=eu-central-1.compute.internal\n";

    private readonly string _folder = Directory.CreateTempSubdirectory("mayfly-names-").FullName;

    private string State => Path.Combine(_folder, "state");

    private string List => Path.Combine(_folder, "resolve", "resolv.conf");

    [Fact]
    public async Task What_the_network_says_becomes_resolv_conf()
    {
        await File.WriteAllTextAsync(State, Known, TestContext.Current.CancellationToken);

        Assert.True(await WriteAsync());

        Assert.Equal("nameserver 10.0.0.2\nnameserver fd00::2\nsearch eu-central-1.compute.internal\n", await File.ReadAllTextAsync(List, TestContext.Current.CancellationToken));
    }

    [Fact]
    public async Task A_list_that_is_there_is_kept()
    {
        Directory.CreateDirectory(Path.GetDirectoryName(List)!);
        await File.WriteAllTextAsync(List, "nameserver 192.0.2.1\n", TestContext.Current.CancellationToken);
        await File.WriteAllTextAsync(State, Known, TestContext.Current.CancellationToken);

        Assert.True(await WriteAsync());

        Assert.Equal("nameserver 192.0.2.1\n", await File.ReadAllTextAsync(List, TestContext.Current.CancellationToken));
    }

    [Theory]
    [InlineData(null)]
    [InlineData("OPER_STATE=routable\nDNS=\n")]
    public async Task A_network_that_names_none_is_not_waited_for_without_an_end(string? state)
    {
        if (state is not null)
            await File.WriteAllTextAsync(State, state, TestContext.Current.CancellationToken);

        Assert.False(await WriteAsync());

        Assert.False(File.Exists(List));
    }

    [Theory]
    [InlineData("DNS=10.0.0.2#dns.example", "nameserver 10.0.0.2\n")]
    [InlineData("DNS=nonsense 10.0.0.2", "nameserver 10.0.0.2\n")]
    [InlineData("DNS=nonsense", null)]
    public void Only_addresses_are_taken(string line, string? list) => Assert.Equal(list, NameServers.From([line]));

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private Task<bool> WriteAsync() => NameServers.WriteAsync(State, List, new HurriedTime(), TestContext.Current.CancellationToken);
}
