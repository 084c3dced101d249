using System.Text.Json.Nodes;
using static Mayfly.Lab.Tests.AwsParameters;

namespace Mayfly.Lab.Tests;

public sealed class AwsSsmLimitTests
{
    [Fact]
    public async Task A_standard_parameter_holds_4096_characters_and_an_advanced_one_8192()
    {
        await using var lab = await Lab.StartAsync(new LabOptions());
        var client = new AwsClient(lab);

        Assert.Equal("", (await client.SsmAsync("PutParameter", Put("/most", new string('x', 4096)))).Code);
        Assert.Equal("ValidationException", (await client.SsmAsync("PutParameter", Put("/over", new string('x', 4097)))).Code);
        Assert.Equal("ValidationException", (await client.SsmAsync("PutParameter", Put("/over", new string('x', 4097), tier: "Standard"))).Code);
        Assert.Equal("", (await client.SsmAsync("PutParameter", Put("/advanced", new string('x', 8192), tier: "Advanced"))).Code);
        Assert.Equal("ValidationException", (await client.SsmAsync("PutParameter", Put("/over", new string('x', 8193), tier: "Advanced"))).Code);
        var intelligent = await client.SsmAsync("PutParameter", Put("/intelligent", new string('x', 4097), tier: "Intelligent-Tiering"));
        Assert.Equal("Advanced", (string?)intelligent.Json!["Tier"]);
        Assert.Equal("ValidationException", (await client.SsmAsync("PutParameter", Put("/advanced", tier: "Standard", overwrite: true))).Code);
    }

    [Theory]
    [InlineData("awsome", "ValidationException")]
    [InlineData("ssm-x", "ValidationException")]
    [InlineData("/AWS/x", "AccessDeniedException")]
    [InlineData("a/b", "ValidationException")]
    [InlineData("/a b", "ValidationException")]
    [InlineData("/a//b", "ValidationException")]
    [InlineData("/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16", "HierarchyLevelLimitExceededException")]
    public async Task A_name_that_SSM_would_refuse_is_refused(string name, string code)
    {
        await using var lab = await Lab.StartAsync(new LabOptions());

        Assert.Equal(code, (await new AwsClient(lab).SsmAsync("PutParameter", Put(name))).Code);
    }

    [Fact]
    public async Task Ten_names_are_deleted_at_once_and_no_more()
    {
        await using var lab = await Lab.StartAsync(new LabOptions());
        var client = new AwsClient(lab);
        await client.SsmAsync("PutParameter", Put("/a"));

        var deleted = await client.SsmAsync("DeleteParameters", new JsonObject { ["Names"] = new JsonArray("/a", "/b") });
        Assert.Equal("""{"DeletedParameters":["/a"],"InvalidParameters":["/b"]}""", deleted.Json!.ToJsonString());
        var eleven = new JsonArray([.. Enumerable.Range(0, 11).Select(i => JsonValue.Create($"/{i}"))]);
        Assert.Equal("ValidationException", (await client.SsmAsync("DeleteParameters", new JsonObject { ["Names"] = eleven })).Code);
    }

    [Fact]
    public async Task The_ten_thousandth_standard_parameter_is_the_last()
    {
        await using var lab = await Lab.StartAsync(new LabOptions());
        var client = new AwsClient(lab);
        lab.Ssm.Rates.Set("PutParameter", 1_000_000);
        for (var i = 0; i < 10_000; i++)
            lab.Ssm.Put(new JsonObject { ["Name"] = $"/{i}", ["Value"] = "v", ["Type"] = "String" }, lab.User.Principal);

        Assert.Equal("ParameterLimitExceeded", (await client.SsmAsync("PutParameter", Put("/one-more"))).Code);
    }

    [Fact]
    public async Task Five_deletions_a_second_pass_and_the_sixth_is_throttled()
    {
        var time = new HandMovedTime();
        await using var lab = await Lab.StartAsync(new LabOptions { Time = time });
        var client = new AwsClient(lab);
        time.Stop();

        for (var i = 0; i < 5; i++)
            Assert.Equal("ParameterNotFound", (await client.SsmAsync("DeleteParameter", Named("/none"))).Code);
        Assert.Equal("ThrottlingException", (await client.SsmAsync("DeleteParameter", Named("/none"))).Code);
        time.Move(TimeSpan.FromSeconds(0.2));
        Assert.Equal("ParameterNotFound", (await client.SsmAsync("DeleteParameter", Named("/none"))).Code);
        Assert.Equal("ThrottlingException", (await client.SsmAsync("DeleteParameter", Named("/none"))).Code);

        lab.Ssm.Rates.Set("PutParameter", 1);
        Assert.Equal("", (await client.SsmAsync("PutParameter", Put("/a"))).Code);
        Assert.Equal("ThrottlingException", (await client.SsmAsync("PutParameter", Put("/b"))).Code);
    }
}
