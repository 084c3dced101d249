using Mayfly.Lab.Ec2;
using Mayfly.Lab.Machines;

namespace Mayfly.Lab.Tests;

/// <summary>A lab with the launch template that is deployed, and the calls that most tests of EC2 begin with.</summary>
internal static class AwsLab
{
    public const string Image = "ami-0123456789abcdef0";

    /// <summary>Parameters of RunInstances for one instance.</summary>
    public static readonly (string, string)[] One = [("MinCount", "1"), ("MaxCount", "1"), ("LaunchTemplate.LaunchTemplateName", "mayfly")];

    public static async Task<Lab> StartAsync(Func<Instance, IMachine?>? machine = null, TimeProvider? time = null)
    {
        var options = new LabOptions { Time = time ?? TimeProvider.System };
        var lab = await Lab.StartAsync(machine is null ? options : options with { Machine = (_, instance) => machine(instance) });
        lab.Templates.Load(Demo.LaunchTemplate, Image);
        lab.Ec2.Rates.Lift(); // AwsRateTests are about them
        return lab;
    }

    public static (string, string)[] Tag(string key, string value, string type = "instance") =>
        [("TagSpecification.1.ResourceType", type), ("TagSpecification.1.Tag.1.Key", key), ("TagSpecification.1.Tag.1.Value", value)];

    public static async Task<string> StateAsync(AwsClient client, string id) => (await client.Ec2Async("DescribeInstances", ("InstanceId.1", id))).One("name");

    public static async Task EndAsync(Lab lab, AwsClient client, string id)
    {
        Assert.Equal("", (await client.Ec2Async("TerminateInstances", ("InstanceId.1", id))).Code);
        await WaitForAsync(lab, "instance terminated");
    }

    public static Task<LabEvent> WaitForAsync(Lab lab, string name) =>
        lab.Journal.WaitForAsync(e => e.Source == "ec2" && e.Name == name, TimeSpan.FromSeconds(20), TestContext.Current.CancellationToken);
}
