using System.Globalization;
using System.Net;
using System.Net.Sockets;

namespace Mayfly.Agent;

/// <summary>Proof that nothing but the agent reaches the metadata service, and that the launch's egress policy is at work.</summary>
internal sealed class ClosedDoor : IDisposable
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(30);

    private const int Tries = 3;

    /// <summary>A refusal by this machine's own rules takes less than a millisecond.</summary>
    private static readonly TimeSpan TryLimit = TimeSpan.FromSeconds(2);

    private readonly Egress? _egress;

    private ClosedDoor(Egress? egress, string nameServer) => (_egress, NameServer) = (egress, egress is null ? null : nameServer);

    /// <summary>The name server that the job is to ask; null for the network's own.</summary>
    public string? NameServer { get; }

    /// <summary>EC2's two addresses of the metadata service.
    /// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html</summary>
    private static readonly IReadOnlyList<string> Addresses = ["169.254.169.254", "fd00:ec2::254"];

    /// <summary>
    /// Packets without the agent's mark are refused at once, whoever sends them, so that a job gets an error and not a
    /// time-out. The mark and not the user decides: a job that may use sudo is user 0 inside its sandbox too. What is
    /// forwarded for containers never is the agent's.
    /// </summary>
    /// <param name="metadata">Refused as well, where the agent was told of another address than EC2's.</param>
    internal static string RulesFor(Uri metadata)
    {
        var places = Addresses.Select(IPAddress.Parse).Select(PlaceOf).ToList();
        if (IPAddress.TryParse(metadata.DnsSafeHost, out var told) && !Addresses.Contains(told.ToString()))
            places.Add(string.Create(CultureInfo.InvariantCulture, $"{PlaceOf(told)} tcp dport {metadata.Port}"));
        return $$"""
            table inet mayfly {
              chain output {
                type filter hook output priority filter; policy accept;
                {{string.Join("\n    ", places.Select(place => string.Create(CultureInfo.InvariantCulture, $"{place} meta mark != {MarkedSocket.Mark} reject")))}}
              }
              chain forward {
                type filter hook forward priority filter; policy accept;
                {{string.Join("\n    ", places.Select(place => $"{place} reject"))}}
              }
            }
            """;

        static string PlaceOf(IPAddress address) => $"{(address.AddressFamily == AddressFamily.InterNetwork ? "ip" : "ip6")} daddr {address}";
    }

    /// <summary>Loads the rules: they need nothing that the metadata service has to be asked for.</summary>
    /// <exception cref="CommandException">They did not load.</exception>
    public static Task LoadAsync(Uri metadata, TimeProvider time, CancellationToken cancel) => LoadAsync(RulesFor(metadata), time, cancel);

    /// <summary>Puts the egress policy beside the rules that were loaded, and then tries the door without the mark: as root and
    /// outside the sandbox, so that whoever has less is refused as well.</summary>
    /// <param name="loading">By <see cref="LoadAsync(Uri, TimeProvider, CancellationToken)"/>.</param>
    /// <param name="engine">Whose network the job is in; tried from there too. Null for the machine's own.</param>
    /// <param name="keep">Given what serves the policy, and only ends by failing.</param>
    /// <exception cref="CommandException">The rules did not load.</exception>
    /// <exception cref="InvalidOperationException">The metadata service let a socket without the mark in, or nothing refused it.</exception>
    /// <exception cref="IOException">The egress policy cannot be put to work.</exception>
    public static async Task<ClosedDoor> CloseAsync(
        Task loading, Uri metadata, EgressPolicy policy, Engine? engine, bool sudo, Action<string> tell, Action<Task> keep, TimeProvider time, CancellationToken cancel)
    {
        await loading;
        if (EgressRules.For(policy, sudo, DhcpLease.Servers(DhcpLease.Folder)) is { Length: > 0 } rules)
            await LoadAsync(rules, time, cancel);
        await TryAsync(metadata, time, cancel);
        if (engine is not null)
            await engine.TryDoorAsync(metadata, time, cancel);
        var nameServer = engine is null ? Agent.NameServer.Address : EngineNetwork.Address;
        return new ClosedDoor(Egress.Start(policy, nameServer, tell, keep, time), nameServer);
    }

    public void Dispose() => _egress?.Dispose();

    private static async Task LoadAsync(string rules, TimeProvider time, CancellationToken cancel) => await Command.RunAsync("/usr/sbin/nft", ["-f", "-"], rules, Limit, time, cancel);

    /// <summary>Only a refusal shows that the rules are at work. An answer that does not come may be late, and is waited for anew;
    /// any other error, such as a network that is gone, hides whether the door is closed.</summary>
    /// <exception cref="InvalidOperationException">The metadata service let a socket without the mark in, or nothing refused it.</exception>
    internal static async Task TryAsync(Uri metadata, TimeProvider time, CancellationToken cancel)
    {
        for (var attempt = 1; attempt <= Tries; attempt++)
        {
            using var socket = new Socket(SocketType.Stream, ProtocolType.Tcp); // without MarkedSocket.Set
            using var limit = new CancellationTokenSource(TryLimit, time);
            using var either = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, cancel);
            try
            {
                await socket.ConnectAsync(metadata.Host, metadata.Port, either.Token);
                throw new InvalidOperationException($"{metadata} let a connection without the agent's mark in; look at the rules with nft list ruleset");
            }
            catch (SocketException e) when (e.SocketErrorCode is SocketError.ConnectionRefused or SocketError.AccessDenied)
            {
                return;
            }
            catch (SocketException e)
            {
                throw new InvalidOperationException($"{metadata} did not refuse a connection without the agent's mark, which failed otherwise: {e.Message}", e);
            }
            catch (OperationCanceledException) when (!cancel.IsCancellationRequested)
            {
            }
        }

        throw new InvalidOperationException($"{metadata} did not refuse a connection without the agent's mark: no answer within {TryLimit.TotalSeconds:F0} s, {Tries} times");
    }
}
