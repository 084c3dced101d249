using Mayfly.Aws;

namespace Mayfly.Controller.Tests;

/// <summary>What an order becomes in EC2's words.</summary>
public sealed class PoolsTests
{
    private static readonly Order Plain = Order.Nothing;

    [Fact]
    public void An_order_that_says_nothing_leaves_all_to_the_launch_template() => Assert.Empty(Pools.Of(Plain));

    [Fact]
    public void Each_type_is_asked_for_in_each_subnet_in_the_order_of_preference()
    {
        var pools = Pools.Of(Plain with { InstanceTypes = ["m7i.large", "m7a.large", "m7i.large"], Subnets = ["subnet-1", "subnet-2"], Zones = ["eu-central-1a", "eu-central-1b"] });
        Assert.Equal([("m7i.large", "subnet-1", 0), ("m7i.large", "subnet-2", 0), ("m7a.large", "subnet-1", 1), ("m7a.large", "subnet-2", 1)],
            pools.Select(p => (p.InstanceType!, p.SubnetId!, p.Priority!.Value)));
        Assert.All(pools, p => Assert.Null(p.AvailabilityZone)); // EC2 refuses both
    }

    [Fact]
    public void What_the_type_has_to_be_like_goes_to_EC2_with_zones_image_and_volume()
    {
        var pools = Pools.Of(Plain with { Requirements = new Requirements(4, 8, 16_384, null, ["m7i.*"]), Zones = ["eu-central-1a"], Image = "ami-1", VolumeGiB = 115 });
        var pool = Assert.Single(pools);
        Assert.Equal((4, 8, 16_384, null), (pool.Requirements!.VcpusLeast, pool.Requirements.VcpusMost, pool.Requirements.MemoryMiBLeast, pool.Requirements.MemoryMiBMost));
        Assert.Equal(["m7i.*"], pool.Requirements.AllowedInstanceTypes);
        Assert.Equal(("eu-central-1a", "ami-1", new FleetVolume("/dev/sdb", 115), null), (pool.AvailabilityZone, pool.ImageId, pool.Volume, pool.InstanceType));
    }

    [Fact]
    public void No_more_pools_are_asked_for_than_EC2_takes() =>
        Assert.Equal(300, Pools.Of(Plain with { InstanceTypes = [.. Enumerable.Range(0, 100).Select(i => $"m{i}.large")], Zones = ["a", "b", "c", "d"] }).Count);

    [Theory]
    [InlineData(nameof(SpotMode.OnDemand), "dddd")]
    [InlineData(nameof(SpotMode.Spot), "ssss")]
    [InlineData(nameof(SpotMode.Auto), "sdsd")]
    [InlineData(nameof(SpotMode.Rerun), "sdsd")]
    public void A_token_always_asks_for_the_same_market(string mode, string markets) =>
        Assert.Equal(markets, string.Concat(Enumerable.Range(0, 4).Select(spent => Pools.IsSpot(Enum.Parse<SpotMode>(mode), spent) ? 's' : 'd')));

    [Fact]
    public void Spot_is_kept_off_by_families_and_by_the_launch_template_where_only_EC2_knows_them()
    {
        var order = Plain with { LaunchTemplate = "mayfly" };
        Assert.Equal(["m7i", "c7a"], Pools.KindsOf(order with { InstanceTypes = ["m7i.large", "m7i.xlarge", "c7a.large"] }));
        Assert.Equal(["m7i"], Pools.KindsOf(order with { Requirements = new Requirements(4, 8, 0, null, ["m7i.*"]) }));
        Assert.Equal(["launch template mayfly with 4-8 vCPUs"], Pools.KindsOf(order with { Requirements = new Requirements(4, 8, 0, null, []) }));
        Assert.Equal(["launch template mayfly"], Pools.KindsOf(order));
    }

    [Theory]
    [InlineData("InsufficientInstanceCapacity", nameof(LaunchTrouble.NoCapacity))]
    [InlineData("MaxSpotInstanceCountExceeded", nameof(LaunchTrouble.NoCapacity))]
    [InlineData("InsufficientFreeAddressesInSubnet", nameof(LaunchTrouble.NoCapacity))]
    [InlineData("Unsupported", nameof(LaunchTrouble.NoCapacity))]
    [InlineData("VcpuLimitExceeded", nameof(LaunchTrouble.Quota))]
    [InlineData("MaxIOPSLimitExceeded", nameof(LaunchTrouble.Quota))]
    [InlineData("RequestLimitExceeded", nameof(LaunchTrouble.Passing))]
    [InlineData("ResourceLimitExceeded", nameof(LaunchTrouble.Passing))]
    [InlineData("UnauthorizedOperation", nameof(LaunchTrouble.Final))]
    [InlineData("InvalidAMIID.NotFound", nameof(LaunchTrouble.Final))]
    [InlineData("InvalidSubnetID.NotFound", nameof(LaunchTrouble.Final))]
    [InlineData("InvalidSecurityGroupID.NotFound", nameof(LaunchTrouble.Final))]
    [InlineData("InvalidKeyId", nameof(LaunchTrouble.Final))]
    [InlineData("InvalidInstanceID.NotFound", nameof(LaunchTrouble.Passing))]
    [InlineData("Unavailable", nameof(LaunchTrouble.Passing))]
    [InlineData("InternalError", nameof(LaunchTrouble.Passing))]
    [InlineData("SomethingNew", nameof(LaunchTrouble.Passing))]
    public void Codes_are_told_apart(string code, string trouble) => Assert.Equal(trouble, LaunchTroubles.Of(code).ToString());
}
