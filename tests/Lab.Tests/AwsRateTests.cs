using System.Net;
using static Mayfly.Lab.Tests.AwsLab;

namespace Mayfly.Lab.Tests;

public sealed class AwsRateTests
{
    [Fact]
    public async Task Launches_come_five_at_once_and_two_a_second_after_that()
    {
        var (lab, time) = await StoppedAsync();
        await using var disposed = lab;
        var client = new AwsClient(lab);

        for (var i = 0; i < 5; i++)
            Assert.Equal("", (await client.Ec2Async("RunInstances", One)).Code);
        var refused = await client.Ec2Async("RunInstances", One);
        Assert.Equal(("RequestLimitExceeded", HttpStatusCode.ServiceUnavailable), (refused.Code, refused.Status));
        time.Move(TimeSpan.FromSeconds(1));
        Assert.Equal("", (await client.Ec2Async("RunInstances", One)).Code);
        Assert.Equal("", (await client.Ec2Async("RunInstances", One)).Code);
        Assert.Equal("RequestLimitExceeded", (await client.Ec2Async("RunInstances", One)).Code);

        Assert.Equal(7, lab.Fleet.Instances.Count);
        Assert.Equal(2, lab.Ec2.Rates.Refused["RunInstances"]);
    }

    [Fact]
    public async Task A_thousand_instances_may_come_at_once_and_two_a_second_after_that()
    {
        var (lab, time) = await StoppedAsync();
        await using var disposed = lab;
        var client = new AwsClient(lab);

        Assert.Equal("", (await client.Ec2Async("RunInstances", Many(999))).Code);
        Assert.Equal("RequestLimitExceeded", (await client.Ec2Async("RunInstances", Many(3))).Code);
        time.Move(TimeSpan.FromSeconds(1));
        Assert.Equal("", (await client.Ec2Async("RunInstances", Many(3))).Code);

        static (string, string)[] Many(int count) => [("MinCount", "1"), ("MaxCount", $"{count}"), One[2]];
    }

    [Fact]
    public async Task What_asks_for_everything_may_ask_half_as_often()
    {
        var (lab, time) = await StoppedAsync();
        await using var disposed = lab;
        var client = new AwsClient(lab);

        for (var i = 0; i < 50; i++)
            Assert.Equal("", (await client.Ec2Async("DescribeInstances")).Code);
        Assert.Equal("RequestLimitExceeded", (await client.Ec2Async("DescribeInstances")).Code);
        Assert.Equal("", (await client.Ec2Async("DescribeInstances", ("MaxResults", "1000"))).Code);
    }

    [Fact]
    public async Task Several_are_terminated_at_once_and_one_that_is_unknown_leaves_all_as_they_are()
    {
        var (lab, time) = await StoppedAsync();
        await using var disposed = lab;
        var client = new AwsClient(lab);
        var ids = (await client.Ec2Async("RunInstances", ("MinCount", "3"), ("MaxCount", "3"), One[2])).All("instanceId");

        Assert.Equal("InvalidInstanceID.NotFound", (await client.Ec2Async("TerminateInstances", [.. Ids([.. ids, "i-0123456789abcdef0"])])).Code);
        Assert.All(lab.Fleet.Instances, i => Assert.NotEqual("shutting-down", i.StateName));
        Assert.Equal(ids, (await client.Ec2Async("TerminateInstances", [.. Ids(ids)])).All("instanceId"));
        Assert.Equal("InvalidParameterValue", (await client.Ec2Async("TerminateInstances", [.. Ids(Enumerable.Repeat(ids[0], 1001))])).Code);

        static IEnumerable<(string, string)> Ids(IEnumerable<string> ids) => ids.Select((id, i) => ($"InstanceId.{i + 1}", id));
    }

    private static async Task<(Lab Lab, HandMovedTime Time)> StoppedAsync()
    {
        var time = new HandMovedTime();
        var lab = await Lab.StartAsync(new LabOptions { Time = time });
        lab.Templates.Load(Demo.LaunchTemplate, Image);
        time.Stop();
        return (lab, time);
    }
}
