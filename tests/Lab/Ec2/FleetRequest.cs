using System.Globalization;
using System.Xml.Linq;
using Mayfly.Lab.Aws;
using static Mayfly.Lab.Ec2.Ec2Service;

namespace Mayfly.Lab.Ec2;

/// <summary>A launch template with one override: one type in one zone.</summary>
/// <param name="Priority">The lower, the sooner; null is last.</param>
/// <param name="MaxPrice">Dollars an hour that spot may cost.</param>
internal sealed record FleetPool(LaunchTemplate Template, LaunchSpec Spec, string Type, string Zone, string? Subnet, double? Priority, decimal? MaxPrice, XElement Override)
{
    /// <summary>As a fleet's answer names it: the template, and what the request overrode.</summary>
    public XElement Xml() => E("launchTemplateAndOverrides",
        E("launchTemplateSpecification", E("launchTemplateId", Template.Id), E("version", "1")), Override);
}

/// <summary>
/// What CreateFleet of type <c>instant</c> was asked for.
/// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateFleet.html
/// </summary>
/// <param name="Targets">On-demand capacity first, as EC2 launches it.</param>
internal sealed record FleetRequest(IReadOnlyList<FleetPool> Pools, IReadOnlyList<(bool Spot, int Count)> Targets, string SpotStrategy, string OnDemandStrategy)
{
    /// <summary>EC2 takes at most so many combinations of type and place in one request.</summary>
    private const int MostOverrides = 300;

    public static FleetRequest From(QueryInput input, LaunchTemplates templates, Fleet fleet)
    {
        if (input.OneOf("Type", "maintain", "request", "maintain", "instant") != "instant")
            throw new AwsFault("InvalidParameterValue", "The lab has fleets of type instant only");
        var spot = input.OneOf("SpotOptions.AllocationStrategy", "lowest-price", "lowest-price", "diversified", "capacity-optimized", "capacity-optimized-prioritized", "price-capacity-optimized");
        _ = input.OneOf("SpotOptions.InstanceInterruptionBehavior", "terminate", "terminate");
        var onDemand = input.OneOf("OnDemandOptions.AllocationStrategy", "lowest-price", "lowest-price", "prioritized");
        var tags = LaunchSpec.TagsFrom(input, "TagSpecification", "fleet", "instance");
        var targets = TargetsFrom(input);
        return new FleetRequest([.. PoolsFrom(input, templates, fleet, tags, targets.Any(t => t.Spot))], targets, spot, onDemand);
    }

    /// <summary>The pools in the order in which they are tried.</summary>
    public IEnumerable<FleetPool> InOrder(bool spot, Market market) => (spot ? SpotStrategy : OnDemandStrategy) switch
    {
        "prioritized" => Pools.OrderBy(p => p.Priority ?? double.MaxValue),
        "capacity-optimized-prioritized" => Pools.OrderBy(p => market.Capacity.ContainsKey($"{p.Type}/{p.Zone}")).ThenBy(p => p.Priority ?? double.MaxValue),
        "capacity-optimized" => Pools.OrderByDescending(p => market.Capacity.GetValueOrDefault($"{p.Type}/{p.Zone}", int.MaxValue)),
        // First where most is left, then where it is cheap: a pool that could run dry is a bad one even if it is the cheapest.
        "price-capacity-optimized" => Pools.OrderBy(p => market.Capacity.ContainsKey($"{p.Type}/{p.Zone}")).ThenBy(p => market.SpotPriceOf(p.Type, p.Zone)),
        "diversified" => Pools,
        _ => Pools.OrderBy(p => spot ? market.SpotPriceOf(p.Type, p.Zone) : InstanceType.Of(p.Type).OnDemand),
    };

    private static List<(bool Spot, int Count)> TargetsFrom(QueryInput input)
    {
        const string target = "TargetCapacitySpecification.";
        _ = input.Require(target + "TotalTargetCapacity");
        var total = input.Integer(target + "TotalTargetCapacity", 0, 1, 1000);
        var onDemand = input.Integer(target + "OnDemandTargetCapacity", 0, 0, 1000);
        var spot = input.Integer(target + "SpotTargetCapacity", 0, 0, 1000);
        if (onDemand + spot > total)
            throw new AwsFault("InvalidParameterCombination", "OnDemandTargetCapacity and SpotTargetCapacity together may not exceed TotalTargetCapacity");
        if (input.OneOf(target + "DefaultTargetCapacityType", "on-demand", "spot", "on-demand") == "spot")
            spot = total - onDemand;
        else
            onDemand = total - spot;
        return [.. new[] { (Spot: false, Count: onDemand), (Spot: true, Count: spot) }.Where(t => t.Count > 0)];
    }

