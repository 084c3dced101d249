using System.Net;
using System.Text.Json.Nodes;
using Mayfly.Lab.Aws;
using Mayfly.Lab.Ec2;

namespace Mayfly.Lab.Tests;

public sealed class AwsImdsTests : IAsyncDisposable
{
    private readonly HandMovedTime _time = new();
    private readonly HttpClient _http = new();
    private Lab _lab = null!;

    [Fact]
    public async Task Without_a_token_there_is_no_metadata()
    {
        var imds = await LaunchAsync();

        Assert.Equal(HttpStatusCode.Unauthorized, (await GetAsync(imds, "meta-data/instance-id", null)).Status);
        Assert.Equal(HttpStatusCode.Unauthorized, (await GetAsync(imds, "meta-data/instance-id", "made-up")).Status);
    }

    [Theory]
    [InlineData(null)]
    [InlineData("0")]
    [InlineData("21601")]
    [InlineData("a minute")]
    public async Task A_token_lives_from_one_second_to_six_hours(string? lifetime)
    {
        Assert.Equal(HttpStatusCode.BadRequest, (await TokenAsync(await LaunchAsync(), lifetime)).Status);
    }

    [Fact]
    public async Task A_token_is_not_given_through_a_proxy_and_not_for_a_get()
    {
        var imds = await LaunchAsync();

        Assert.Equal(HttpStatusCode.Forbidden, (await TokenAsync(imds, "60", ("X-Forwarded-For", "10.0.0.1"))).Status);
        Assert.Equal(HttpStatusCode.MethodNotAllowed, (await GetAsync(imds, "api/token", null)).Status);
    }

    [Fact]
    public async Task A_token_ends_after_its_lifetime_and_serves_no_other_instance()
    {
        var imds = await LaunchAsync();
        var other = await _lab.OpenImdsAsync(Run().Id);
        var token = (await TokenAsync(imds, "60")).Text;

        Assert.Equal(HttpStatusCode.OK, (await GetAsync(imds, "meta-data/instance-id", token)).Status);
        Assert.Equal(HttpStatusCode.Unauthorized, (await GetAsync(other, "meta-data/instance-id", token)).Status);
        _time.Move(TimeSpan.FromSeconds(61));
        Assert.Equal(HttpStatusCode.Unauthorized, (await GetAsync(imds, "meta-data/instance-id", token)).Status);
    }

    [Fact]
    public async Task It_tells_an_instance_who_and_where_it_is()
    {
        var imds = await LaunchAsync();
        var instance = _lab.Fleet.Instances.Single();
        var token = (await TokenAsync(imds, "60")).Text;

        Assert.Equal(instance.Id, (await GetAsync(imds, "meta-data/instance-id", token)).Text);
        Assert.Equal("eu-central-1", (await GetAsync(imds, "meta-data/placement/region", token)).Text);
        Assert.Equal("eu-central-1a", (await GetAsync(imds, "meta-data/placement/availability-zone", token)).Text);
        Assert.Equal(HttpStatusCode.NotFound, (await GetAsync(imds, "meta-data/nothing", token)).Status);
        var document = JsonNode.Parse((await GetAsync(imds, "dynamic/instance-identity/document", token)).Text)!;
        Assert.Equal((instance.Id, "123456789012", "eu-central-1", "ami-0123456789abcdef0"),
            ((string)document["instanceId"]!, (string)document["accountId"]!, (string)document["region"]!, (string)document["imageId"]!));
        Assert.InRange(DateTimeOffset.Parse((string)document["pendingTime"]!, null), instance.Launched.AddSeconds(-1), instance.Launched);
    }

    [Fact]
    public async Task Tags_are_there_only_where_the_launch_asked_for_them()
    {
        var imds = await LaunchAsync(("TagSpecification.1.ResourceType", "instance"), ("TagSpecification.1.Tag.1.Key", "mayfly:config"), ("TagSpecification.1.Tag.1.Value", "ssm"));
        var hidden = await _lab.OpenImdsAsync(Run(("MetadataOptions.InstanceMetadataTags", "disabled")).Id);
        var (token, hiddenToken) = ((await TokenAsync(imds, "60")).Text, (await TokenAsync(hidden, "60")).Text);

        Assert.Equal("mayfly:config", (await GetAsync(imds, "meta-data/tags/instance", token)).Text);
        Assert.Equal("ssm", (await GetAsync(imds, "meta-data/tags/instance/mayfly:config", token)).Text);
        Assert.Equal(HttpStatusCode.NotFound, (await GetAsync(imds, "meta-data/tags/instance/mayfly:other", token)).Status);
        Assert.Equal(HttpStatusCode.NotFound, (await GetAsync(hidden, "meta-data/tags/instance", hiddenToken)).Status);
    }

