using System.Xml.Linq;
using Mayfly.Lab.Aws;
using static Mayfly.Lab.Ec2.Ec2Service;

namespace Mayfly.Lab.Ec2;

/// <summary>A launch template with one override: one type in one zone.</summary>
internal sealed record FleetPool(LaunchTemplate Template, LaunchSpec Spec, string Type, string Zone, XElement Override)
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
internal sealed record FleetRequest(IReadOnlyList<FleetPool> Pools, IReadOnlyList<(bool Spot, int Count)> Targets)
{
    public static FleetRequest From(QueryInput input, LaunchTemplates templates, Fleet fleet)
    {
        if (input.OneOf("Type", "maintain", "request", "maintain", "instant") != "instant")
            throw new AwsFault("InvalidParameterValue", "The lab has fleets of type instant only");
        _ = input.OneOf("SpotOptions.AllocationStrategy", "lowest-price", "lowest-price", "diversified", "capacity-optimized", "capacity-optimized-prioritized", "price-capacity-optimized");
        _ = input.OneOf("SpotOptions.InstanceInterruptionBehavior", "terminate", "terminate");
        _ = input.OneOf("OnDemandOptions.AllocationStrategy", "lowest-price", "lowest-price", "prioritized");
        var tags = LaunchSpec.TagsFrom(input, "TagSpecification", "fleet", "instance");
        return new FleetRequest([.. PoolsFrom(input, templates, fleet, tags)], TargetsFrom(input));
    }

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

    private static IEnumerable<FleetPool> PoolsFrom(QueryInput input, LaunchTemplates templates, Fleet fleet, IReadOnlyDictionary<string, string> tags)
    {
        var configs = input.Structures("LaunchTemplateConfigs");
        if (configs.Count == 0)
            throw new AwsFault("MissingParameter", "The request must contain the parameter LaunchTemplateConfigs");
        foreach (var config in configs)
        {
            var at = config + "LaunchTemplateSpecification.";
            var template = templates.Find(input.Get(at + "LaunchTemplateId"), input.Get(at + "LaunchTemplateName"), input.Require(at + "Version"));
            var spec = (LaunchSpec.Empty with { Tags = tags }).Over(template.Spec);
            spec.Check();
            var overrides = input.Structures(config + "Overrides");
            // Without an override the template's own type and zone are the one pool.
            foreach (var each in overrides.Count == 0 ? [config + "Overrides.0."] : overrides)
                yield return PoolFrom(input, each, template, spec, fleet);
        }
    }

    private static FleetPool PoolFrom(QueryInput input, string at, LaunchTemplate template, LaunchSpec spec, Fleet fleet)
    {
        var (type, subnet, zone, priority) = (input.Get(at + "InstanceType"), input.Get(at + "SubnetId"), input.Get(at + "AvailabilityZone"), input.Get(at + "Priority"));
        if (subnet is not null && zone is not null)
            throw new AwsFault("InvalidParameterCombination", "An override may hold a SubnetId or an AvailabilityZone, not both");
        LaunchSpec.CheckSubnet(subnet);
        var answered = E("overrides",
            type is null ? null : E("instanceType", type), subnet is null ? null : E("subnetId", subnet),
            subnet is null ? E("availabilityZone", fleet.Zone(zone ?? spec.AvailabilityZone)) : null, priority is null ? null : E("priority", priority));
        type ??= spec.InstanceType ?? throw new AwsFault("InvalidParameterValue", "Neither the launch template nor an override has an instance type");
        LaunchSpec.CheckType(type);
        return new FleetPool(template, spec, type, fleet.Zone(zone ?? spec.AvailabilityZone), answered);
    }
}
