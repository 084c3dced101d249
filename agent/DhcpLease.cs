using System.Net;

namespace Mayfly.Agent;

/// <summary>What systemd-networkd has of the network's DHCP servers: a file of <c>NAME=VALUE</c> lines an interface.</summary>
internal static class DhcpLease
{
    public const string Folder = "/run/systemd/netif/leases";

    private const string Server = "SERVER_ADDRESS=";

    /// <summary>The servers that the leases are from; none where addresses were set otherwise.</summary>
    public static IReadOnlyList<IPAddress> Servers(string folder) => !Directory.Exists(folder) ? [] :
        [.. Directory.GetFiles(folder).SelectMany(File.ReadLines).Where(line => line.StartsWith(Server, StringComparison.Ordinal))
            .Select(line => IPAddress.TryParse(line[Server.Length..], out var address) ? address : null).OfType<IPAddress>().Distinct()];
}
