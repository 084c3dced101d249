using System.Diagnostics;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;

namespace Mayfly.Controller.Tests;

/// <summary>The CloudFormation template as <c>template.sh</c> prints it, and the launch template that is in it.</summary>
public sealed partial class StackTests
{
    private static readonly string Deploy = Path.Combine(AwsCalls.Repository(), "controller", "deploy");

    [Theory]
    [InlineData("stack")]
    [InlineData("account")]
    public async Task The_linter_of_CloudFormation_finds_nothing(string part)
    {
        var path = Path.GetTempFileName();
        try
        {
            await File.WriteAllTextAsync(path, await TemplateAsync(part), TestContext.Current.CancellationToken);
            var (code, output) = await RunAsync("cfn-lint", "--template", path, "--regions", "us-east-1", "eu-central-1");
            Assert.SkipUnless(code != CannotRun, "cfn-lint is missing: pip install cfn-lint");
            Assert.True(code == 0, output);
        }
        finally
        {
            File.Delete(path);
        }
    }

    [Fact]
    public async Task The_template_holds_all_policies_and_the_launch_template_as_their_files_have_them()
    {
        var template = await TemplateAsync();
        foreach (var policy in (string[])["instance-policy.json", "launching-policy.json", "controller-policy.json"])
            Assert.Contains($"Statement: {Json(policy)["Statement"]!.ToJsonString(AsJq)}", template, StringComparison.Ordinal);
        foreach (var (name, value) in Json("launch-template.json")["LaunchTemplateData"]!.AsObject())
            Assert.Contains(name is "ImageId" or "InstanceType" or "IamInstanceProfile" ? $"{name}: " : $"{name}: {value!.ToJsonString(AsJq)}", template, StringComparison.Ordinal);
        Assert.DoesNotMatch("(?m)^ *#(include|endpoints|only|end)", template);
    }

    [Fact]
    public async Task Every_role_can_be_bounded_and_runners_are_reached_by_nothing()
    {
        var resources = await ResourcesAsync("stack");
        var roles = resources.Values.Where(r => r.Contains("Type: AWS::IAM::Role", StringComparison.Ordinal)).ToList();
        Assert.Equal(3, roles.Count);
        Assert.All(roles, role => Assert.Contains("PermissionsBoundary: !If [HasBoundary, !Ref PermissionsBoundary, !Ref AWS::NoValue]", role, StringComparison.Ordinal));
        Assert.DoesNotContain("Ingress", resources["RunnerSecurityGroup"], StringComparison.Ordinal);
        Assert.Contains("SecurityGroupIds: [!Ref RunnerSecurityGroup]", resources["LaunchTemplate"], StringComparison.Ordinal);
        foreach (var subnet in (string[])["PrivateSubnetA", "PrivateSubnetB"])
            Assert.Contains("MapPublicIpOnLaunch: false", resources[subnet], StringComparison.Ordinal);
        Assert.Contains("ReadonlyRootFilesystem: true", resources["Task"], StringComparison.Ordinal);
        Assert.Contains("HealthCheck: { Command: [CMD, /app/mayfly-controller, --health]", resources["Task"], StringComparison.Ordinal);
    }

    [Fact]
    public async Task Without_a_policy_of_ones_own_every_type_is_launched_in_both_zones()
    {
        var template = await TemplateAsync();
        var types = DefaultTypes().Match(template).Groups[1].Value;
        Assert.True(types.Split(',').Length > 1, types);
        var lines = (await ResourcesAsync("stack"))["DefaultPolicy"].Split("- |\n")[1].Split("        - {")[0];
        var text = lines.Replace("          ", "", StringComparison.Ordinal).Replace("${Types}", types, StringComparison.Ordinal);
        foreach (var zone in (string[])["A", "B"])
            text = text.Replace($"${{PrivateSubnet{zone}.AvailabilityZone}}", $"eu-central-1{zone.ToLowerInvariant()}", StringComparison.Ordinal).Replace($"${{PrivateSubnet{zone}}}", $"subnet-0123456{zone.ToLowerInvariant()}", StringComparison.Ordinal);
        var policy = PolicyFile.Parse("default-policy", text, Some.Settings());
        var order = Assert.IsType<Decision.Launch>(Decide.For(Some.Job(labels: "mayfly"), policy)).Order;
        Assert.Equal(types.Split(',').SelectMany(type => new[] { (type, "subnet-0123456a"), (type, "subnet-0123456b") }), Pools.Of(order).Select(p => (p.InstanceType!, p.SubnetId!)));
        Assert.DoesNotContain("SubnetId", (await ResourcesAsync("stack"))["LaunchTemplate"], StringComparison.Ordinal); // an override could not replace it
    }

