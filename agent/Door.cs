namespace Mayfly.Agent;

/// <summary>Proof that nobody but root reaches the metadata service.</summary>
internal sealed class ClosedDoor
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(30);

    private ClosedDoor()
    {
    }

    /// <summary>
    /// Packets of sockets that do not belong to root are refused at once, so that a job gets an error and not a
    /// time-out; what is forwarded for containers is refused whoever sends it. A packet without a socket has no owner
    /// to match and falls through to the refusal.
    /// </summary>
    private const string Rules =
        """
        table inet mayfly {
          chain output {
            type filter hook output priority filter; policy accept;
            ip daddr 169.254.169.254 jump metadata
            ip6 daddr fd00:ec2::254 jump metadata
          }
          chain forward {
            type filter hook forward priority filter; policy accept;
            ip daddr 169.254.169.254 reject
            ip6 daddr fd00:ec2::254 reject
          }
          chain metadata {
            meta skuid 0 accept
            reject
          }
        }
        """;

    /// <summary>Loads the rules and then tries the door as the runner's user.</summary>
    /// <exception cref="CommandException">The rules did not load, or the user got through.</exception>
    public static async Task<ClosedDoor> CloseAsync(Uri metadata, TimeProvider time, CancellationToken cancel)
    {
        await Command.RunAsync("/usr/sbin/nft", ["-f", "-"], Rules, Limit, time, cancel);
        var probe = RunnerUser.Command(Environment.ProcessPath!, Program.ProbeDoor, metadata.Host, metadata.Port.ToString(System.Globalization.CultureInfo.InvariantCulture));
        await Command.RunAsync(probe[0], probe[1..], input: null, Limit, time, cancel);
        return new ClosedDoor();
    }
}
