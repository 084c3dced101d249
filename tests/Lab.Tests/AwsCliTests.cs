using static Mayfly.Lab.Tests.AwsLab;

namespace Mayfly.Lab.Tests;

public sealed class AwsCliTests
{
    [Fact]
    public async Task The_AWS_CLI_launches_describes_and_ends_instances()
    {
        AwsCli.RequireOrSkip();
        await using var lab = await StartAsync();
        var aws = new AwsCli(lab, lab.User);

        Assert.Equal(lab.User.Principal.Arn, (string?)(await aws.RunAsync("sts", "get-caller-identity"))!["Arn"]);
        var template = Demo.LaunchTemplate.Replace("\"mayfly\"", "\"another\"", StringComparison.Ordinal);
        Assert.Equal("another", (string?)(await aws.RunAsync("ec2", "create-launch-template", "--cli-input-json", template))!["LaunchTemplate"]!["LaunchTemplateName"]);
        var fleet = await aws.RunAsync("ec2", "create-fleet", "--type", "instant",
            "--launch-template-configs", """[{"LaunchTemplateSpecification":{"LaunchTemplateName":"another","Version":"$Latest"},"Overrides":[{"InstanceType":"m7i.large"},{"InstanceType":"m7a.large"}]}]""",
            "--target-capacity-specification", "TotalTargetCapacity=1,DefaultTargetCapacityType=spot", "--spot-options", "AllocationStrategy=price-capacity-optimized",
            "--tag-specifications", "ResourceType=instance,Tags=[{Key=mayfly:launch,Value=x}]");
        var id = (string)fleet!["Instances"]![0]!["InstanceIds"]![0]!;
        var described = await aws.RunAsync("ec2", "describe-instances", "--filters", "Name=tag:mayfly:launch,Values=x", "Name=instance-state-name,Values=running");
        Assert.Equal(id, (string?)described!["Reservations"]![0]!["Instances"]![0]!["InstanceId"]);
        var ended = await aws.RunAsync("ec2", "terminate-instances", "--instance-ids", id);
        Assert.Equal("shutting-down", (string?)ended!["TerminatingInstances"]![0]!["CurrentState"]!["Name"]);
    }

    [Fact]
    public async Task The_AWS_CLI_stores_and_reads_parameters_and_understands_refusals()
    {
        AwsCli.RequireOrSkip();
        await using var lab = await StartAsync();
        var aws = new AwsCli(lab, lab.User);

        await aws.RunAsync("ssm", "put-parameter", "--name", "/a", "--value", "v", "--type", "SecureString", "--tier", "Standard", "--tags", "Key=k,Value=v");
        Assert.Equal("v", (string?)(await aws.RunAsync("ssm", "get-parameter", "--name", "/a", "--with-decryption"))!["Parameter"]!["Value"]);
        await aws.RunAsync("ssm", "delete-parameter", "--name", "/a");

        var (code, _, error) = await aws.TryAsync("ssm", "get-parameter", "--name", "/a");
        Assert.NotEqual(0, code);
        Assert.Contains("(ParameterNotFound)", error, StringComparison.Ordinal);
        (_, _, error) = await new AwsCli(lab, lab.User with { Secret = "wrong" }).TryAsync("ec2", "describe-instances");
        Assert.Contains("(AuthFailure)", error, StringComparison.Ordinal);
        (_, _, error) = await aws.TryAsync("ec2", "terminate-instances", "--instance-ids", "i-0123456789abcdef0");
        Assert.Contains("(InvalidInstanceID.NotFound)", error, StringComparison.Ordinal);
        (_, _, error) = await new AwsCli(lab, lab.User with { Id = "AKIAUNKNOWN" }).TryAsync("sts", "get-caller-identity");
        Assert.Contains("(InvalidClientTokenId)", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_AWS_CLI_asks_what_an_instance_costs()
    {
        AwsCli.RequireOrSkip();
        await using var lab = await StartAsync();
        var answer = await new AwsCli(lab, lab.User).RunAsync("pricing", "get-products", "--region", "us-east-1", "--service-code", "AmazonEC2", "--filters",
            "Type=TERM_MATCH,Field=regionCode,Value=eu-central-1", "Type=TERM_MATCH,Field=instanceType,Value=m7i.large", "Type=TERM_MATCH,Field=operatingSystem,Value=Windows");
        Assert.Contains("\"USD\":\"0.1915200000\"", (string)Assert.Single(answer!["PriceList"]!.AsArray())!, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_AWS_CLI_finds_an_instances_keys_in_the_metadata_service()
    {
        AwsCli.RequireOrSkip();
        await using var lab = await StartAsync();
        await new AwsClient(lab).Ec2Async("RunInstances", One);
        var instance = lab.Fleet.Instances.Single();
        var aws = new AwsCli(lab, null, await lab.OpenImdsAsync(instance.Id));

        var identity = await aws.RunAsync("sts", "get-caller-identity");

        Assert.Equal($"arn:aws:sts::123456789012:assumed-role/mayfly-runner/{instance.Id}", (string?)identity!["Arn"]);
    }
}
