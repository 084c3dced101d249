using static Mayfly.Lab.Tests.AwsLab;

namespace Mayfly.Lab.Tests;

public sealed class AwsFleetTests
{
    private const string Config = "LaunchTemplateConfigs.1.";

    private static readonly (string, string)[] Instant =
    [
        ("Type", "instant"), ("TargetCapacitySpecification.TotalTargetCapacity", "1"), ("TargetCapacitySpecification.DefaultTargetCapacityType", "spot"),
        (Config + "LaunchTemplateSpecification.LaunchTemplateName", "mayfly"), (Config + "LaunchTemplateSpecification.Version", "$Default"),
    ];

    private static readonly (string, string)[] TwoTypes =
    [
        (Config + "Overrides.1.InstanceType", "m7i.large"), (Config + "Overrides.1.AvailabilityZone", "eu-central-1b"),
        (Config + "Overrides.2.InstanceType", "m7a.large"), (Config + "Overrides.2.SubnetId", "subnet-0123456789abcdef0"),
    ];

    [Fact]
    public async Task An_instant_fleet_launches_from_the_first_pool_with_the_requests_tags()
    {
        await using var lab = await StartAsync();

        var answer = await new AwsClient(lab).Ec2Async("CreateFleet", [.. Instant, .. TwoTypes, .. Tag("mayfly:launch", "x")]);

        Assert.Equal("", answer.Code);
        var instance = Assert.Single(lab.Fleet.Instances);
        Assert.Equal(instance.Id, answer.One("instanceIds"));
        Assert.Equal(("m7i.large", "eu-central-1b", true, "x"), (instance.Type, instance.Zone, instance.Spot, instance.Tags["mayfly:launch"]));
        Assert.Equal(("spot", "eu-central-1b"), (answer.One("lifecycle"), answer.One("availabilityZone")));
    }

    [Fact]
    public async Task A_pool_that_refuses_is_named_among_the_errors_and_the_next_one_serves()
    {
        await using var lab = await StartAsync();
        lab.Fleet.Refusals["m7i.large"] = "InsufficientInstanceCapacity";

        var answer = await new AwsClient(lab).Ec2Async("CreateFleet", [.. Instant, .. TwoTypes]);

        Assert.Equal("InsufficientInstanceCapacity", answer.One("errorCode"));
        Assert.Equal("m7a.large", Assert.Single(lab.Fleet.Instances).Type);
        Assert.Equal(["m7i.large", "m7a.large", "m7a.large"], answer.All("instanceType"));
        Assert.Equal("subnet-0123456789abcdef0", answer.One("subnetId"));
    }

    [Fact]
    public async Task A_fleet_that_launches_nothing_is_answered_200_with_errors_only()
    {
        await using var lab = await StartAsync();
        lab.Fleet.Refusals["*"] = "MaxSpotInstanceCountExceeded";

        var answer = await new AwsClient(lab).Ec2Async("CreateFleet", [.. Instant, .. TwoTypes]);

        Assert.Equal("", answer.Code);
        Assert.Equal(["MaxSpotInstanceCountExceeded", "MaxSpotInstanceCountExceeded"], answer.All("errorCode"));
        Assert.Empty(lab.Fleet.Instances);
    }

    [Fact]
    public async Task Part_of_the_capacity_can_be_on_demand()
    {
        await using var lab = await StartAsync();
        (string, string)[] both =
        [
            ("Type", "instant"), ("TargetCapacitySpecification.TotalTargetCapacity", "3"), ("TargetCapacitySpecification.OnDemandTargetCapacity", "1"),
            ("TargetCapacitySpecification.DefaultTargetCapacityType", "spot"), .. Instant[3..],
        ];

        Assert.Equal(["on-demand", "spot"], (await new AwsClient(lab).Ec2Async("CreateFleet", both)).All("lifecycle"));
        Assert.Equal(2, lab.Fleet.Instances.Count(i => i.Spot));
        Assert.Equal("InvalidParameterCombination", (await new AwsClient(lab).Ec2Async("CreateFleet", [.. both, ("TargetCapacitySpecification.SpotTargetCapacity", "3")])).Code);
    }

    [Fact]
    public async Task The_same_token_and_parameters_answer_the_same_fleet()
    {
        await using var lab = await StartAsync();
        var client = new AwsClient(lab);

        var first = await client.Ec2Async("CreateFleet", [.. Instant, ("ClientToken", "t")]);
        var second = await client.Ec2Async("CreateFleet", [.. Instant, ("ClientToken", "t")]);

        Assert.Equal((first.One("fleetId"), first.One("instanceIds")), (second.One("fleetId"), second.One("instanceIds")));
        Assert.Equal("IdempotentParameterMismatch", (await client.Ec2Async("CreateFleet", [.. Instant, .. TwoTypes, ("ClientToken", "t")])).Code);
        Assert.Single(lab.Fleet.Instances);
    }

    [Theory]
    [InlineData("Type", "maintain", "InvalidParameterValue")]
    [InlineData("SpotOptions.AllocationStrategy", "cheapest", "InvalidParameterValue")]
    [InlineData("TargetCapacitySpecification.DefaultTargetCapacityType", "free", "InvalidParameterValue")]
    [InlineData("LaunchTemplateConfigs.1.Overrides.1.InstanceType", "huge", "InvalidParameterValue")]
    [InlineData("LaunchTemplateConfigs.1.Overrides.1.WeightedCapacity", "2", "UnknownParameter")]
    [InlineData("LaunchTemplateConfigs.1.LaunchTemplateSpecification.LaunchTemplateId", "lt-1", "InvalidParameterCombination")]
    [InlineData("TagSpecification.1.ResourceType", "volume", "InvalidParameterValue")]
    public async Task What_CreateFleet_would_refuse_is_refused(string name, string value, string code)
    {
        await using var lab = await StartAsync();

        Assert.Equal(code, (await new AwsClient(lab).Ec2Async("CreateFleet", [.. Instant.Where(p => p.Item1 != name), (name, value)])).Code);
        Assert.Empty(lab.Fleet.Instances);
    }

    [Theory]
    [InlineData("TargetCapacitySpecification.TotalTargetCapacity")]
    [InlineData("LaunchTemplateConfigs.1.LaunchTemplateSpecification.Version")]
    public async Task What_is_missing_is_named(string name)
    {
        await using var lab = await StartAsync();

        var answer = await new AwsClient(lab).Ec2Async("CreateFleet", [.. Instant.Where(p => p.Item1 != name)]);

        Assert.Equal("MissingParameter", answer.Code);
        Assert.Contains(name, answer.Message, StringComparison.Ordinal);
    }
}
