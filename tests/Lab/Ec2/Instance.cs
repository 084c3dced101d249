using System.Collections.Immutable;
using System.Xml.Linq;
using Mayfly.Lab.Aws;
using Mayfly.Lab.Machines;
using static Mayfly.Lab.Ec2.Ec2Service;

namespace Mayfly.Lab.Ec2;

internal enum InstanceState
{
    Pending = 0,
    Running = 16,
    ShuttingDown = 32,
    Terminated = 48,
    Stopped = 80,
}

/// <summary>An instance, from its launch until long after its end.</summary>
internal sealed class Instance(
    string id, string account, string region, string type, string zone, string address, LaunchSpec spec, bool spot, string clientToken,
    string reservationId, DateTimeOffset launched)
{
    private readonly Lock _lock = new();
    private readonly TaskCompletionSource _spotNoticed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private string? _spotAction;
    private ImmutableList<(DateTimeOffset At, ImmutableDictionary<string, string> Tags)> _tags = [(DateTimeOffset.MinValue, spec.Tags.ToImmutableDictionary())];

    public string Id { get; } = id;
    public string Arn { get; } = $"arn:aws:ec2:{region}:{account}:instance/{id}";
    public string ReservationId { get; } = reservationId;
    public string Type { get; } = type;
    public string Zone { get; } = zone;
    public string Address { get; } = address;
    public LaunchSpec Spec { get; } = spec;
    public bool Spot { get; } = spot;
    public string ClientToken { get; } = clientToken;
    public DateTimeOffset Launched { get; } = launched;

    /// <summary>Its tags as EC2 answers them.</summary>
    public ImmutableDictionary<string, string> Tags => _tags[^1].Tags;

    public InstanceState State { get; private set; } = InstanceState.Pending;

    /// <summary>Code and message, such as <c>Client.InstanceInitiatedShutdown</c>; empty while it lives.</summary>
    public (string Code, string Message) Reason { get; private set; } = ("", "");

    public IMachine? Machine { get; set; }

    public string? Subnet { get; set; }

    /// <summary>When it was terminated; null until then.</summary>
    public DateTimeOffset? Terminated { get; private set; }

    /// <summary>JSON of the spot notice, once one is given.</summary>
    public string? SpotAction
    {
        get => _spotAction;
        set
        {
            _spotAction = value;
            if (value is not null)
                _spotNoticed.TrySetResult();
        }
    }

    /// <summary>Completes with the spot notice.</summary>
    public Task WhenSpotNoticed => _spotNoticed.Task;

    /// <summary>JSON of the rebalance recommendation, once one is given.</summary>
    public string? Rebalance { get; set; }

    /// <summary>The metadata service answers it with an error, whatever it asks.</summary>
    public bool MetadataFails { get; set; }

    public string StateName => State switch
    {
        InstanceState.Pending => "pending",
        InstanceState.Running => "running",
        InstanceState.ShuttingDown => "shutting-down",
        InstanceState.Stopped => "stopped",
        _ => "terminated",
    };

    /// <summary>Its tags as they were at a moment.</summary>
    public ImmutableDictionary<string, string> TagsAt(DateTimeOffset moment) => _tags.FindLast(t => t.At <= moment).Tags;

    public void Retag(ImmutableDictionary<string, string> tags, DateTimeOffset now)
    {
        lock (_lock)
            _tags = _tags.Add((now, tags));
    }

    /// <summary>False if it was ended before it ran.</summary>
    public bool Begin()
    {
        lock (_lock)
        {
            if (State != InstanceState.Pending)
                return false;
            State = InstanceState.Running;
            return true;
        }
    }

    /// <summary>Begins to end it for good; the first reason stays.</summary>
    public void End(string code, string message)
    {
        lock (_lock)
        {
            if (State is InstanceState.Terminated or InstanceState.ShuttingDown)
                return;
            (State, Reason) = (InstanceState.ShuttingDown, (code, message));
        }
    }

    /// <summary>Its system powered off: it ends for good only if it was launched so. EC2's own default is to stop.</summary>
    public void ShutDown(string code, string message)
    {
        lock (_lock)
        {
            if (State is InstanceState.Pending or InstanceState.Running)
                (State, Reason) = (Spec.ShutdownBehavior == "terminate" ? InstanceState.ShuttingDown : InstanceState.Stopped, (code, message));
        }
    }

    /// <summary>Its machine is off. Answers the name of the state it is in for good, once.</summary>
    public string? Settle(DateTimeOffset now)
    {
        lock (_lock)
        {
            if (State == InstanceState.Terminated)
                return null;
            if (State != InstanceState.Stopped)
                (State, Terminated) = (InstanceState.Terminated, now);
            return StateName;
        }
    }

    public XElement StateXml(string name) => E(name, E("code", (int)State), E("name", StateName));

    /// <summary>Of what somebody ended the moment stands here, and nowhere else; of what switched itself off it stands nowhere.</summary>
    private string Transition => Reason.Code switch
    {
        "Client.UserInitiatedShutdown" when Terminated is { } end => $"User initiated ({end.UtcDateTime:yyyy-MM-dd HH:mm:ss} GMT)",
        "Client.UserInitiatedShutdown" or "Client.InstanceInitiatedShutdown" => "User initiated",
        _ => Reason.Message,
    };

    public XElement Xml() => E("item",
        E("instanceId", Id), E("imageId", Spec.ImageId), StateXml("instanceState"), E("privateDnsName", ""),
        E("reason", Transition),
        E("amiLaunchIndex", "0"), E("instanceType", Type), E("launchTime", AwsServer.Stamp(Launched)),
        E("placement", E("availabilityZone", Zone), E("tenancy", "default")), E("privateIpAddress", Address),
        Reason.Code.Length > 0 ? E("stateReason", E("code", Reason.Code), E("message", Reason.Message)) : null,
        Subnet is null ? null : E("subnetId", Subnet), E("architecture", InstanceType.Of(Type).Architecture), E("rootDeviceType", "ebs"), E("rootDeviceName", "/dev/xvda"),
        Spot ? E("instanceLifecycle", "spot") : null, E("clientToken", ClientToken), TagSet(Tags),
        E("metadataOptions", E("state", "applied"), Spec.MetadataXml()));
}
