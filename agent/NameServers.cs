using System.Net;

namespace Mayfly.Agent;

/// <summary>
/// Whom to ask for names: what the network has told systemd-networkd, written down as resolv.conf(5) has it. That is all that
/// systemd-resolved would be here for, and it would be the longest of all that systemd starts before the agent (docs/decisions/0036).
/// </summary>
internal static class NameServers
{
    /// <summary><c>/etc/resolv.conf</c> leads here, on the system and in the sandbox.</summary>
    public const string ResolvConf = "/run/systemd/resolve/resolv.conf";

    /// <summary>networkd's own account of all its links, lines of <c>NAME=VALUE</c>: the file behind sd_network_get_dns().</summary>
    public const string State = "/run/systemd/netif/state";

    /// <summary>networkd knows them with the lease that brought the address by which metadata is reached, and has only to write
    /// them down. A network without name servers costs a launch this long.</summary>
    public static readonly TimeSpan Limit = TimeSpan.FromSeconds(2);

    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(10);

    /// <summary>Writes the list, unless who made the machine has.</summary>
    /// <returns>Whether there is one now.</returns>
    public static async Task<bool> WriteAsync(string state, string resolvConf, TimeProvider time, CancellationToken cancel)
    {
        var start = time.GetTimestamp();
        while (!File.Exists(resolvConf))
        {
            if (File.Exists(state) && From(await File.ReadAllLinesAsync(state, cancel)) is { } list)
            {
                Directory.CreateDirectory(Path.GetDirectoryName(resolvConf)!);
                await File.WriteAllTextAsync(resolvConf, list, cancel);
                return true;
            }

            if (time.GetElapsedTime(start) > Limit)
                return false;
            await Task.Delay(Pause, time, cancel);
        }

        return true;
    }

    /// <summary>Null while it names no server.</summary>
    public static string? From(IEnumerable<string> state)
    {
        string[] Words(string name) => [.. state.Where(l => l.StartsWith(name, StringComparison.Ordinal)).SelectMany(l => l[name.Length..].Split(' ', StringSplitOptions.RemoveEmptyEntries))];
        // A server may bear the name that its certificate has to have; nobody here speaks TLS to it.
        var servers = Words("DNS=").Select(word => word.Split('#')[0]).Where(word => IPAddress.TryParse(word, out _)).Select(word => $"nameserver {word}\n").ToList();
        var domains = Words("DOMAINS=");
        return servers.Count == 0 ? null : string.Concat(servers) + (domains.Length == 0 ? "" : $"search {string.Join(' ', domains)}\n");
    }
}
