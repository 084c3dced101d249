using System.Net;
using System.Text.Json.Nodes;
using Mayfly.Lab.Aws;
using static Mayfly.Lab.Tests.AwsParameters;

namespace Mayfly.Lab.Tests;

public sealed class AwsSsmTests
{
    [Fact]
    public async Task A_parameter_is_stored_read_and_deleted()
    {
        await using var lab = await Lab.StartAsync(new LabOptions());
        var client = new AwsClient(lab);

        var stored = await client.SsmAsync("PutParameter", Put("/a/b", "secret", tier: "Standard"));
        Assert.Equal((1, "Standard"), ((int)stored.Json!["Version"]!, (string)stored.Json["Tier"]!));
        Assert.Equal("secret", (string?)(await client.SsmAsync("GetParameter", Named("/a/b", decrypt: true))).Json!["Parameter"]!["Value"]);
        Assert.Equal(HttpStatusCode.OK, (await client.SsmAsync("DeleteParameter", Named("/a/b"))).Status);

        var gone = await client.SsmAsync("GetParameter", Named("/a/b"));
        Assert.Equal((HttpStatusCode.BadRequest, "ParameterNotFound"), (gone.Status, gone.Code));
        Assert.Equal("ParameterNotFound", (await client.SsmAsync("DeleteParameter", Named("/a/b"))).Code);
        Assert.Equal(["parameter stored", "parameter read", "parameter deleted"], lab.Journal.Events.Where(e => e.Source == "ssm").Select(e => e.Name));
    }

