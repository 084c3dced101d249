using System.Reflection.Metadata;
using System.Reflection.PortableExecutable;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Xunit;

namespace Mayfly.Controller.Tests;

/// <summary>
/// The actions of AWS that a program needs, against those that its policy allows. What it calls is read from the program
/// itself: each method of the clients in agent/Aws, or of a client of AWSSDK's, that it refers to. Which action such a method
/// is, its source tells.
/// </summary>
internal static partial class AwsCalls
{
    /// <summary>
    /// What a call asks for beside the action of its own name, or instead of it.
    /// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-fleet-prerequisites.html,
    /// https://docs.aws.amazon.com/service-authorization/latest/reference/list_awssystemsmanager.html
    /// </summary>
    private static readonly Dictionary<string, string[]> Needs = new()
    {
        // The fleet runs its instance as the caller, tags it, gives it the launch template's role, and reads the parameter that names its image.
        // https://docs.aws.amazon.com/autoscaling/ec2/userguide/using-systems-manager-parameters.html
        ["ec2:CreateFleet"] = ["ec2:CreateFleet", "ec2:RunInstances", "ec2:CreateTags", "iam:PassRole", "ssm:GetParameters"],
        // With tags.
        ["ssm:PutParameter"] = ["ssm:PutParameter", "ssm:AddTagsToResource"],
        // Nobody can be refused this one.
        ["sts:GetCallerIdentity"] = [],
    };

    private static readonly Dictionary<string, string> Services = new()
    {
        ["AmazonSecurityTokenServiceClient"] = "sts", ["AmazonKeyManagementServiceClient"] = "kms", ["AmazonS3Client"] = "s3",
    };

    /// <summary>Both ways: nothing is called that is not allowed, and nothing allowed that is not called.</summary>
    public static void AssertAllowedExactly(string program, params string[] policies)
    {
        var allowed = policies.SelectMany(ActionsOf).ToHashSet();
        var policy = string.Join(" and ", policies);
        var needed = MadeBy(Path.Combine(AppContext.BaseDirectory, program)).SelectMany(call => Needs.GetValueOrDefault(call, [call])).ToHashSet();
        Assert.True(needed.Count > 0, $"{program} calls nothing of AWS: this test no longer sees its calls");
        var missing = needed.Except(allowed).Order(StringComparer.Ordinal).ToList();
        var unused = allowed.Except(needed).Order(StringComparer.Ordinal).ToList();
        Assert.True(missing.Count == 0, $"{program} calls what {policy} does not allow; add a statement, narrowed to what the call touches: {string.Join(", ", missing)}");
        Assert.True(unused.Count == 0, $"{policy} allows what {program} does not call; take it out: {string.Join(", ", unused)}");
    }

    private static HashSet<string> ActionsOf(string policy) =>
    [
        .. JsonNode.Parse(File.ReadAllText(Path.Combine(Repository(), policy)))!["Statement"]!.AsArray()
            .SelectMany(s => s!["Action"] is JsonArray several ? several.Select(a => (string)a!) : [(string)s["Action"]!]),
    ];

    private static HashSet<string> MadeBy(string assembly)
    {
        using var file = new PEReader(File.OpenRead(assembly));
        var metadata = file.GetMetadataReader();
        var made = new HashSet<string>();
        foreach (var member in metadata.MemberReferences.Select(metadata.GetMemberReference).Where(m => m.Parent.Kind == HandleKind.TypeReference))
        {
            var type = metadata.GetTypeReference((TypeReferenceHandle)member.Parent);
            var (space, name, method) = (metadata.GetString(type.Namespace), metadata.GetString(type.Name), metadata.GetString(member.Name));
            if (space == "Mayfly.Aws" && name.EndsWith("Client", StringComparison.Ordinal))
                made.UnionWith(ActionsIn(name).Where(a => a.Method == method).Select(a => a.Action));
            else if (name == "AssumeRoleAWSCredentials")
                made.Add("sts:AssumeRole");
            else if (space.StartsWith("Amazon.", StringComparison.Ordinal) && SdkClient().Match(name) is { Success: true } && method.EndsWith("Async", StringComparison.Ordinal))
                made.Add($"{Services.GetValueOrDefault(name) ?? throw new InvalidOperationException($"tell {nameof(AwsCalls)} which service {name} is")}:{method[..^"Async".Length]}");
        }

        return made;
    }

    /// <summary>The calls in a client's source, each with the method that it stands in.</summary>
    private static List<(string Method, string Action)> ActionsIn(string client)
    {
        var source = File.ReadAllText(Path.Combine(Repository(), "agent", "Aws", client + ".cs"));
        var methods = Method().Matches(source).Select(m => (m.Index, IsPublic: m.Groups[1].Value == "public", Name: m.Groups[2].Value)).ToList();
        return
        [
            .. Call().Matches(source).Select(call =>
            {
                var method = methods.Last(m => m.Index < call.Index);
                Assert.True(method.IsPublic, $"{client}.{method.Name}: a call in a method that is not public hides who makes it");
                return (method.Name, $"{client[..^"Client".Length].ToLowerInvariant()}:{call.Groups[1].Value}");
            }),
        ];
    }

    public static string Repository()
    {
        var folder = AppContext.BaseDirectory;
        while (!File.Exists(Path.Combine(folder, "Agent.sln")))
            folder = Path.GetDirectoryName(folder) ?? throw new InvalidOperationException("the tests do not run inside the repository");
        return folder;
    }

    [GeneratedRegex(@"(?m)^    (public|private|internal) (?:static )?(?:async )?[\w<>\[\]?, ()]+? (\w+)\(")]
    private static partial Regex Method();

    [GeneratedRegex("^Amazon\\w+Client$")]
    private static partial Regex SdkClient();

    [GeneratedRegex("(?:Call|Send)Async\\(\"(\\w+)\"")]
    private static partial Regex Call();
}
