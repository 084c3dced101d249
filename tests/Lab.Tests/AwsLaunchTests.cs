using System.Net;
using static Mayfly.Lab.Tests.AwsLab;

namespace Mayfly.Lab.Tests;

public sealed class AwsLaunchTests
{
    [Fact]
    public async Task What_is_unknown_missing_or_malformed_is_refused_and_nothing_is_launched()
    {
        await using var lab = await StartAsync();
        var client = new AwsClient(lab);

        foreach (var (code, parameters) in ((string, (string, string)[])[])[
            ("UnknownParameter", [.. One, ("Colour", "red")]),
            ("MissingParameter", [One[0], One[2]]),
            ("MissingParameter", [One[1], One[2]]),
            ("MissingParameter", [One[0], One[1]]),
            ("InvalidParameterValue", [("MinCount", "0"), One[1], One[2]]),
            ("InvalidParameterCombination", [("MinCount", "2"), One[1], One[2]]),
            ("InvalidLaunchTemplateName.NotFoundException", [One[0], One[1], ("LaunchTemplate.LaunchTemplateName", "other")]),
            ("InvalidLaunchTemplateId.VersionNotFound", [.. One, ("LaunchTemplate.Version", "7")]),
            ("InvalidAMIID.Malformed", [.. One, ("ImageId", "image")]),
            ("InvalidParameterValue", [.. One, ("InstanceType", "huge")]),
            ("InvalidParameterValue", [.. One, ("Placement.AvailabilityZone", "us-east-1a")]),
            ("InvalidSubnetID.NotFound", [.. One, ("SubnetId", "net-1")]),
            ("InvalidParameterValue", [.. One, ("InstanceInitiatedShutdownBehavior", "explode")]),
            ("InvalidParameterValue", [.. One, ("ClientToken", new string('x', 65))]),
            ("InvalidUserData.Malformed", [.. One, ("UserData", "not base64")]),
            ("InvalidUserData.Malformed", [.. One, ("UserData", Convert.ToBase64String(new byte[16 * 1024 + 1]))]),
            ("InvalidParameterValue", [.. One, .. Tag("aws:x", "v")]),
            ("InvalidParameterValue", [.. One, .. Tag("k", new string('v', 257))]),
            ("InvalidParameterValue", [.. One, .. Tag("k", "v", type: "vpc")])])
        {
            var answer = await client.Ec2Async("RunInstances", parameters);
            Assert.Equal((code, HttpStatusCode.BadRequest), (answer.Code, answer.Status));
        }

        Assert.Equal("InvalidAction", (await client.Ec2Async("RunEverything")).Code);
        Assert.Equal("MissingAction", (await client.SendAsync("ec2", new FormUrlEncodedContent([new("Version", "2016-11-15")]))).Code);
        Assert.Equal("NoSuchVersion", (await client.SendAsync("ec2", new FormUrlEncodedContent([new("Action", "DescribeInstances"), new("Version", "2011-01-01")]))).Code);
        Assert.Equal("MissingAction", (await client.SendAsync("ec2", new StringContent("Action=DescribeInstances&Version=2016-11-15"))).Code);
        Assert.Empty(lab.Fleet.Instances);
    }

    [Theory]
    [InlineData("a/b")]
    [InlineData("a b")]
    [InlineData("_index")]
    public async Task With_tags_in_the_metadata_a_tags_key_must_fit_a_path(string key)
    {
        await using var lab = await StartAsync();
        var client = new AwsClient(lab);

        Assert.Equal("InvalidParameterValue", (await client.Ec2Async("RunInstances", [.. One, .. Tag(key, "v")])).Code);
        Assert.Equal("", (await client.Ec2Async("RunInstances", [.. One, .. Tag(key, "v"), ("MetadataOptions.InstanceMetadataTags", "disabled")])).Code);
        Assert.Equal("", (await client.Ec2Async("RunInstances", [.. One, .. Tag("mayfly:config", "ssm")])).Code);
    }

    [Fact]
    public async Task A_dry_run_is_refused_with_what_would_have_happened_and_launches_nothing()
    {
        await using var lab = await StartAsync();

        var answer = await new AwsClient(lab).Ec2Async("RunInstances", [.. One, ("DryRun", "true")]);

        Assert.Equal(("DryRunOperation", HttpStatusCode.PreconditionFailed), (answer.Code, answer.Status));
        Assert.Empty(lab.Fleet.Instances);
    }

