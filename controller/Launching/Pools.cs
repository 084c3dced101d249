using System.Globalization;
using Mayfly.Aws;

namespace Mayfly.Controller.Launching;

/// <summary>What an order means to EC2: pools to choose from, and on which market.</summary>
internal static class Pools
{
    /// <summary>What CreateFleet takes of a fleet of type instant.
    /// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/fleet-quotas.html</summary>
    private const int Most = 300;

    /// <summary>The volume for scratch and swap, as controller/deploy/launch-template.json names it.</summary>
    private const string ScratchDevice = "/dev/sdb";

    /// <summary>Each type in each place, once: EC2 refuses a fleet that names a pool twice. None where the launch template says it all.</summary>
    public static IReadOnlyList<FleetOverride> Of(Order order)
    {
        var volume = order.VolumeGiB is { } size ? new FleetVolume(ScratchDevice, size) : null;
        var any = new FleetOverride { ImageId = order.Image, Volume = volume };
        IReadOnlyList<FleetOverride> kinds = order switch
        {
            { InstanceTypes: { Count: > 0 } types } => [.. types.Distinct().Select((type, place) => any with { InstanceType = type, Priority = place })],
            { Requirements: { } wanted } => [any with { Requirements = new(wanted.VCpuLeast, wanted.VCpuMost, wanted.MemoryMiBLeast, wanted.MemoryMiBMost, wanted.AllowedInstanceTypes) }],
            _ => [any],
        };
        IReadOnlyList<FleetOverride> pools = order switch
        {
            { Subnets: { Count: > 0 } subnets } => [.. kinds.SelectMany(kind => subnets.Select(subnet => kind with { SubnetId = subnet }))],
            { Zones: { Count: > 0 } zones } => [.. kinds.SelectMany(kind => zones.Select(zone => kind with { AvailabilityZone = zone }))],
            _ => kinds,
        };
        return pools is [var only] && only == new FleetOverride() ? [] : [.. pools.Take(Most)];
    }

    /// <summary>
    /// Whether a client token asks for spot. Where both markets will do, they take turns from one token to the next: whoever goes
    /// on after a crash asks under a token for the market that it was asked for before.
    /// </summary>
    /// <param name="spent">Tokens before it.</param>
    public static bool IsSpot(SpotMode mode, int spent) => mode switch
    {
        SpotMode.OnDemand => false,
        SpotMode.Spot => true,
        _ => spent % 2 == 0,
    };

    /// <summary>Whether a job that got no spot instance may have one on demand.</summary>
    public static bool FallsBack(SpotMode mode) => mode is SpotMode.Auto or SpotMode.Rerun;

    /// <summary>What spot is kept off by: the families that the instance may be of; where only EC2 knows them, the launch template with the size.</summary>
    public static IReadOnlyCollection<string> KindsOf(Order order) => order switch
    {
        { InstanceTypes: { Count: > 0 } types } => FamiliesOf(types),
        { Requirements.AllowedInstanceTypes: { Count: > 0 } patterns } => FamiliesOf(patterns),
        { Requirements: { } wanted } => [string.Create(CultureInfo.InvariantCulture, $"launch template {order.LaunchTemplate} with {wanted.VCpuLeast}-{wanted.VCpuMost} vCPUs")],
        _ => [$"launch template {order.LaunchTemplate}"],
    };

    private static string[] FamiliesOf(IReadOnlyList<string> types) => [.. types.Select(SpotBreaker.FamilyOf).Distinct()];
}
