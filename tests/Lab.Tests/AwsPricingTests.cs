using System.Text.Json.Nodes;

namespace Mayfly.Lab.Tests;

public sealed class AwsPricingTests
{
    private static readonly (string Field, string Value)[] OnePrice =
        [("regionCode", "eu-west-1"), ("instanceType", "m7i.large"), ("operatingSystem", "Linux"), ("tenancy", "Shared"), ("preInstalledSw", "NA"), ("capacitystatus", "Used")];

    [Fact]
    public async Task All_filters_name_one_product_and_without_one_there_are_several()
    {
        await using var lab = await Lab.StartAsync(new LabOptions());
        lab.LiftLimits();
        var product = JsonNode.Parse(Assert.Single(await ProductsAsync(lab, OnePrice)))!;
        Assert.Equal("m7i.large", (string?)product["product"]!["attributes"]!["instanceType"]);
        var dimension = Assert.Single(Assert.Single(product["terms"]!["OnDemand"]!.AsObject()).Value!["priceDimensions"]!.AsObject()).Value!;
        Assert.Equal(("Hrs", "0.1008000000"), ((string?)dimension["unit"], (string?)dimension["pricePerUnit"]!["USD"]));
        foreach (var left in OnePrice)
            Assert.True((await ProductsAsync(lab, [.. OnePrice.Where(f => f != left)])).Count > 1, left.Field);
        Assert.Empty(await ProductsAsync(lab, [.. OnePrice.Select(f => f.Field == "instanceType" ? (f.Field, "m99.large") : f)]));
    }

    [Theory]
    [InlineData("""{"Filters":[]}""", "InvalidParameterException", "serviceCode cannot be null or empty")]
    [InlineData("""{"ServiceCode":"Amazon EC2"}""", "InvalidParameterException", "can only contain")]
    [InlineData("""{"ServiceCode":"AmazonEC2","Filters":[{"Type":"TERM_MATCH","Field":"region","Value":"eu-west-1"}]}""", "InvalidParameterException", "'region'")]
    [InlineData("""{"ServiceCode":"AmazonEC2","Filters":[{"Type":"IS","Field":"regionCode","Value":"eu-west-1"}]}""", "InvalidParameterException", "enum")]
    [InlineData("""{"ServiceCode":"AmazonEC2","Filters":[{"Type":"TERM_MATCH","Field":"regionCode"}]}""", "ValidationException", "Value")]
    [InlineData("""{"ServiceCode":"AmazonEC2","FormatVersion":"aws_v2"}""", "InvalidParameterException", "aws_v2")]
    [InlineData("""{"ServiceCode":"AmazonEC2","NextToken":"x"}""", "InvalidNextTokenException", "")]
    public async Task What_the_price_list_does_not_understand_it_refuses(string input, string code, string message)
    {
        await using var lab = await Lab.StartAsync(new LabOptions());
        var answer = await new AwsClient(lab, lab.User, "us-east-1").PricingAsync("GetProducts", JsonNode.Parse(input)!.AsObject());
        Assert.Equal(code, answer.Code);
        Assert.Contains(message, answer.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task It_answers_in_three_regions_whichever_the_lab_is_in_and_in_no_other()
    {
        await using var lab = await Lab.StartAsync(new LabOptions { Region = "eu-west-1" });
        lab.LiftLimits();
        foreach (var (region, code) in new[] { ("us-east-1", ""), ("eu-central-1", ""), ("ap-south-1", ""), ("eu-west-1", "InvalidSignatureException") })
            Assert.Equal(code, (await new AwsClient(lab, lab.User, region).PricingAsync("GetProducts", new JsonObject { ["ServiceCode"] = "AmazonEC2", ["MaxResults"] = 1 })).Code);
    }

    [Fact]
    public async Task An_instances_role_may_not_ask_and_whoever_asks_too_often_is_throttled()
    {
        await using var lab = await Lab.StartAsync(new LabOptions());
        var instance = lab.Keys.IssueTemporary(new("AROALAB:i-1", "arn:aws:sts::123456789012:assumed-role/mayfly-runner/i-1", "arn:aws:ec2:eu-central-1:123456789012:instance/i-1"), TimeProvider.System.GetUtcNow().AddHours(1));
        Assert.Equal("AccessDeniedException", (await new AwsClient(lab, instance).PricingAsync("GetProducts", new JsonObject { ["ServiceCode"] = "AmazonEC2" })).Code);
        lab.Prices.Rates.Set("GetProducts", 0.001, burst: 1);
        Assert.Single(await ProductsAsync(lab, OnePrice));
        Assert.Equal("ThrottlingException", (await new AwsClient(lab).PricingAsync("GetProducts", new JsonObject { ["ServiceCode"] = "AmazonEC2" })).Code);
    }

    private static async Task<IReadOnlyList<string>> ProductsAsync(Lab lab, (string Field, string Value)[] filters)
    {
        var answer = await new AwsClient(lab).PricingAsync("GetProducts", new JsonObject
        {
            ["ServiceCode"] = "AmazonEC2",
            ["Filters"] = new JsonArray([.. filters.Select(f => new JsonObject { ["Type"] = "TERM_MATCH", ["Field"] = f.Field, ["Value"] = f.Value })]),
        });
        return [.. answer.Json!["PriceList"]!.AsArray().Select(p => (string)p!)];
    }
}