    [Fact]
    public async Task One_client_token_launches_once_and_never_anything_else()
    {
        await using var lab = await StartAsync();
        var client = new AwsClient(lab);
        var first = await client.Ec2Async("RunInstances", [.. One, ("ClientToken", "t")]);

        var second = await client.Ec2Async("RunInstances", [.. One, ("ClientToken", "t")]);
        Assert.Equal(first.One("instanceId"), second.One("instanceId"));
        Assert.Equal("IdempotentParameterMismatch", (await client.Ec2Async("RunInstances", [.. One, ("ClientToken", "t"), ("InstanceType", "m7a.large")])).Code);
        Assert.Single(lab.Fleet.Instances);

        await EndAsync(lab, client, first.One("instanceId"));
        Assert.Equal("IdempotentInstanceTerminated", (await client.Ec2Async("RunInstances", [.. One, ("ClientToken", "t")])).Code);
        Assert.Single(lab.Fleet.Instances);
    }

    [Fact]
    public async Task A_refused_launch_leaves_its_client_token_unused()
    {
        await using var lab = await StartAsync();
        var client = new AwsClient(lab);
        lab.Fleet.Refusals["m7i.large"] = "InsufficientInstanceCapacity";

        var refused = await client.Ec2Async("RunInstances", [.. One, ("ClientToken", "t")]);
        Assert.Equal(("InsufficientInstanceCapacity", HttpStatusCode.InternalServerError), (refused.Code, refused.Status));
        lab.Fleet.Refusals["m7i.large"] = "RequestLimitExceeded";
        Assert.Equal(HttpStatusCode.ServiceUnavailable, (await client.Ec2Async("RunInstances", [.. One, ("ClientToken", "t")])).Status);
        lab.Fleet.Refusals.Clear();

        Assert.Equal("", (await client.Ec2Async("RunInstances", [.. One, ("ClientToken", "t")])).Code);
    }

    [Fact]
    public async Task An_image_that_is_not_there_cannot_be_launched()
    {
        await using var lab = await StartAsync(_ => null);

        Assert.Equal("InvalidAMIID.NotFound", (await new AwsClient(lab).Ec2Async("RunInstances", One)).Code);
    }

    [Fact]
    public async Task A_launch_template_is_made_described_and_deleted()
    {
        await using var lab = await StartAsync();
        var client = new AwsClient(lab);
        (string, string)[] parameters =
        [
            ("LaunchTemplateName", "another"), ("LaunchTemplateData.ImageId", "ami-0123456789abcdef0"), ("LaunchTemplateData.InstanceType", "t3.micro"),
            ("LaunchTemplateData.BlockDeviceMapping.1.DeviceName", "/dev/sdb"), ("LaunchTemplateData.BlockDeviceMapping.1.Ebs.VolumeSize", "8"),
            ("LaunchTemplateData.TagSpecification.1.ResourceType", "instance"), ("LaunchTemplateData.TagSpecification.1.Tag.1.Key", "a"), ("LaunchTemplateData.TagSpecification.1.Tag.1.Value", "1"),
        ];

        Assert.Equal("another", (await client.Ec2Async("CreateLaunchTemplate", parameters)).One("launchTemplateName"));
        Assert.Equal("InvalidLaunchTemplateName.AlreadyExistsException", (await client.Ec2Async("CreateLaunchTemplate", parameters)).Code);
        Assert.Equal("UnknownParameter", (await client.Ec2Async("CreateLaunchTemplate", [("LaunchTemplateName", "third"), .. parameters[1..], ("LaunchTemplateData.SubnetId", "subnet-12345678")])).Code);
        Assert.Equal("MissingParameter", (await client.Ec2Async("CreateLaunchTemplate", ("LaunchTemplateName", "third"))).Code);
        Assert.Equal(["another", "mayfly"], (await client.Ec2Async("DescribeLaunchTemplates")).All("launchTemplateName"));
        var version = await client.Ec2Async("DescribeLaunchTemplateVersions", ("LaunchTemplateName", "another"), ("LaunchTemplateVersion.1", "$Latest"));
        Assert.Equal(("8", "t3.micro", "a"), (version.One("volumeSize"), version.One("instanceType"), version.One("key")));
        Assert.Equal("", (await client.Ec2Async("DeleteLaunchTemplate", ("LaunchTemplateName", "another"))).Code);
        Assert.Equal("InvalidLaunchTemplateName.NotFoundException", (await client.Ec2Async("DescribeLaunchTemplates", ("LaunchTemplateName.1", "another"))).Code);
    }
}
