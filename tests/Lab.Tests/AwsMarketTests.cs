using Mayfly.Lab.Ec2;
using static Mayfly.Lab.Tests.AwsLab;

namespace Mayfly.Lab.Tests;

public sealed class AwsMarketTests
{
    private const string Overrides = "LaunchTemplateConfigs.1.Overrides.";

    private static readonly (string, string)[] Attributes =
    [
        (Overrides + "1.InstanceRequirements.VCpuCount.Min", "4"), (Overrides + "1.InstanceRequirements.VCpuCount.Max", "4"),
        (Overrides + "1.InstanceRequirements.MemoryMiB.Min", "16384"), (Overrides + "1.AvailabilityZone", "eu-central-1b"),
    ];

    [Fact]
    public async Task Attributes_choose_among_the_types_of_the_images_architecture_and_spot_takes_the_cheapest()
    {
        await using var lab = await StartAsync();

        var answer = await new AwsClient(lab).Ec2Async("CreateFleet", [.. Fleet("spot", "price-capacity-optimized"), .. Attributes]);

        Assert.Equal("m6i.xlarge", Assert.Single(lab.Fleet.Instances).Type);
        Assert.Equal(["m6i.xlarge", "m6i.xlarge"], answer.All("instanceType"));

        lab.Images.Add(AwsLab.Image, architecture: "arm64");
        await new AwsClient(lab).Ec2Async("CreateFleet", [.. Fleet("spot", "price-capacity-optimized"), .. Attributes]);
        Assert.Equal("m7g.xlarge", lab.Fleet.Instances.MaxBy(i => i.Address)!.Type);
    }

    [Fact]
    public async Task Types_can_be_allowed_excluded_and_asked_for_by_kind()
    {
        await using var lab = await StartAsync();
        var client = new AwsClient(lab);

        Assert.Equal("m7a.xlarge", await ChosenAsync(("AllowedInstanceType.1", "m7a.*")));
        Assert.Equal("m7i.xlarge", await ChosenAsync(("ExcludedInstanceType.1", "m6*")));
        Assert.Equal("m7a.xlarge", await ChosenAsync(("CpuManufacturer.1", "amd"), ("AllowedInstanceType.1", "m*")));
        foreach (var (code, more) in ((string, (string, string)[])[])[
            ("InvalidParameterCombination", [("AllowedInstanceType.1", "m7*"), ("ExcludedInstanceType.1", "c7*")]),
            ("InvalidParameterValue", [("AllowedInstanceType.1", "x9*")]),
            ("InvalidParameterValue", [("MemoryMiB.Max", "1024")]),
            ("InvalidParameterValue", [("BareMetal", "maybe")]),
            ("UnknownParameter", [("Colour", "red")])])
            Assert.Equal(code, (await CallAsync(more)).Code);
        Assert.Equal("InvalidParameterCombination", (await client.Ec2Async("CreateFleet", [.. Fleet("spot", "lowest-price"), .. Attributes, (Overrides + "1.InstanceType", "m7i.large")])).Code);
        Assert.Equal("MissingParameter", (await client.Ec2Async("CreateFleet", [.. Fleet("spot", "lowest-price"), .. Attributes[..2]])).Code);

        async Task<AwsAnswer> CallAsync(params (string Name, string Value)[] more) =>
            await client.Ec2Async("CreateFleet", [.. Fleet("spot", "price-capacity-optimized"), .. Attributes, .. more.Select(m => (Overrides + "1.InstanceRequirements." + m.Name, m.Value))]);
        async Task<string> ChosenAsync(params (string Name, string Value)[] more) => (await CallAsync(more)).All("instanceType")[^1];
    }

    [Fact]
    public async Task A_fleet_takes_what_each_pool_has_and_names_what_was_short()
    {
        await using var lab = await StartAsync();
        lab.Fleet.Market.Capacity["m7i.large/eu-central-1a"] = 2;
        lab.Fleet.Refusals["m7i.large/eu-central-1b/spot"] = "SpotMaxPriceTooLow";

        var answer = await new AwsClient(lab).Ec2Async("CreateFleet", [.. Fleet("spot", "lowest-price", count: 4),
            (Overrides + "1.InstanceType", "m7i.large"), (Overrides + "1.AvailabilityZone", "eu-central-1a"),
            (Overrides + "2.InstanceType", "m7i.large"), (Overrides + "2.AvailabilityZone", "eu-central-1b"),
            (Overrides + "3.InstanceType", "m7a.large"), (Overrides + "3.AvailabilityZone", "eu-central-1a")]);

        Assert.Equal(["SpotMaxPriceTooLow", "InsufficientInstanceCapacity"], answer.All("errorCode"));
        Assert.Equal(["m7a.large", "m7a.large", "m7i.large", "m7i.large"], lab.Fleet.Instances.Select(i => i.Type).Order());
        Assert.Equal(0, lab.Fleet.Market.Capacity["m7i.large/eu-central-1a"]);
    }

