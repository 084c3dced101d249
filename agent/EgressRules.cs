using System.Globalization;
using System.Net;
using System.Net.Sockets;

namespace Mayfly.Agent;

/// <summary>
/// An <see cref="EgressPolicy"/> as nftables rules. Every connection's first packet is judged: a destination that was not
/// seen before is told of once through the kernel's log, and under an allow list what is not on it is refused at once. The
/// addresses of permitted names are added as the names are asked for (<see cref="NameServer"/>).
/// https://wiki.nftables.org/wiki-nftables/index.php/Sets
/// </summary>
internal static class EgressRules
{
    public const string Table = "mayfly_egress";

    /// <summary>How the kernel's log lines begin.</summary>
    public const string LogPrefix = "mayfly-egress ";

    /// <summary>Destinations that are told of; a scan of ports must fill neither memory nor log.</summary>
    private const int MostSeen = 4096;

    /// <param name="dhcpServers">Of whom networkd has the machine's leases, and asks to renew them.</param>
    public static string For(EgressPolicy policy, bool sudo, IReadOnlyCollection<IPAddress> dhcpServers)
    {
        if (policy.Mode == EgressMode.Open)
            return "";
        // A name server of the machine's beside the agent's would hand any question on. Nothing here asks one: /etc/resolv.conf
        // names the network's.
        var (judged, lists, otherNameServers) = policy.Mode == EgressMode.Allow
            ? ("reject", """
                    ip daddr @networks4 accept
                    ip daddr @names4 accept
                    ip6 daddr @networks6 accept
                    ip6 daddr @names6 accept
                """, """meta l4proto { tcp, udp } oifname "lo" th dport 53 reject""")
            : ("accept", "", "");
        // Without sudo all that a job starts is the runner's user. With sudo it can be anyone, and whoever does not bear the
        // agent's mark is judged.
        var others = sudo ? "" : $"meta skuid != {RunnerUser.Id} accept";
        return string.Create(CultureInfo.InvariantCulture, $$"""
            table inet {{Table}} {
              set networks4 { type ipv4_addr; flags interval; auto-merge; {{Elements(policy, AddressFamily.InterNetwork)}} }
              set networks6 { type ipv6_addr; flags interval; auto-merge; {{Elements(policy, AddressFamily.InterNetworkV6)}} }
              set names4 { type ipv4_addr; size 65536; }
              set names6 { type ipv6_addr; size 65536; }
              set seen4 { type inet_proto . ipv4_addr . inet_service; size {{MostSeen}}; flags dynamic; }
              set seen6 { type inet_proto . ipv6_addr . inet_service; size {{MostSeen}}; flags dynamic; }
              set others4 { type inet_proto . ipv4_addr; size {{MostSeen}}; flags dynamic; }
              set others6 { type inet_proto . ipv6_addr; size {{MostSeen}}; flags dynamic; }
              chain output {
                type filter hook output priority filter; policy accept;
                meta mark {{MarkedSocket.Mark}} accept
                oifname "lo" ip daddr {{NameServer.Address}} accept
                {{otherNameServers}}
                oifname "lo" accept
                ct state established,related accept
                {{(dhcpServers.Count == 0 ? "" : $"ip daddr {{ {string.Join(", ", dhcpServers)} }} udp sport 68 udp dport 67 accept")}}
                icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit } accept
                {{others}}
                goto judge
              }
              chain forward {
                type filter hook forward priority filter; policy accept;
                ct state established,related accept
                goto judge
              }
              chain judge {
            {{lists}}
                meta l4proto { tcp, udp } meta l4proto . ip daddr . th dport != @seen4 add @seen4 { meta l4proto . ip daddr . th dport } log prefix "{{LogPrefix}}" level info
                meta l4proto { tcp, udp } meta l4proto . ip6 daddr . th dport != @seen6 add @seen6 { meta l4proto . ip6 daddr . th dport } log prefix "{{LogPrefix}}" level info
                meta l4proto != { tcp, udp } meta l4proto . ip daddr != @others4 add @others4 { meta l4proto . ip daddr } log prefix "{{LogPrefix}}" level info
                meta l4proto != { tcp, udp } meta l4proto . ip6 daddr != @others6 add @others6 { meta l4proto . ip6 daddr } log prefix "{{LogPrefix}}" level info
                {{judged}}
              }
            }
            """);
    }

    /// <summary>Whether rules that the kernel lists are those of a policy, as far as they judge: every new connection goes to the last
    /// chain, and that ends as the policy has it.</summary>
    /// <param name="listed">By <c>nft list table inet mayfly_egress</c>.</param>
    public static bool AreInForce(EgressMode mode, string listed)
    {
        var lines = listed.Split('\n', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries).ToList();
        return Chain("output") is [.., "goto judge"] && Chain("forward") is [.., "goto judge"]
            && Chain("judge") is [.., var last] judge && last.StartsWith(mode == EgressMode.Allow ? "reject" : "accept", StringComparison.Ordinal)
            && judge.Any(rule => rule.Contains(LogPrefix, StringComparison.Ordinal));

        List<string> Chain(string name) => [.. lines.SkipWhile(line => line != $"chain {name} {{").Skip(1).TakeWhile(line => line != "}")];
    }

    private static string Elements(EgressPolicy policy, AddressFamily family)
    {
        var networks = policy.Networks.Where(n => n.BaseAddress.AddressFamily == family).Select(n => n.ToString()).ToList();
        return networks.Count == 0 ? "" : $"elements = {{ {string.Join(", ", networks)} }}";
    }
}
