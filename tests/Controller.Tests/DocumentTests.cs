using System.Text.Json.Nodes;
using Mayfly.Contract;

namespace Mayfly.Controller.Tests;

/// <summary>What is written for operators, against the code.</summary>
public sealed class DocumentTests
{
    private static readonly string Document = Read("docs/controller.md");

    [Fact]
    public void The_reference_of_settings_is_the_one_that_the_code_makes() =>
        Assert.True(Document.Contains($"\n\n{Settings.ReferenceTable}\n", StringComparison.Ordinal),
            $"docs/controller.md: put what `mayfly-controller --help-config` prints in the place of the table below \"## Settings\":\n\n{Settings.ReferenceTable}");

    [Fact]
    public void Every_answer_to_a_bad_delivery_is_documented_with_its_status() =>
        Assert.All(BadDelivery.All.Values, bad => Assert.Matches($@"(?m)^\| {bad.Status} \|[^|]*`{bad.Code}`", Document));

    [Fact]
    public void Every_state_of_a_launch_is_documented() =>
        Assert.All(Enum.GetNames<LaunchState>(), state => Assert.Contains($"| `{state}` |", Document, StringComparison.Ordinal));

    [Fact]
    public void An_instance_may_reach_its_own_parameter_and_end_itself_and_nothing_else()
    {
        var statements = JsonNode.Parse(Read("controller/deploy/instance-policy.json"))!["Statement"]!.AsArray();
        Assert.Equal(3, statements.Count);
        Assert.Equal($"arn:*:ssm:*:*:parameter{ConfigParameter.Path}*", (string?)statements[0]!["Resource"]);
        Assert.Equal("${ec2:SourceInstanceARN}", (string?)statements[0]!["Condition"]!["StringEquals"]![$"aws:ResourceTag/{ConfigParameter.InstanceTag}"]);
        Assert.Equal(("ec2:DeleteTags", "${ec2:SourceInstanceARN}"), ((string?)statements[1]!["Action"], (string?)statements[1]!["Condition"]!["StringEquals"]!["aws:ARN"]));
        AssertOnlyConfigTags(statements[1]!);
        Assert.Equal(("ec2:TerminateInstances", "${ec2:SourceInstanceARN}"), ((string?)statements[2]!["Action"], (string?)statements[2]!["Condition"]!["StringEquals"]!["aws:ARN"]));
    }

    /// <summary>A condition on all keys also holds for none, and DeleteTags without keys deletes every tag: hence both.</summary>
    private static void AssertOnlyConfigTags(JsonNode statement)
    {
        Assert.Equal($"{ConfigTags.Prefix}*", (string?)statement["Condition"]!["ForAllValues:StringLike"]!["aws:TagKeys"]);
        Assert.Equal("false", (string?)statement["Condition"]!["Null"]!["aws:TagKeys"]);
    }

    [Fact]
    public void The_controller_cannot_read_configurations_nor_end_foreign_machines()
    {
        var statements = ((string[])["launching-policy.json", "controller-policy.json"]).SelectMany(f => JsonNode.Parse(Read($"controller/deploy/{f}"))!["Statement"]!.AsArray()).ToList();
        string[] readable = [.. statements.Where(s => s!["Action"]!.ToJsonString().Contains("GetParameter", StringComparison.Ordinal)).Select(s => (string)s!["Resource"]!)];
        Assert.Equal(["arn:*:ssm:*:*:parameter/mayfly/images/*", "arn:*:ssm:*:*:parameter/mayfly/controller/*"], readable);
        Assert.All(readable, path => Assert.DoesNotContain(path.Split("parameter")[1].TrimEnd('*'), ConfigParameter.Path, StringComparison.Ordinal));
        var end = Assert.Single(statements, s => s!["Action"]!.ToJsonString().Contains("TerminateInstances", StringComparison.Ordinal))!;
        Assert.Equal("false", (string?)end["Condition"]!["Null"]![$"aws:ResourceTag/{Tags.Launch}"]);
        var tags = Assert.Single(statements, s => s!["Action"]!.ToJsonString().Contains("DeleteTags", StringComparison.Ordinal))!;
        AssertOnlyConfigTags(tags);
        Assert.Equal("false", (string?)tags["Condition"]!["Null"]![$"aws:ResourceTag/{Tags.Launch}"]);
    }

    internal static string Read(string path)
    {
        var folder = AppContext.BaseDirectory;
        while (!File.Exists(Path.Combine(folder, "Agent.sln")))
            folder = Path.GetDirectoryName(folder) ?? throw new InvalidOperationException("the tests do not run inside the repository");
        return File.ReadAllText(Path.Combine(folder, path));
    }
}