    [Theory]
    [InlineData("on-demand", "VcpuLimitExceeded")]
    [InlineData("spot", "MaxSpotInstanceCountExceeded")]
    public async Task A_quota_of_vcpus_counts_what_lives(string market, string code)
    {
        await using var lab = await StartAsync();
        var client = new AwsClient(lab);
        (lab.Fleet.Market.SpotVCpus, lab.Fleet.Market.OnDemandVCpus) = (4, 4);

        var answer = await client.Ec2Async("CreateFleet", [.. Fleet(market, "lowest-price", count: 3), (Overrides + "1.InstanceType", "m7i.large")]);
        Assert.Equal((code, 2), (answer.One("errorCode"), lab.Fleet.Instances.Count));
        await EndAsync(lab, client, lab.Fleet.Instances.First().Id);
        Assert.Empty((await client.Ec2Async("CreateFleet", [.. Fleet(market, "lowest-price"), (Overrides + "1.InstanceType", "m7i.large")])).All("errorCode"));
    }

    [Fact]
    public async Task A_subnet_has_a_zone_and_so_many_addresses_and_others_are_unknown()
    {
        await using var lab = await StartAsync();
        var client = new AwsClient(lab);
        lab.Fleet.Market.Subnets["subnet-0123456789abcdef0"] = new Subnet("eu-central-1c", 1);
        (string, string)[] there = [(Overrides + "1.InstanceType", "m7i.large"), (Overrides + "1.SubnetId", "subnet-0123456789abcdef0")];

        await client.Ec2Async("CreateFleet", [.. Fleet("spot", "lowest-price"), .. there]);
        Assert.Equal("eu-central-1c", Assert.Single(lab.Fleet.Instances).Zone);
        Assert.Equal("InsufficientFreeAddressesInSubnet", (await client.Ec2Async("CreateFleet", [.. Fleet("spot", "lowest-price"), .. there])).One("errorCode"));
        await EndAsync(lab, client, lab.Fleet.Instances.Single().Id);
        Assert.Empty((await client.Ec2Async("CreateFleet", [.. Fleet("spot", "lowest-price"), .. there])).All("errorCode"));
        Assert.Equal("InvalidSubnetID.NotFound", (await client.Ec2Async("CreateFleet", [.. Fleet("spot", "lowest-price"), there[0], (Overrides + "1.SubnetId", "subnet-0123456789abcdef1")])).Code);
    }

    [Fact]
    public async Task A_fleet_takes_a_type_in_one_subnet_of_a_zone_and_in_those_of_several()
    {
        await using var lab = await StartAsync();
        var client = new AwsClient(lab);
        foreach (var (subnet, zone) in (IEnumerable<(string, string)>)[("subnet-0123456789abcdef0", "eu-central-1a"), ("subnet-0123456789abcdef1", "eu-central-1a"), ("subnet-0123456789abcdef2", "eu-central-1b")])
            lab.Fleet.Market.Subnets[subnet] = new Subnet(zone, 10);
        (string, string)[] first = [(Overrides + "1.InstanceType", "m7i.large"), (Overrides + "1.SubnetId", "subnet-0123456789abcdef0"), (Overrides + "2.InstanceType", "m7i.large")];

        var both = await client.Ec2Async("CreateFleet", [.. Fleet("spot", "lowest-price"), .. first, (Overrides + "2.SubnetId", "subnet-0123456789abcdef1")]);
        Assert.Equal(("InvalidFleetConfig", "The fleet configuration contains duplicate instance pools."), (both.Code, both.Message));
        Assert.Empty((await client.Ec2Async("CreateFleet", [.. Fleet("spot", "lowest-price"), .. first, (Overrides + "2.SubnetId", "subnet-0123456789abcdef2")])).All("errorCode"));
        Assert.Single(lab.Fleet.Instances);
    }

