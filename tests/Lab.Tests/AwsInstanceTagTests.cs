using System.Net;
using Mayfly.Lab.Aws;
using static Mayfly.Lab.Tests.AwsLab;

namespace Mayfly.Lab.Tests;

public sealed class AwsInstanceTagTests
{
    [Fact]
    public async Task Tags_are_made_listed_and_deleted()
    {
        await using var lab = await StartAsync();
        var client = new AwsClient(lab);
        var id = (await client.Ec2Async("RunInstances", [.. One, .. Tag("a", "1")])).One("instanceId");

        Assert.Equal("true", (await client.Ec2Async("CreateTags", ("ResourceId.1", id), ("Tag.1.Key", "b"), ("Tag.1.Value", "2"), ("Tag.2.Key", "c"))).One("return"));
        Assert.Equal(["a", "b", "c"], (await client.Ec2Async("DescribeTags", ("Filter.1.Name", "resource-id"), ("Filter.1.Value.1", id))).All("key"));
        Assert.Equal("true", (await client.Ec2Async("DeleteTags", ("ResourceId.1", id), ("Tag.1.Key", "b"), ("Tag.1.Value", "another"), ("Tag.2.Key", "c"))).One("return"));
        Assert.Equal(["a", "b"], (await client.Ec2Async("DescribeTags")).All("key"));
        Assert.Equal("MissingParameter", (await client.Ec2Async("CreateTags", ("ResourceId.1", id))).Code);
        Assert.Equal("MissingParameter", (await client.Ec2Async("DeleteTags", ("Tag.1.Key", "a"))).Code);
        Assert.Equal("InvalidParameterValue", (await client.Ec2Async("CreateTags", ("ResourceId.1", id), ("Tag.1.Key", "a/b"))).Code);
        (string, string)[] many = [.. Enumerable.Range(1, 49).Select(i => ($"Tag.{i}.Key", $"k{i}"))];
        Assert.Equal("TagLimitExceeded", (await client.Ec2Async("CreateTags", [("ResourceId.1", id), .. many])).Code);
    }

    [Fact]
    public async Task An_instances_role_may_end_itself_and_delete_its_configurations_tags_and_nothing_else()
    {
        await using var lab = await StartAsync();
        var user = new AwsClient(lab);
        var own = lab.Fleet.Find((await user.Ec2Async("RunInstances", One)).One("instanceId"));
        var other = (await user.Ec2Async("RunInstances", One)).One("instanceId");
        var role = new AwsClient(lab, lab.Keys.IssueTemporary(new Principal($"AROA:{own.Id}", $"arn:aws:sts::123456789012:assumed-role/r/{own.Id}", own.Arn), lab.Options.Time.GetUtcNow().AddHours(1)));

        foreach (var (action, parameters) in ((string, (string, string)[])[])[
            ("DescribeInstances", []), ("RunInstances", One), ("GetConsoleOutput", [("InstanceId", own.Id)]),
            ("CreateTags", [("ResourceId.1", own.Id), ("Tag.1.Key", "k")]), ("DeleteTags", [("ResourceId.1", other), ("Tag.1.Key", "mayfly:config-1")]),
            ("DeleteTags", [("ResourceId.1", own.Id), ("Tag.1.Key", "mayfly:launch")]), ("DeleteTags", [("ResourceId.1", own.Id)]),
            ("TerminateInstances", [("InstanceId.1", other)]), ("TerminateInstances", [("InstanceId.1", own.Id), ("InstanceId.2", other)])])
        {
            var answer = await role.Ec2Async(action, parameters);
            Assert.Equal(("UnauthorizedOperation", HttpStatusCode.Forbidden), (answer.Code, answer.Status));
        }

        Assert.Equal("", (await role.Ec2Async("DeleteTags", ("ResourceId.1", own.Id), ("Tag.1.Key", "mayfly:config-1"))).Code);
        Assert.Equal("", (await role.Ec2Async("TerminateInstances", ("InstanceId.1", own.Id))).Code);
        Assert.Equal("running", await StateAsync(user, other));
    }
}
