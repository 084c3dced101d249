using System.Collections.Immutable;
using Mayfly.Lab.Machines;

namespace Mayfly.Lab.Ec2;

internal enum InstanceState
{
    Pending = 0,
    Running = 16,
    ShuttingDown = 32,
    Terminated = 48,
}

/// <summary>An instance, from its launch until long after its end.</summary>
internal sealed class Instance(string id, string account, string region, string type, string zone, string address, LaunchSpec spec, bool spot, string clientToken, DateTimeOffset launched)
{
    public string Id { get; } = id;
    public string Arn { get; } = $"arn:aws:ec2:{region}:{account}:instance/{id}";
    public string ReservationId { get; } = "r-" + id[2..];
    public string Type { get; } = type;
    public string Zone { get; } = zone;
    public string Address { get; } = address;
    public LaunchSpec Spec { get; } = spec;
    public bool Spot { get; } = spot;
    public string ClientToken { get; } = clientToken;
    public DateTimeOffset Launched { get; } = launched;
    public ImmutableDictionary<string, string> Tags { get; set; } = spec.Tags.ToImmutableDictionary();
    public InstanceState State { get; set; } = InstanceState.Pending;

    /// <summary>Code and message, such as <c>Client.InstanceInitiatedShutdown</c>; empty while it lives.</summary>
    public (string Code, string Message) Reason { get; set; } = ("", "");

    public IMachine? Machine { get; set; }

    /// <summary>JSON of the spot notice, once one is given.</summary>
    public string? SpotAction { get; set; }

    public string StateName => State switch
    {
        InstanceState.Pending => "pending",
        InstanceState.Running => "running",
        InstanceState.ShuttingDown => "shutting-down",
        _ => "terminated",
    };
}