    private static List<FleetPool> PoolsFrom(QueryInput input, LaunchTemplates templates, Fleet fleet, IReadOnlyDictionary<string, string> tags, bool spot)
    {
        var configs = input.Structures("LaunchTemplateConfigs");
        if (configs.Count == 0)
            throw new AwsFault("MissingParameter", "The request must contain the parameter LaunchTemplateConfigs");
        var (pools, count) = (new List<FleetPool>(), 0);
        foreach (var config in configs)
        {
            var at = config + "LaunchTemplateSpecification.";
            var template = templates.Find(input.Get(at + "LaunchTemplateId"), input.Get(at + "LaunchTemplateName"), input.Require(at + "Version"));
            var spec = (LaunchSpec.Empty with { Tags = tags }).Over(template.Spec);
            var overrides = input.Structures(config + "Overrides");
            count += overrides.Count;
            // Without an override the template's own type and zone are the one pool.
            foreach (var each in overrides.Count == 0 ? [config + "Overrides.0."] : overrides)
                pools.AddRange(PoolsFrom(input, each, template, spec, fleet, spot));
        }

        // One of two subnets in a zone is one too many.
        if (pools.DistinctBy(p => (p.Template.Id, p.Type, fleet.Market.ZoneOf(p.Subnet) ?? p.Subnet ?? p.Zone)).Count() < pools.Count)
            throw new AwsFault("InvalidFleetConfig", "The fleet configuration contains duplicate instance pools.");
        return count <= MostOverrides ? pools : throw new AwsFault("InvalidFleetConfiguration", $"The fleet has {count} overrides, and at most {MostOverrides} are allowed");
    }

    /// <summary>One for each type that the override allows.</summary>
    private static IEnumerable<FleetPool> PoolsFrom(QueryInput input, string at, LaunchTemplate template, LaunchSpec spec, Fleet fleet, bool spot)
    {
        var (type, subnet, zone) = (input.Get(at + "InstanceType"), input.Get(at + "SubnetId"), input.Get(at + "AvailabilityZone"));
        if (subnet is not null && zone is not null)
            throw new AwsFault("InvalidParameterCombination", "An override may hold a SubnetId or an AvailabilityZone, not both");
        LaunchSpec.CheckSubnet(subnet);
        var (image, devices) = (input.Get(at + "ImageId"), LaunchSpec.BlockDevicesFrom(input, at + "BlockDeviceMapping"));
        spec = (LaunchSpec.Empty with { ImageId = image, BlockDevices = devices }).Over(spec);
        spec = spec with { ImageId = fleet.Images.Resolve(spec.ImageId) };
        spec.Check();
        var requirements = at + "InstanceRequirements.";
        if (input.Has(requirements) && type is not null)
            throw new AwsFault("InvalidParameterCombination", "InstanceType and InstanceRequirements cannot both be specified in an override");
        IReadOnlyList<string> types = input.Has(requirements)
            ? InstanceRequirements.Match(input, requirements, fleet.Images.ArchitectureOf(spec.ImageId!), spot)
            : [type ?? spec.InstanceType ?? throw new AwsFault("InvalidParameterValue", "Neither the launch template nor an override has an instance type")];
        var priority = Number(input, at + "Priority");
        var maxPrice = Number(input, at + "MaxPrice");
        var place = fleet.Zone(zone ?? fleet.Market.ZoneOf(subnet) ?? spec.AvailabilityZone);
        foreach (var each in types)
        {
            LaunchSpec.CheckType(each);
            var answered = E("overrides",
                type is null && !input.Has(requirements) ? null : E("instanceType", each), maxPrice is null ? null : E("maxPrice", maxPrice), subnet is null ? null : E("subnetId", subnet),
                subnet is null ? E("availabilityZone", place) : null, priority is null ? null : E("priority", priority), image is null ? null : E("imageId", image),
                devices.Count == 0 ? null : LaunchSpec.BlockDevicesXml(devices));
            yield return new FleetPool(template, spec, each, place, subnet ?? spec.SubnetId, (double?)priority, maxPrice, answered);
        }
    }

    private static decimal? Number(QueryInput input, string name) => input.Get(name) switch
    {
        null => null,
        var text when decimal.TryParse(text, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var value) => value,
        var text => throw new AwsFault("InvalidParameterValue", $"Value ({text}) for parameter {name} is invalid."),
    };
}
