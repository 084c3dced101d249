using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Xml.Linq;
using Mayfly.Lab.Aws;
using Mayfly.Lab.Machines;
using static Mayfly.Lab.Ec2.Ec2Service;

namespace Mayfly.Lab.Ec2;

/// <summary>What was launched under one client token, and the answer to whoever asks again.</summary>
internal sealed record Launched(IReadOnlyList<Instance> Instances, Func<IEnumerable<XElement>> Answer);

/// <summary>The instances of the account: launched once per client token, interrupted, ended.</summary>
internal sealed class Fleet(string region, string account, LaunchTemplates templates, Images images, MachineFactory machines, Journal journal, TimeProvider time)
{
    private static readonly TimeSpan SpotNotice = TimeSpan.FromMinutes(2);

    private readonly ConcurrentDictionary<string, Instance> _instances = new();
    private readonly Dictionary<(string Action, string Token), (string Fingerprint, Launched Launched)> _tokens = [];
    private readonly Lock _lock = new();
    private int _lastAddress = 9;

    public string Region { get; } = region;

    public string Account { get; } = account;

    public Rates Rates { get; } = RequestLimits.Of(time);

    public IReadOnlyCollection<Instance> Instances => [.. _instances.Values];

    /// <summary>What there is to launch, at what price, and what a test wants refused.</summary>
    public Market Market { get; } = new(time);

    public Images Images { get; } = images;

    /// <summary>Error code by instance type, zone or <c>*</c>, and more: <see cref="Market.Refusals"/>.</summary>
    public ConcurrentDictionary<string, string> Refusals => Market.Refusals;

    /// <summary>Instances that the next fleets launch beyond what they were asked for.</summary>
    public int TooMany { get; set; }

    public Instance? FindByAddress(string address) => _instances.Values.FirstOrDefault(i => i.Address == address && i.State != InstanceState.Terminated);

    public Instance Find(string id) => _instances.TryGetValue(id, out var found) ? found : throw NotFound(id);

    public IEnumerable<XElement> RunInstances(QueryInput input)
    {
        var count = RequiredInteger(input, "MaxCount");
        if (RequiredInteger(input, "MinCount") > count)
            throw new AwsFault("InvalidParameterCombination", "MinCount may not exceed MaxCount");
        var token = Token(input);
        var spot = SpotFrom(input);
        var spec = LaunchSpec.From(input, "");
        if (input.Has("LaunchTemplate."))
            spec = spec.Over(templates.Find(input.Get("LaunchTemplate.LaunchTemplateId"), input.Get("LaunchTemplate.LaunchTemplateName"), input.Get("LaunchTemplate.Version")).Spec);
        spec.Check();
        var type = spec.InstanceType ?? "m1.small";
        var zone = Zone(spec.AvailabilityZone ?? Market.ZoneOf(spec.SubnetId));
        CheckArchitecture(spec, type);
        Ready(input);
        return Once("RunInstances", token, input, () =>
        {
            Rates.Take(RequestLimits.LaunchedInstances, count);
            var least = input.Integer("MinCount", count, 1, 1000);
            var reservation = "r-" + RandomHex();
            var launched = LaunchUpTo(count, out var shortage, () => Launch(spec, type, zone, spec.SubnetId, spot, null, token, reservation));
            if (launched.Count < least)
                throw Undo(launched, shortage!);
            return new Launched(launched, () =>
                [E("reservationId", reservation), E("ownerId", Account), E("groupSet"), E("instancesSet", launched.Select(i => i.Xml()))]);
        });
    }