    [Fact]
    public async Task On_demand_goes_by_priority_and_spot_by_the_price_that_may_be_paid()
    {
        await using var lab = await StartAsync();
        var client = new AwsClient(lab);
        (string, string)[] two =
        [
            (Overrides + "1.InstanceType", "c7i.large"), (Overrides + "1.Priority", "2"), (Overrides + "1.MaxPrice", "0.001"),
            (Overrides + "2.InstanceType", "m7a.large"), (Overrides + "2.Priority", "1.5"),
        ];

        Assert.Equal("m7a.large", (await client.Ec2Async("CreateFleet", [.. Fleet("on-demand", "prioritized"), .. two])).All("instanceType")[^1]);
        Assert.Equal("SpotMaxPriceTooLow", (await client.Ec2Async("CreateFleet", [.. Fleet("spot", "lowest-price"), .. two])).One("errorCode"));
        lab.Fleet.Market.SetSpotPrice("c7i.large", "eu-central-1a", 0.0009m);
        Assert.Equal("c7i.large", (await client.Ec2Async("CreateFleet", [.. Fleet("spot", "lowest-price"), .. two])).All("instanceType")[^1]);
    }

    [Fact]
    public async Task An_override_may_bring_its_own_image_and_volumes_and_the_architectures_must_match()
    {
        await using var lab = await StartAsync();
        var client = new AwsClient(lab);
        lab.Images.Add("ami-0123456789abcdef1", architecture: "arm64");
        (string, string)[] own =
        [
            (Overrides + "1.ImageId", "ami-0123456789abcdef1"), (Overrides + "1.BlockDeviceMapping.1.DeviceName", "/dev/sdb"), (Overrides + "1.BlockDeviceMapping.1.Ebs.VolumeSize", "100"),
        ];

        await client.Ec2Async("CreateFleet", [.. Fleet("spot", "lowest-price"), .. own, (Overrides + "1.InstanceType", "m7g.large")]);
        var spec = Assert.Single(lab.Fleet.Instances).Spec;
        Assert.Equal(("ami-0123456789abcdef1", 100), (spec.ImageId, Assert.Single(spec.BlockDevices).SizeGiB));
        Assert.Equal("InvalidParameterValue", (await client.Ec2Async("CreateFleet", [.. Fleet("spot", "lowest-price"), .. own, (Overrides + "1.InstanceType", "m7i.large")])).One("errorCode"));
    }

    [Fact]
    public async Task Images_are_described_with_their_tags_and_prices_with_their_changes()
    {
        var time = new HandMovedTime();
        await using var lab = await StartAsync(time: time);
        var client = new AwsClient(lab);
        lab.Images.Add("ami-0123456789abcdef1", new Dictionary<string, string> { ["mayfly:runner-version"] = "2.336.0" }, "arm64");

        var image = await client.Ec2Async("DescribeImages", ("ImageId.1", "ami-0123456789abcdef1"));
        Assert.Equal(("arm64", "2.336.0"), (image.One("architecture"), image.One("value")));
        Assert.Single((await client.Ec2Async("DescribeImages", ("Owner.1", "self"), ("Filter.1.Name", "tag:mayfly:runner-version"), ("Filter.1.Value.1", "2.336.*"))).All("imageId"));
        Assert.Equal("InvalidAMIID.NotFound", (await client.Ec2Async("DescribeImages", ("ImageId.1", "ami-0123456789abcdef9"))).Code);

        time.Move(TimeSpan.FromMinutes(4)); // requests are signed by the system's clock
        lab.Fleet.Market.SetSpotPrice("m7i.large", "eu-central-1a", 0.05m);
        (string, string)[] one = [("InstanceType.1", "m7i.large"), ("AvailabilityZone", "eu-central-1a"), ("ProductDescription.1", "Linux/UNIX")];
        Assert.Equal(["0.050000", "0.034300"], (await client.Ec2Async("DescribeSpotPriceHistory", one)).All("spotPrice"));
        var now = lab.Options.Time.GetUtcNow().AddSeconds(1).ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", System.Globalization.CultureInfo.InvariantCulture);
        Assert.Equal(["0.050000"], (await client.Ec2Async("DescribeSpotPriceHistory", [.. one, ("StartTime", now)])).All("spotPrice"));
        Assert.Equal(3, (await client.Ec2Async("DescribeSpotPriceHistory", ("InstanceType.1", "c7i.large"))).All("spotPrice").Count);
    }

    private static (string, string)[] Fleet(string market, string strategy, int count = 1) =>
    [
        ("Type", "instant"), ("TargetCapacitySpecification.TotalTargetCapacity", $"{count}"), ("TargetCapacitySpecification.DefaultTargetCapacityType", market),
        (market == "spot" ? "SpotOptions.AllocationStrategy" : "OnDemandOptions.AllocationStrategy", strategy),
        ("LaunchTemplateConfigs.1.LaunchTemplateSpecification.LaunchTemplateName", "mayfly"), ("LaunchTemplateConfigs.1.LaunchTemplateSpecification.Version", "1"),
    ];
}