    [Fact]
    public async Task A_secret_comes_back_as_ciphertext_unless_decryption_is_asked_for()
    {
        await using var lab = await Lab.StartAsync(new LabOptions());
        var client = new AwsClient(lab);
        await client.SsmAsync("PutParameter", Put("/a/b", "the-secret"));

        foreach (var answer in new[]
        {
            await client.SsmAsync("GetParameter", Named("/a/b")),
            await client.SsmAsync("GetParameters", new JsonObject { ["Names"] = new JsonArray("/a/b") }),
            await client.SsmAsync("GetParametersByPath", new JsonObject { ["Path"] = "/a" }),
        })
        {
            Assert.Equal(HttpStatusCode.OK, answer.Status);
            Assert.Contains("\"Value\":", answer.Json!.ToJsonString(), StringComparison.Ordinal);
            Assert.DoesNotContain("the-secret", answer.Json.ToJsonString(), StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task What_exists_is_overwritten_only_on_demand_without_tags_and_in_its_own_type()
    {
        await using var lab = await Lab.StartAsync(new LabOptions());
        var client = new AwsClient(lab);
        await client.SsmAsync("PutParameter", Put("/a"));

        Assert.Equal("ParameterAlreadyExists", (await client.SsmAsync("PutParameter", Put("/a"))).Code);
        Assert.Equal("ValidationException", (await client.SsmAsync("PutParameter", Put("/a", overwrite: true, tags: ("k", "v")))).Code);
        Assert.Equal("HierarchyTypeMismatchException", (await client.SsmAsync("PutParameter", Put("/a", type: "String", overwrite: true))).Code);
        Assert.Equal(2, (int)(await client.SsmAsync("PutParameter", Put("/a", "new", type: null, overwrite: true))).Json!["Version"]!);
    }

    [Fact]
    public async Task What_is_missing_mistyped_or_unknown_is_refused()
    {
        await using var lab = await Lab.StartAsync(new LabOptions());
        var client = new AwsClient(lab);

        Assert.Equal("ValidationException", (await client.SsmAsync("PutParameter", new JsonObject { ["Value"] = "v", ["Type"] = "String" })).Code);
        Assert.Equal("ValidationException", (await client.SsmAsync("PutParameter", Put("/a", type: null))).Code);
        Assert.Equal("ValidationException", (await client.SsmAsync("PutParameter", Put("/a", type: "Secret"))).Code);
        Assert.Equal("ValidationException", (await client.SsmAsync("PutParameter", Put("/a", tier: "Large"))).Code);
        Assert.Equal("SerializationException", (await client.SsmAsync("GetParameter", new JsonObject { ["Name"] = 1 })).Code);
        Assert.Equal("SerializationException", (await client.SsmAsync("DeleteParameters", new JsonObject { ["Names"] = "/a" })).Code);
        Assert.Equal("ValidationException", (await client.SsmAsync("GetParameter", new JsonObject { ["Name"] = "/a", ["Nmae"] = "/b" })).Code);
        Assert.Equal("UnknownOperationException", (await client.SsmAsync("GetEverything", [])).Code);
    }

    [Fact]
    public async Task Paths_filters_and_pages_find_what_is_below_them()
    {
        await using var lab = await Lab.StartAsync(new LabOptions());
        var client = new AwsClient(lab);
        foreach (var name in (string[])["/a/1", "/a/2", "/a/b/3", "/c"])
            await client.SsmAsync("PutParameter", Put(name, type: "String", tags: ("kind", name == "/c" ? "other" : "a")));

        Assert.Equal(["/a/1", "/a/2"], await NamesAsync("GetParametersByPath", new JsonObject { ["Path"] = "/a" }));
        Assert.Equal(["/a/1", "/a/2", "/a/b/3"], await NamesAsync("GetParametersByPath", new JsonObject { ["Path"] = "/a/", ["Recursive"] = true, ["MaxResults"] = 1 }));
        Assert.Equal(["/c"], await NamesAsync("DescribeParameters", Filter("tag:kind", "other")));
        Assert.Equal(["/a/1", "/a/2", "/a/b/3"], await NamesAsync("DescribeParameters", Filter("Name", "/a", "BeginsWith")));
        Assert.Equal("InvalidFilterKey", (await client.SsmAsync("DescribeParameters", Filter("Colour", "red"))).Code);
        Assert.Equal("InvalidNextToken", (await client.SsmAsync("DescribeParameters", new JsonObject { ["NextToken"] = "x" })).Code);
        Assert.Equal("ValidationException", (await client.SsmAsync("GetParametersByPath", new JsonObject { ["Path"] = "a" })).Code);

        async Task<List<string>> NamesAsync(string action, JsonObject input)
        {
            var names = new List<string>();
            string? next = null;
            do
            {
                if (next is not null)
                    input["NextToken"] = next;
                var answer = await client.SsmAsync(action, input.DeepClone().AsObject());
                Assert.Equal("", answer.Code);
                names.AddRange(answer.Json!["Parameters"]!.AsArray().Select(p => (string)p!["Name"]!));
                next = (string?)answer.Json["NextToken"];
            }
            while (next is not null);
            return names;
        }

        static JsonObject Filter(string key, string value, string option = "Equals") => new()
        {
            ["ParameterFilters"] = new JsonArray(new JsonObject { ["Key"] = key, ["Option"] = option, ["Values"] = new JsonArray(value) }),
        };
    }

    [Fact]
    public async Task An_instances_role_reaches_its_own_parameter_and_nothing_else()
    {
        await using var lab = await Lab.StartAsync(new LabOptions());
        var user = new AwsClient(lab);
        const string own = "arn:aws:ec2:eu-central-1:123456789012:instance/i-0123456789abcdef0";
        var role = new AwsClient(lab, lab.Keys.IssueTemporary(new Principal("AROA:i-0123456789abcdef0", "arn:aws:sts::123456789012:assumed-role/r/i-0123456789abcdef0", own), lab.Options.Time.GetUtcNow().AddHours(1)));
        await user.SsmAsync("PutParameter", Put("/own", "mine", tags: ("mayfly:instance", own)));
        await user.SsmAsync("PutParameter", Put("/foreign", "theirs", tags: ("mayfly:instance", own[..^1] + "1")));
        await user.SsmAsync("PutParameter", Put("/untagged", "nobody's"));

        Assert.Equal("mine", (string?)(await role.SsmAsync("GetParameter", Named("/own", decrypt: true))).Json!["Parameter"]!["Value"]);
        foreach (var name in (string[])["/foreign", "/untagged", "/absent"])
        {
            Assert.Equal("AccessDeniedException", (await role.SsmAsync("GetParameter", Named(name, decrypt: true))).Code);
            Assert.Equal("AccessDeniedException", (await role.SsmAsync("DeleteParameter", Named(name))).Code);
        }

        Assert.Equal("AccessDeniedException", (await role.SsmAsync("PutParameter", Put("/mine-too"))).Code);
        Assert.Equal("AccessDeniedException", (await role.SsmAsync("GetParametersByPath", new JsonObject { ["Path"] = "/" })).Code);
        Assert.Equal("AccessDeniedException", (await role.SsmAsync("DescribeParameters", [])).Code);
        Assert.Equal("AccessDeniedException", (await role.SsmAsync("AddTagsToResource", new JsonObject
        {
            ["ResourceType"] = "Parameter", ["ResourceId"] = "/foreign", ["Tags"] = new JsonArray(new JsonObject { ["Key"] = "mayfly:instance", ["Value"] = own }),
        })).Code);

        // Of what is gone no tag is left to match: to the role it is denied, not absent.
        Assert.Equal("", (await role.SsmAsync("DeleteParameter", Named("/own"))).Code);
        Assert.Equal("AccessDeniedException", (await role.SsmAsync("GetParameter", Named("/own", decrypt: true))).Code);
        Assert.Equal("AccessDeniedException", (await role.SsmAsync("DeleteParameter", Named("/own"))).Code);
    }
}
