using System.Net;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json.Nodes;
using System.Xml.Linq;
using Amazon;
using Amazon.Runtime;
using Amazon.Runtime.Signing;
using Mayfly.Lab.Aws;

namespace Mayfly.Lab.Tests;

/// <summary>What a service answered: XML for EC2 and STS, JSON for SSM, KMS and the price list.</summary>
internal sealed record AwsAnswer(HttpStatusCode Status, string Code, string Message, XElement? Xml, JsonObject? Json)
{
    /// <summary>Texts of all elements of a name, whatever their namespace.</summary>
    public IReadOnlyList<string> All(string element) => [.. Xml!.Descendants().Where(e => e.Name.LocalName == element).Select(e => e.Value)];

    public string One(string element) => Xunit.Assert.Single(All(element));
}

/// <summary>A client of the lab whose requests AWSSDK.Core signs. A request can be changed after it was signed.</summary>
internal sealed class AwsClient(Lab lab, AccessKey key, string? region = null, Action<HttpRequestMessage>? tamper = null)
{
    public AwsClient(Lab lab)
        : this(lab, lab.User)
    {
    }

    public async Task<AwsAnswer> Ec2Async(string action, params (string Name, string Value)[] parameters) =>
        await SendAsync("ec2", Form(action, "2016-11-15", parameters));

    public async Task<AwsAnswer> StsAsync(string action, params (string Name, string Value)[] parameters) =>
        await SendAsync("sts", Form(action, "2011-06-15", parameters));

    public Task<AwsAnswer> SsmAsync(string action, JsonObject input) => JsonAsync("ssm", $"AmazonSSM.{action}", input);

    public Task<AwsAnswer> KmsAsync(string action, JsonObject input) => JsonAsync("kms", $"TrentService.{action}", input);

    public Task<AwsAnswer> PricingAsync(string action, JsonObject input) => JsonAsync("pricing", $"AWSPriceListService.{action}", input);

    private async Task<AwsAnswer> JsonAsync(string service, string target, JsonObject input)
    {
        var content = new StringContent(input.ToJsonString(), Encoding.UTF8);
        content.Headers.ContentType = new MediaTypeHeaderValue("application/x-amz-json-1.1");
        return await SendAsync(service, content, ("X-Amz-Target", target));
    }

    public async Task<AwsAnswer> SendAsync(string service, HttpContent content, params (string Name, string Value)[] headers)
    {
        AWSCredentials credentials = key.SessionToken is { } token ? new SessionAWSCredentials(key.Id, key.Secret, token) : new BasicAWSCredentials(key.Id, key.Secret);
        using var http = new HttpClient(new SigV4SigningHandler(credentials, RegionEndpoint.GetBySystemName(region ?? lab.Options.Region), service, new AfterSigning(tamper)));
        using var request = new HttpRequestMessage(HttpMethod.Post, lab.AwsAddress) { Content = content };
        foreach (var (name, value) in headers)
            request.Headers.Add(name, value);
        using var response = await http.SendAsync(request, TestContext.Current.CancellationToken);
        var body = await response.Content.ReadAsStringAsync(TestContext.Current.CancellationToken);
        return response.Content.Headers.ContentType?.MediaType == "text/xml" ? OfXml(response.StatusCode, body) : OfJson(response.StatusCode, body);
    }

    private static AwsAnswer OfXml(HttpStatusCode status, string body)
    {
        var root = XDocument.Parse(body).Root!;
        var error = root.Descendants().FirstOrDefault(e => e.Name.LocalName == "Error");
        string Text(string name) => error?.Elements().FirstOrDefault(e => e.Name.LocalName == name)?.Value ?? "";
        return new AwsAnswer(status, Text("Code"), Text("Message"), root, null);
    }

    private static AwsAnswer OfJson(HttpStatusCode status, string body)
    {
        var root = JsonNode.Parse(body)!.AsObject();
        return new AwsAnswer(status, (string?)root["__type"] ?? "", (string?)root["message"] ?? "", null, root);
    }

    private static FormUrlEncodedContent Form(string action, string version, (string Name, string Value)[] parameters) =>
        new(parameters.Select(p => KeyValuePair.Create(p.Name, p.Value)).Append(KeyValuePair.Create("Action", action)).Append(KeyValuePair.Create("Version", version)));

    private sealed class AfterSigning(Action<HttpRequestMessage>? tamper) : DelegatingHandler(new SocketsHttpHandler())
    {
        protected override Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
        {
            tamper?.Invoke(request);
            return base.SendAsync(request, cancellationToken);
        }
    }
}
