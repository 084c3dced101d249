using Mayfly.Lab;
using Mayfly.Lab.Aws;
using Mayfly.Lab.Ec2;

namespace Mayfly.Agent.Tests;

/// <summary>A lab and the one instance in it, from the provided launch template.</summary>
internal static class LaunchedInstance
{
    public static async Task<(Lab.Lab Lab, Instance Instance)> StartAsync(TimeProvider time, params IReadOnlyList<(string Key, string Value)> tags)
    {
        var lab = await Mayfly.Lab.Lab.StartAsync(new LabOptions { Time = time });
        lab.Templates.Load(Demo.LaunchTemplate, "ami-0123456789abcdef0");
        var query = new Dictionary<string, string> { ["MinCount"] = "1", ["MaxCount"] = "1", ["LaunchTemplate.LaunchTemplateName"] = "mayfly" };
        if (tags.Count > 0)
            query["TagSpecification.1.ResourceType"] = "instance";
        for (var i = 0; i < tags.Count; i++)
            (query[$"TagSpecification.1.Tag.{i + 1}.Key"], query[$"TagSpecification.1.Tag.{i + 1}.Value"]) = tags[i];
        _ = lab.Fleet.RunInstances(new QueryInput(query));
        return (lab, lab.Fleet.Instances.Single());
    }
}