    /// <summary>CreateFleet of type <c>instant</c>: pools are tried in the order of the overrides, and errors name them.</summary>
    public IEnumerable<XElement> CreateFleet(QueryInput input)
    {
        var token = Token(input);
        var request = FleetRequest.From(input, templates, this);
        Ready(input);
        return Once("CreateFleet", token, input, () =>
        {
            Rates.Take(RequestLimits.LaunchedInstances, request.Targets.Sum(t => t.Count));
            var (sets, errors) = (new List<(FleetPool Pool, bool Spot, List<Instance> Instances)>(), new List<(FleetPool Pool, bool Spot, AwsFault Fault)>());
            foreach (var (spot, target) in request.Targets)
            {
                var missing = target;
                foreach (var pool in request.InOrder(spot, Market).ToList())
                {
                    if (missing == 0)
                        break;
                    var reservation = "r-" + RandomHex();
                    var launched = LaunchUpTo(missing + TooMany, out var shortage, () =>
                    {
                        CheckArchitecture(pool.Spec, pool.Type);
                        return Launch(pool.Spec, pool.Type, pool.Zone, pool.Subnet, spot, pool.MaxPrice, token, reservation);
                    });
                    missing = Math.Max(0, missing - launched.Count);
                    if (launched.Count > 0)
                        sets.Add((pool, spot, launched));
                    if (shortage is not null)
                        errors.Add((pool, spot, shortage));
                }
            }

            var id = "fleet-" + Guid.NewGuid();
            return new Launched([.. sets.SelectMany(s => s.Instances)], () =>
            [
                E("fleetId", id),
                E("errorSet", errors.Select(e => E("item", e.Pool.Xml(), Lifecycle(e.Spot), E("errorCode", e.Fault.Code), E("errorMessage", e.Fault.Message)))),
                E("fleetInstanceSet", sets.Select(s => E("item", s.Pool.Xml(), Lifecycle(s.Spot), E("instanceIds", s.Instances.Select(i => E("item", i.Id))), E("instanceType", s.Pool.Type)))),
            ]);
        });
    }

    public IEnumerable<XElement> Terminate(QueryInput input)
    {
        var ids = input.List("InstanceId");
        if (ids.Count == 0)
            throw new AwsFault("MissingParameter", "The request must contain the parameter InstanceId");
        if (ids.Count > 1000)
            throw new AwsFault("InvalidParameterValue", "At most 1000 instances can be terminated at once");
        Ready(input);
        var changes = new List<XElement>();
        // One that is unknown leaves all as they are.
        var instances = ids.Select(Find).Distinct().ToList();
        Rates.Take(RequestLimits.TerminatedInstances, instances.Count);
        foreach (var instance in instances)
        {
            var before = instance.StateXml("previousState");
            instance.End("Client.UserInitiatedShutdown", "Client.UserInitiatedShutdown: User initiated shutdown");
            changes.Add(E("item", E("instanceId", instance.Id), instance.StateXml("currentState"), before));
            Off(instance, machine => machine.ShutDown());
        }

        return [E("instancesSet", changes)];
    }

    /// <summary>EC2 says that it will take a spot instance back in two minutes.</summary>
    public void WarnOfInterruption(string id)
    {
        var at = (time.GetUtcNow() + SpotNotice).ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", System.Globalization.CultureInfo.InvariantCulture);
        Find(id).SpotAction = $$"""{"action": "terminate", "time": "{{at}}"}""";
        journal.Record("ec2", "interruption noticed", id, at);
    }

    /// <summary>EC2 says that a spot instance is at elevated risk.</summary>
    public void RecommendRebalance(string id) =>
        Find(id).Rebalance = $$"""{"noticeTime": "{{time.GetUtcNow().ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", System.Globalization.CultureInfo.InvariantCulture)}}"}""";

    /// <summary>EC2 takes a spot instance back.</summary>
    public void Interrupt(string id)
    {
        var instance = Find(id);
        instance.End("Server.SpotInstanceTermination", "Server.SpotInstanceTermination: Spot instance termination");
        Off(instance);
    }

    public string Zone(string? given)
    {
        var zone = given ?? Region + "a";
        return zone.Length == Region.Length + 1 && zone.StartsWith(Region, StringComparison.Ordinal) && zone[^1] is >= 'a' and <= 'c'
            ? zone
            : throw new AwsFault("InvalidParameterValue", $"Invalid availability zone: [{zone}]");
    }

    public static string RandomHex() => RandomNumberGenerator.GetHexString(17, lowercase: true);

    /// <summary>As many as there are, up to so many, and what the first one that was not there was refused with.</summary>
    private static List<Instance> LaunchUpTo(int count, out AwsFault? shortage, Func<Instance> launch)
    {
        var launched = new List<Instance>();
        shortage = null;
        try
        {
            while (launched.Count < count)
                launched.Add(launch());
        }
        catch (AwsFault fault)
        {
            shortage = fault;
        }

        return launched;
    }

    /// <summary>Fewer than the least that was asked for are none.</summary>
    private AwsFault Undo(List<Instance> launched, AwsFault why)
    {
        foreach (var instance in launched)
        {
            instance.End(why.Code, why.Message);
            Off(instance);
        }

        return why;
    }

    private void CheckArchitecture(LaunchSpec spec, string type)
    {
        var (image, wanted) = (Images.ArchitectureOf(spec.ImageId!), InstanceType.Of(type).Architecture);
        if (InstanceType.Catalogue.ContainsKey(type) && image != wanted)
            throw new AwsFault("InvalidParameterValue", $"The architecture '{wanted}' of the specified instance type does not match the architecture '{image}' of the specified AMI. Specify an instance type and an AMI that have matching architectures, and try again.");
    }