    [Fact]
    public async Task Spot_and_rebalance_notices_are_absent_until_they_are_given()
    {
        var imds = await LaunchAsync();
        var instance = _lab.Fleet.Instances.Single();
        var token = (await TokenAsync(imds, "600")).Text;

        Assert.Equal(HttpStatusCode.NotFound, (await GetAsync(imds, "meta-data/spot/instance-action", token)).Status);
        Assert.Equal(HttpStatusCode.NotFound, (await GetAsync(imds, "meta-data/events/recommendations/rebalance", token)).Status);
        _time.Stop();
        _lab.Fleet.WarnOfInterruption(instance.Id);
        instance.Rebalance = """{"noticeTime": "2026-01-01T00:00:00Z"}""";

        var action = JsonNode.Parse((await GetAsync(imds, "meta-data/spot/instance-action", token)).Text)!;
        Assert.Equal("terminate", (string?)action["action"]);
        Assert.InRange(DateTimeOffset.Parse((string)action["time"]!, null) - _time.GetUtcNow(), TimeSpan.FromSeconds(100), TimeSpan.FromSeconds(120));
        Assert.Equal(HttpStatusCode.OK, (await GetAsync(imds, "meta-data/events/recommendations/rebalance", token)).Status);
    }

    [Fact]
    public async Task Its_keys_are_those_of_the_instances_role_and_the_services_know_them()
    {
        var imds = await LaunchAsync();
        var instance = _lab.Fleet.Instances.Single();
        var token = (await TokenAsync(imds, "60")).Text;

        var role = (await GetAsync(imds, "meta-data/iam/security-credentials/", token)).Text;
        Assert.Equal("mayfly-runner", role);
        var keys = JsonNode.Parse((await GetAsync(imds, $"meta-data/iam/security-credentials/{role}", token)).Text)!;
        var key = new AccessKey((string)keys["AccessKeyId"]!, (string)keys["SecretAccessKey"]!, (string)keys["Token"]!, null, _lab.User.Principal);
        Assert.Equal($"arn:aws:sts::123456789012:assumed-role/mayfly-runner/{instance.Id}", (await new AwsClient(_lab, key).StsAsync("GetCallerIdentity")).One("Arn"));
        Assert.Equal("UnauthorizedOperation", (await new AwsClient(_lab, key).Ec2Async("DescribeInstances")).Code);
        Assert.Equal("AccessDenied", (await new AwsClient(_lab, key).StsAsync("AssumeRole", ("RoleArn", "arn:aws:iam::123456789012:role/admin"), ("RoleSessionName", "me"))).Code);
    }

    [Fact]
    public async Task It_can_be_turned_off()
    {
        Assert.Equal(HttpStatusCode.Forbidden, (await TokenAsync(await LaunchAsync(("MetadataOptions.HttpEndpoint", "disabled")), "60")).Status);
    }

    public async ValueTask DisposeAsync()
    {
        _http.Dispose();
        if (_lab is not null)
            await _lab.DisposeAsync();
    }

    private async Task<Uri> LaunchAsync(params (string Name, string Value)[] parameters)
    {
        _lab = await Lab.StartAsync(new LabOptions { Time = _time });
        _lab.Templates.Load(Demo.LaunchTemplate, "ami-0123456789abcdef0");
        return await _lab.OpenImdsAsync(Run(parameters).Id);
    }

    private Instance Run(params (string Name, string Value)[] parameters)
    {
        var query = new Dictionary<string, string> { ["MinCount"] = "1", ["MaxCount"] = "1", ["LaunchTemplate.LaunchTemplateName"] = "mayfly" };
        foreach (var (name, value) in parameters)
            query[name] = value;
        var before = _lab.Fleet.Instances;
        _ = _lab.Fleet.RunInstances(new QueryInput(query));
        return _lab.Fleet.Instances.Except(before).Single();
    }

    private async Task<(HttpStatusCode Status, string Text)> GetAsync(Uri imds, string path, string? token) =>
        await SendAsync(new HttpRequestMessage(HttpMethod.Get, new Uri(imds, $"/latest/{path}")), ("X-aws-ec2-metadata-token", token));

    private async Task<(HttpStatusCode Status, string Text)> TokenAsync(Uri imds, string? lifetime, params (string Name, string? Value)[] headers) =>
        await SendAsync(new HttpRequestMessage(HttpMethod.Put, new Uri(imds, "/latest/api/token")), [("X-aws-ec2-metadata-token-ttl-seconds", lifetime), .. headers]);

    private async Task<(HttpStatusCode Status, string Text)> SendAsync(HttpRequestMessage request, params (string Name, string? Value)[] headers)
    {
        using (request)
        {
            foreach (var (name, value) in headers.Where(h => h.Value is not null))
                request.Headers.TryAddWithoutValidation(name, value);
            using var response = await _http.SendAsync(request, TestContext.Current.CancellationToken);
            return (response.StatusCode, await response.Content.ReadAsStringAsync(TestContext.Current.CancellationToken));
        }
    }
}
