using System.Globalization;

namespace Mayfly.Agent;

/// <summary>
/// The network that a job shares with its container engine: a cable into the machine's own, which forwards. The engine's root may do
/// there what it likes: what leaves it is judged outside, by the door's rules and the egress policy's for what is forwarded, and
/// the agent's mark is lost on the way.
/// </summary>
internal static class EngineNetwork
{
    /// <summary>The machine's end. Of a network that is meant for the inside of one host and is nobody's outside it, so that no
    /// VPC can have it. https://www.rfc-editor.org/rfc/rfc7335</summary>
    public const string Address = "192.0.0.1";

    /// <summary>The job's end; /usr/lib/mayfly/engine has it too.</summary>
    private const string JobsAddress = "192.0.0.2";

    private const string Device = "job";

    private const string Forwarding = "/proc/sys/net/ipv4/ip_forward";

    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(30);

    /// <summary>
    /// The machine forwards for the job and for nobody else, and under its own address. Of itself it offers the job nothing but the
    /// agent's name server; a sender's address that is not the job's is forged.
    /// </summary>
    internal static string Rules => $$"""
        table inet mayfly_engine {
          chain input {
            type filter hook input priority filter; policy accept;
            iifname "{{Device}}" meta nfproto ipv6 drop
            iifname "{{Device}}" ip saddr != {{JobsAddress}} drop
            iifname "{{Device}}" ip daddr {{Address}} meta l4proto { tcp, udp } th dport 53 accept
            iifname "{{Device}}" ct state established,related accept
            iifname "{{Device}}" reject
          }
          chain forward {
            type filter hook forward priority filter; policy drop;
            iifname "{{Device}}" oifname != "{{Device}}" ip saddr {{JobsAddress}} accept
            oifname "{{Device}}" ct state established,related accept
          }
          chain nat {
            type nat hook postrouting priority srcnat; policy accept;
            oifname != "{{Device}}" ip saddr {{JobsAddress}} masquerade
          }
        }
        """;

    /// <summary>Loads the rules and then lays the cable.</summary>
    /// <param name="process">One of the network's.</param>
    public static async Task LayAsync(int process, TimeProvider time, CancellationToken cancel)
    {
        await Command.RunAsync("/usr/sbin/nft", ["-f", "-"], Rules, Limit, time, cancel);
        await Command.RunAsync("/usr/bin/ip", ["-batch", "-"], string.Create(CultureInfo.InvariantCulture, $"""
            link add {Device} type veth peer name eth0 netns {process}
            address add {Address}/29 dev {Device}
            link set {Device} up

            """), Limit, time, cancel);
        // Inside another machine it may be on already, and read-only.
        if ((await File.ReadAllTextAsync(Forwarding, cancel)).Trim() != "1")
            await File.WriteAllTextAsync(Forwarding, "1", cancel);
    }
}
