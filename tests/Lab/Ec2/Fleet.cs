using System.Collections.Concurrent;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Xml.Linq;
using Mayfly.Lab.Aws;
using Mayfly.Lab.Machines;
using static Mayfly.Lab.Ec2.Ec2Service;

namespace Mayfly.Lab.Ec2;

/// <summary>The instances of the account: launched, described, ended.</summary>
internal sealed class Fleet(string region, string account, LaunchTemplates templates, MachineFactory machines, Journal journal, TimeProvider time)
{
    private const int ConsoleBytes = 64 * 1024;

    private readonly ConcurrentDictionary<string, Instance> _instances = new();
    private readonly ConcurrentDictionary<string, (string Fingerprint, IReadOnlyList<Instance> Launched, IEnumerable<XElement> Answer)> _tokens = new();
    private readonly Lock _lock = new();
    private int _lastAddress = 9;

    public IReadOnlyCollection<Instance> Instances => [.. _instances.Values];

    /// <summary>Error code by instance type, zone or <c>*</c>, for launches that a test wants refused.</summary>
    public ConcurrentDictionary<string, string> Refusals { get; } = new();

    public Instance? FindByAddress(string address) => _instances.Values.FirstOrDefault(i => i.Address == address && i.State != InstanceState.Terminated);

    public Instance Find(string id) => _instances.TryGetValue(id, out var found) ? found : throw NotFound(id);

    public IEnumerable<XElement> RunInstances(QueryInput input)
    {
        var count = input.Integer("MaxCount", 0, 1, 1000);
        var least = input.Integer("MinCount", 0, 1, 1000);
        if (count == 0 || least == 0)
            throw new AwsFault("MissingParameter", $"The request must contain the parameter {(count == 0 ? "MaxCount" : "MinCount")}");
        if (least > count)
            throw new AwsFault("InvalidParameterCombination", "MinCount may not exceed MaxCount");
        var token = Token(input);
        var spot = input.Get("InstanceMarketOptions.MarketType") == "spot";
        var spec = LaunchSpec.From(input, "");
        if (input.Has("LaunchTemplate."))
            spec = spec.Over(templates.Find(input.Get("LaunchTemplate.LaunchTemplateId"), input.Get("LaunchTemplate.LaunchTemplateName"), input.Get("LaunchTemplate.Version")).Spec);
        spec.Check();
        Ready(input);
        lock (_lock)
        {
            return Once(token, input, () =>
            {
                var type = spec.InstanceType ?? "m1.small";
                var zone = spec.AvailabilityZone ?? region + "a";
                if (RefusalOf(type, zone) is { } code)
                    throw new AwsFault(code, $"We currently do not have sufficient {type} capacity in the Availability Zone you requested ({zone}).", 500);
                var launched = Enumerable.Range(0, count).Select(_ => Launch(spec, type, zone, spot, token)).ToList();
                var reservation = launched[0].ReservationId;
                return (launched, [E("reservationId", reservation), E("ownerId", account), E("groupSet"), E("instancesSet", launched.Select(Xml))]);
            });
        }
    }

    /// <summary>CreateFleet of type <c>instant</c>: pools are tried in the order of the overrides, and errors name them.</summary>
    public IEnumerable<XElement> CreateFleet(QueryInput input)
    {
        if (input.OneOf("Type", "maintain", "request", "maintain", "instant") != "instant")
            throw new AwsFault("InvalidParameterValue", "The lab has fleets of type instant only");
        var token = Token(input);
        var total = input.Integer("TargetCapacitySpecification.TotalTargetCapacity", 0, 1, 1000);
        if (total == 0)
            throw new AwsFault("MissingParameter", "The request must contain the parameter TargetCapacitySpecification.TotalTargetCapacity");
        var spot = input.OneOf("TargetCapacitySpecification.DefaultTargetCapacityType", "on-demand", "spot", "on-demand") == "spot";
        _ = input.OneOf("SpotOptions.AllocationStrategy", "lowest-price", "lowest-price", "diversified", "capacity-optimized", "capacity-optimized-prioritized", "price-capacity-optimized");
        var tags = LaunchSpec.TagsFrom(input, "TagSpecification");
        var configs = input.Structures("LaunchTemplateConfigs");
        if (configs.Count == 0)
            throw new AwsFault("MissingParameter", "The request must contain the parameter LaunchTemplateConfigs");
        var pools = new List<(LaunchTemplate Template, string Type, string Zone)>();
        foreach (var config in configs)
        {
            var at = config + "LaunchTemplateSpecification.";
            var template = templates.Find(input.Get(at + "LaunchTemplateId"), input.Get(at + "LaunchTemplateName"), input.Require(at + "Version"));
            var overrides = input.Structures(config + "Overrides");
            if (overrides.Count == 0)
                pools.Add((template, template.Spec.InstanceType ?? throw new AwsFault("InvalidParameterValue", "The launch template has no instance type and there are no overrides"), region + "a"));
            foreach (var each in overrides)
            {
                _ = input.Get(each + "SubnetId");
                _ = input.Get(each + "Priority");
                pools.Add((template, input.Get(each + "InstanceType") ?? template.Spec.InstanceType ?? "m1.small", input.Get(each + "AvailabilityZone") ?? region + "a"));
            }
        }

        Ready(input);
        lock (_lock)
        {
            return Once(token, input, () =>
            {
                var launched = new List<Instance>();
                var sets = new List<XElement>();
                var errors = new List<XElement>();
                foreach (var (template, type, zone) in pools)
                {
                    if (launched.Count == total)
                        break;
                    var from = E("launchTemplateAndOverrides",
                        E("launchTemplateSpecification", E("launchTemplateId", template.Id), E("version", "1")),
                        E("overrides", E("instanceType", type), E("availabilityZone", zone)));
                    if (RefusalOf(type, zone) is { } code)
                    {
                        errors.Add(E("item", from, E("lifecycle", spot ? "spot" : "on-demand"), E("errorCode", code), E("errorMessage", $"The lab was told to refuse {type} in {zone}.")));
                        continue;
                    }

                    var spec = (Empty with { Tags = tags }).Over(template.Spec);
                    spec.Check();
                    var here = Enumerable.Range(0, total - launched.Count).Select(_ => Launch(spec, type, zone, spot, token)).ToList();
                    launched.AddRange(here);
                    sets.Add(E("item", from, E("lifecycle", spot ? "spot" : "on-demand"), E("instanceIds", here.Select(i => E("item", i.Id))), E("instanceType", type)));
                }

                return (launched, [E("fleetId", "fleet-" + Guid.NewGuid()), E("errorSet", errors), E("fleetInstanceSet", sets)]);
            });
        }
    }

