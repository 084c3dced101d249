using Mayfly.Lab.Aws;
using static Mayfly.Lab.Tests.AwsLab;
using static Mayfly.Lab.Tests.AwsParameters;

namespace Mayfly.Lab.Tests;

public sealed class AwsPlaceTests
{
    [Fact]
    public async Task Another_account_and_region_has_machines_and_parameters_of_its_own()
    {
        await using var lab = await StartAsync();
        var there = lab.PlaceIn("999999999999", "us-west-2");
        there.Templates.Load(Demo.LaunchTemplate, AwsLab.Image);
        lab.Sts.Add(new Role("arn:aws:iam::999999999999:role/mayfly", null));
        var assumed = await new AwsClient(lab).StsAsync("AssumeRole", ("RoleArn", "arn:aws:iam::999999999999:role/mayfly"), ("RoleSessionName", "me"));
        var key = lab.Keys.Find(assumed.One("AccessKeyId"))!;
        var (home, abroad) = (new AwsClient(lab), new AwsClient(lab, key, "us-west-2"));

        Assert.Equal("us-west-2a", (await abroad.Ec2Async("RunInstances", One)).One("availabilityZone"));
        Assert.Equal("", (await abroad.SsmAsync("PutParameter", Put("/a"))).Code);

        Assert.Empty((await home.Ec2Async("DescribeInstances")).All("instanceId"));
        Assert.Single((await abroad.Ec2Async("DescribeInstances")).All("instanceId"));
        Assert.StartsWith("arn:aws:ec2:us-west-2:999999999999:instance/", Assert.Single(there.Fleet.Instances).Arn, StringComparison.Ordinal);
        Assert.Equal("ParameterNotFound", (await home.SsmAsync("GetParameter", Named("/a"))).Code);
        Assert.Equal("AuthFailure", (await new AwsClient(lab, lab.User, "ap-south-1").Ec2Async("DescribeInstances")).Code);
    }
}