    private Instance Launch(LaunchSpec spec, string type, string zone, string? subnet, bool spot, decimal? maxPrice, string token, string reservation)
    {
        Market.Take(type, zone, subnet, spot, maxPrice, _instances.Values.Where(i => i.State is InstanceState.Pending or InstanceState.Running));
        var number = Interlocked.Increment(ref _lastAddress);
        var instance = new Instance("i-" + RandomHex(), Account, Region, type, zone, $"10.99.{number / 250 + 1}.{number % 250 + 2}", spec, spot, token, reservation, time.GetUtcNow());
        instance.Subnet = subnet;
        var machine = machines.Create(instance) ?? throw new AwsFault("InvalidAMIID.NotFound", $"The image id '[{spec.ImageId}]' does not exist");
        instance.Machine = machine;
        _instances[instance.Id] = instance;
        journal.Record("ec2", "instance launched", instance.Id, $"{type} in {zone}");
        _ = LiveAsync(instance, machine);
        return instance;
    }

    private async Task LiveAsync(Instance instance, IMachine machine)
    {
        try
        {
            await machine.StartAsync();
            if (instance.Begin())
                journal.Record("ec2", "instance running", instance.Id);
            await machine.Ended;
            // What ends by itself was shut down from inside.
            instance.ShutDown("Client.InstanceInitiatedShutdown", "Client.InstanceInitiatedShutdown: Instance initiated shutdown");
        }
        catch (Exception e)
        {
            instance.End("Server.InternalError", $"Server.InternalError: {e.Message}");
        }

        Settle(instance);
    }

    private void Off(Instance instance) => Off(instance, machine => machine.Kill());

    private void Off(Instance instance, Action<IMachine> end)
    {
        if (instance.Machine is { Ended.IsCompleted: false } machine)
            end(machine);
        else
            Settle(instance); // it had stopped, so its machine is off already
    }

    private void Settle(Instance instance)
    {
        if (instance.Settle(time.GetUtcNow()) is not { } state)
            return;
        Market.Return(instance);
        journal.Record("ec2", $"instance {state}", instance.Id, instance.Reason.Message);
    }

    /// <summary>The same token and parameters answer the same; other parameters, or an ended instance, are refused.
    /// https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-idempotency.html</summary>
    private IEnumerable<XElement> Once(string action, string token, QueryInput input, Func<Launched> launch)
    {
        lock (_lock)
        {
            if (token.Length == 0)
                return launch().Answer();
            var fingerprint = input.Fingerprint();
            if (_tokens.TryGetValue((action, token), out var before))
            {
                if (before.Fingerprint != fingerprint)
                    throw new AwsFault("IdempotentParameterMismatch", "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).");
                if (before.Launched.Instances.Any(i => i.State == InstanceState.Terminated))
                    throw new AwsFault("IdempotentInstanceTerminated", "The instance launched with this client token is terminated.");
                return before.Launched.Answer();
            }

            var launched = launch();
            _tokens[(action, token)] = (fingerprint, launched);
            return launched.Answer();
        }
    }

    private static int RequiredInteger(QueryInput input, string name)
    {
        _ = input.Require(name);
        return input.Integer(name, 0, 1, 1000);
    }

    private static string Token(QueryInput input)
    {
        var token = input.Get("ClientToken") ?? "";
        return token.Length <= 64 && token.All(char.IsAscii) ? token : throw new AwsFault("InvalidParameterValue", "ClientToken may have at most 64 ASCII characters");
    }

    private static bool SpotFrom(QueryInput input)
    {
        const string market = "InstanceMarketOptions.";
        if (!input.Has(market))
            return false;
        _ = input.Require(market + "MarketType");
        _ = input.OneOf(market + "MarketType", "spot", "spot");
        _ = input.OneOf(market + "SpotOptions.SpotInstanceType", "one-time", "one-time");
        _ = input.OneOf(market + "SpotOptions.InstanceInterruptionBehavior", "terminate", "terminate");
        return true;
    }

    private static XElement Lifecycle(bool spot) => E("lifecycle", spot ? "spot" : "on-demand");

    public static AwsFault NotFound(string id) => id.StartsWith("i-", StringComparison.Ordinal)
        ? new AwsFault("InvalidInstanceID.NotFound", $"The instance ID '{id}' does not exist")
        : new AwsFault("InvalidInstanceID.Malformed", $"Invalid id: \"{id}\"");
}