    public IEnumerable<XElement> Describe(QueryInput input)
    {
        var ids = input.List("InstanceId");
        var most = input.Integer("MaxResults", 1000, 5, 1000);
        var start = int.Parse(input.Get("NextToken") ?? "0", CultureInfo.InvariantCulture);
        var filters = input.Structures("Filter").Select(p => (Name: input.Require(p + "Name"), Values: input.List(p + "Value"))).ToList();
        Ready(input);
        var found = (ids.Count > 0 ? ids.Select(Find) : _instances.Values)
            .Where(i => filters.All(f => Matches(i, f.Name, f.Values))).OrderBy(i => i.Launched).ThenBy(i => i.Id, StringComparer.Ordinal).ToList();
        yield return E("reservationSet", found.Skip(start).Take(most).Select(i =>
            E("item", E("reservationId", i.ReservationId), E("ownerId", account), E("groupSet"), E("instancesSet", Xml(i)))));
        if (start + most < found.Count)
            yield return E("nextToken", (start + most).ToString(CultureInfo.InvariantCulture));
    }

    public IEnumerable<XElement> Terminate(QueryInput input)
    {
        var ids = input.List("InstanceId");
        if (ids.Count == 0)
            throw new AwsFault("MissingParameter", "The request must contain the parameter InstanceId");
        Ready(input);
        var changes = new List<XElement>();
        foreach (var instance in ids.Select(Find).ToList())
        {
            var before = StateXml("previousState", instance);
            End(instance, InstanceState.ShuttingDown, "Client.UserInitiatedShutdown", "Client.UserInitiatedShutdown: User initiated shutdown");
            changes.Add(E("item", E("instanceId", instance.Id), StateXml("currentState", instance), before));
            instance.Machine?.Kill();
        }

        return [E("instancesSet", changes)];
    }

    public IEnumerable<XElement> GetConsoleOutput(QueryInput input)
    {
        var instance = Find(input.Require("InstanceId"));
        _ = input.Boolean("Latest", false);
        Ready(input);
        var output = Encoding.UTF8.GetBytes(instance.Machine?.ReadConsole() ?? "");
        return [E("instanceId", instance.Id), E("timestamp", AwsServer.Stamp(time.GetUtcNow())), E("output", Convert.ToBase64String(output.AsSpan(Math.Max(0, output.Length - ConsoleBytes))))];
    }

    public IEnumerable<XElement> CreateTags(QueryInput input)
    {
        var resources = input.List("ResourceId").Select(Find).ToList();
        var tags = input.Structures("Tag").ToDictionary(p => input.Require(p + "Key"), p => input.Get(p + "Value") ?? "");
        Ready(input);
        foreach (var instance in resources)
        {
            var all = instance.Tags.SetItems(tags);
            LaunchSpec.CheckTags(all, instance.Spec.TagsInMetadata == true);
            instance.Tags = all;
        }

        return [E("return", true)];
    }

    public IEnumerable<XElement> DeleteTags(QueryInput input)
    {
        var resources = input.List("ResourceId").Select(Find).ToList();
        var tags = input.Structures("Tag").Select(p => (Key: input.Require(p + "Key"), Value: input.Get(p + "Value"))).ToList();
        Ready(input);
        foreach (var instance in resources)
            instance.Tags = instance.Tags.RemoveRange(tags.Count == 0 ? instance.Tags.Keys : tags.Where(t => t.Value is null || instance.Tags.GetValueOrDefault(t.Key) == t.Value).Select(t => t.Key));
        return [E("return", true)];
    }