    [Fact]
    public async Task The_controller_has_the_time_that_it_takes_to_stop()
    {
        var limit = int.Parse(StopTimeout().Match((await ResourcesAsync("stack"))["Task"]).Groups[1].Value, System.Globalization.CultureInfo.InvariantCulture);
        Assert.InRange(limit, (int)Program.StopLimit.TotalSeconds + 1, 120); // Fargate's most
        Assert.Contains($"SIGTERM ends it within {Program.StopLimit.TotalSeconds} s", await File.ReadAllTextAsync(Path.Combine(AwsCalls.Repository(), "docs", "controller.md"), TestContext.Current.CancellationToken), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Another_account_lets_the_controller_launch_and_nobody_else_and_holds_nothing_of_it()
    {
        var resources = await ResourcesAsync("account");
        var role = resources["ControllerRole"];
        Assert.Contains("""Principal: { AWS: !Ref Controller }, Action: "sts:AssumeRole", Condition: { StringEquals: { "sts:ExternalId": !Ref ExternalId } }""", role, StringComparison.Ordinal);
        Assert.Contains("RoleName: mayfly-controller", role, StringComparison.Ordinal);
        Assert.Equal("arn:*:iam::*:role/mayfly-controller", (string?)Assert.Single(Json("controller-policy.json")["Statement"]!.AsArray(), s => (string?)s!["Action"] == "sts:AssumeRole")!["Resource"]);
        Assert.DoesNotContain("/mayfly/controller/", role, StringComparison.Ordinal); // the secrets
        Assert.All(resources.Values.Where(r => r.Contains("Type: AWS::IAM::Role", StringComparison.Ordinal)), r => Assert.Contains("PermissionsBoundary: !If", r, StringComparison.Ordinal));
        Assert.Empty(resources.Keys.Intersect(["Database", "Task", "Service", "Api", "ExecutionRole"]));
        Assert.Equal((await ResourcesAsync("stack"))["RunnerSecurityGroup"], resources["RunnerSecurityGroup"]);
    }

    [Fact]
    public async Task The_controllers_environment_holds_settings_and_no_secret()
    {
        var names = Variable().Matches(await TemplateAsync()).ToDictionary(m => m.Groups[1].Value.Replace("__", ":", StringComparison.Ordinal), m => m.Groups[2].Value);
        Assert.Subset(Settings.Reference.Select(s => s.Key).ToHashSet(), names.Keys.ToHashSet());
        Assert.Subset(names.Keys.ToHashSet(), Settings.Reference.Where(s => s.Default is null).Select(s => s.Key).ToHashSet());
        Assert.All(names.Where(n => n.Key.EndsWith("File", StringComparison.Ordinal)), n => Assert.StartsWith("\"ssm:/mayfly/controller/", n.Value, StringComparison.Ordinal));
    }

    [Fact]
    public void What_is_launched_asks_for_version_2_of_the_metadata_service_and_ends_for_good()
    {
        var data = Json("launch-template.json")["LaunchTemplateData"]!;
        Assert.Equal("terminate", (string?)data["InstanceInitiatedShutdownBehavior"]);
        Assert.Equal(("required", 1, "enabled"), ((string?)data["MetadataOptions"]!["HttpTokens"], (int)data["MetadataOptions"]!["HttpPutResponseHopLimit"]!, (string?)data["MetadataOptions"]!["InstanceMetadataTags"]));
        Assert.All(data["BlockDeviceMappings"]!.AsArray(), volume =>
            Assert.Equal((true, true, "gp3"), ((bool)volume!["Ebs"]!["Encrypted"]!, (bool)volume["Ebs"]!["DeleteOnTermination"]!, (string?)volume["Ebs"]!["VolumeType"])));
    }

    private const int CannotRun = -1;

    /// <summary>jq escapes nothing but what JSON has to.</summary>
    private static readonly System.Text.Json.JsonSerializerOptions AsJq = new() { Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    private static JsonNode Json(string file) => JsonNode.Parse(File.ReadAllText(Path.Combine(Deploy, file)))!;

    private static async Task<Dictionary<string, string>> ResourcesAsync(string part) =>
        Resource().Matches((await TemplateAsync(part)).Split("\nResources:\n")[1].Split("\nOutputs:\n")[0]).ToDictionary(m => m.Groups[1].Value, m => m.Groups[2].Value);

    private static async Task<string> TemplateAsync(string part = "stack")
    {
        var (code, output) = await RunAsync(Path.Combine(Deploy, "template.sh"), part);
        return code == 0 ? output : throw new InvalidOperationException($"template.sh: {output}");
    }

    private static async Task<(int ExitCode, string Output)> RunAsync(string program, params string[] arguments)
    {
        try
        {
            return await Programs.RunAsync(new ProcessStartInfo(program, arguments));
        }
        catch (System.ComponentModel.Win32Exception)
        {
            return (CannotRun, "");
        }
    }

    [GeneratedRegex(@"(?m)^  (\w+):\n((?:    .*\n|\s*\n| *#.*\n)+)")]
    private static partial Regex Resource();

    [GeneratedRegex(@"  InstanceTypes:\n    Type: CommaDelimitedList\n    Default: (\S+)\n")]
    private static partial Regex DefaultTypes();

    [GeneratedRegex(@"StopTimeout: (\d+)\n")]
    private static partial Regex StopTimeout();

    [GeneratedRegex(@"Name: Mayfly__(\w+), Value: (.+) \}")]
    private static partial Regex Variable();
}