    public static string RandomHex() => RandomNumberGenerator.GetHexString(17, lowercase: true);

    private static readonly LaunchSpec Empty = new(null, null, null, [], null, null, null, null, null, null, null, new Dictionary<string, string>());

    private Instance Launch(LaunchSpec spec, string type, string zone, bool spot, string token)
    {
        var number = Interlocked.Increment(ref _lastAddress);
        var instance = new Instance("i-" + RandomHex(), account, region, type, zone, $"10.99.{number / 250 + 1}.{number % 250 + 2}", spec, spot, token, time.GetUtcNow());
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
            instance.State = InstanceState.Running;
            journal.Record("ec2", "instance running", instance.Id);
            await machine.Ended;
            // What ends by itself was shut down from inside, and this lab knows only templates that then terminate.
            End(instance, InstanceState.Terminated, "Client.InstanceInitiatedShutdown", "Client.InstanceInitiatedShutdown: Instance initiated shutdown");
        }
        catch (Exception e)
        {
            End(instance, InstanceState.Terminated, "Server.InternalError", $"Server.InternalError: {e.Message}");
        }

        instance.State = InstanceState.Terminated;
        journal.Record("ec2", "instance terminated", instance.Id, instance.Reason.Message);
    }

    private static void End(Instance instance, InstanceState state, string code, string message)
    {
        if (instance.State == InstanceState.Terminated)
            return;
        instance.State = state;
        if (instance.Reason.Code.Length == 0)
            instance.Reason = (code, message);
    }

    /// <summary>The same token and parameters answer the same; other parameters, or an ended instance, are refused.</summary>
    private IEnumerable<XElement> Once(string token, QueryInput input, Func<(IReadOnlyList<Instance> Launched, IEnumerable<XElement> Answer)> launch)
    {
        if (token.Length == 0)
            return launch().Answer;
        var fingerprint = input.Fingerprint();
        if (_tokens.TryGetValue(token, out var before))
        {
            if (before.Fingerprint != fingerprint)
                throw new AwsFault("IdempotentParameterMismatch", "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).");
            if (before.Launched.Any(i => i.State == InstanceState.Terminated))
                throw new AwsFault("IdempotentInstanceTerminated", "The instance launched with this client token is terminated.");
            return before.Answer;
        }

        var (launched, answer) = launch();
        _tokens[token] = (fingerprint, launched, answer);
        return answer;
    }

    private static string Token(QueryInput input)
    {
        var token = input.Get("ClientToken") ?? "";
        return token.Length <= 64 && token.All(char.IsAscii) ? token : throw new AwsFault("InvalidParameterValue", "ClientToken may have at most 64 ASCII characters");
    }

    private string? RefusalOf(string type, string zone) =>
        Refusals.GetValueOrDefault(type) ?? Refusals.GetValueOrDefault(zone) ?? Refusals.GetValueOrDefault("*");

    private static bool Matches(Instance i, string filter, IReadOnlyList<string> values) => filter switch
    {
        "tag-key" => i.Tags.Keys.Any(values.Contains),
        "instance-state-name" => values.Contains(i.StateName),
        "instance-id" => values.Contains(i.Id),
        "client-token" => values.Contains(i.ClientToken),
        _ when filter.StartsWith("tag:", StringComparison.Ordinal) => i.Tags.TryGetValue(filter[4..], out var value) && values.Contains(value),
        _ => throw new AwsFault("InvalidParameterValue", $"The filter '{filter}' is invalid"),
    };

    private static XElement Xml(Instance i) => E("item",
        E("instanceId", i.Id), E("imageId", i.Spec.ImageId), StateXml("instanceState", i), E("privateDnsName", ""), E("reason", i.Reason.Message),
        E("amiLaunchIndex", "0"), E("instanceType", i.Type), E("launchTime", AwsServer.Stamp(i.Launched)),
        E("placement", E("availabilityZone", i.Zone), E("tenancy", "default")), E("privateIpAddress", i.Address),
        i.Reason.Code.Length > 0 ? E("stateReason", E("code", i.Reason.Code), E("message", i.Reason.Message)) : null,
        E("architecture", "x86_64"), E("rootDeviceType", "ebs"), E("rootDeviceName", "/dev/xvda"),
        i.Spot ? E("instanceLifecycle", "spot") : null, E("clientToken", i.ClientToken), Tags(i.Tags),
        E("metadataOptions", E("state", "applied"), E("httpTokens", i.Spec.HttpTokensRequired == true ? "required" : "optional"),
            E("httpPutResponseHopLimit", i.Spec.HopLimit ?? 1), E("httpEndpoint", "enabled"), E("instanceMetadataTags", i.Spec.TagsInMetadata == true ? "enabled" : "disabled")));

    private static XElement StateXml(string name, Instance i) => E(name, E("code", (int)i.State), E("name", i.StateName));

    private static AwsFault NotFound(string id) => id.StartsWith("i-", StringComparison.Ordinal)
        ? new AwsFault("InvalidInstanceID.NotFound", $"The instance ID '{id}' does not exist")
        : new AwsFault("InvalidInstanceID.Malformed", $"Invalid id: \"{id}\"");
}
