using System.Collections.Concurrent;
using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json;
using Mayfly.Lab.Aws;
using Mayfly.Lab.Ec2;

namespace Mayfly.Lab.Imds;

/// <summary>
/// The instance metadata service, version 2 only: without a token, or with another instance's, 401.
/// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-categories.html
/// </summary>
internal sealed class ImdsServer(string account, string region, Keyring keys, Journal journal, TimeProvider time)
{
    private const string TokenHeader = "X-aws-ec2-metadata-token";
    private const string LifetimeHeader = "X-aws-ec2-metadata-token-ttl-seconds";
    private readonly ConcurrentDictionary<string, (string InstanceId, DateTimeOffset Expires)> _tokens = new();

    /// <summary>Called before each request with its path; answers the status that a test wants instead. Null by default.</summary>
    public Func<string, int?>? Disturb { get; set; }

    /// <summary>For so long the service still shows an instance's tags as they were, as happens on EC2.</summary>
    public TimeSpan TagLag { get; set; }

    /// <summary>No token that was issued is known any more.</summary>
    public void ForgetTokens() => _tokens.Clear();

    /// <param name="instance">Who asks, by its address; null where no instance has it.</param>
    public async Task HandleAsync(HttpContext context, Instance? instance)
    {
        var (status, text) = Answer(context.Request, instance);
        context.Response.StatusCode = status;
        // A token's answer repeats its lifetime.
        if (status == 200 && context.Request.Method == "PUT")
            context.Response.Headers[LifetimeHeader] = context.Request.Headers[LifetimeHeader];
        context.Response.ContentType = "text/plain";
        await context.Response.WriteAsync(text, context.RequestAborted);
    }

    private (int Status, string Text) Answer(HttpRequest request, Instance? instance)
    {
        if (instance is null)
            return (404, "");
        if (instance.Spec.HttpEnabled == false)
            return (403, "");
        if (instance.MetadataFails)
            return (503, "");
        var path = (request.Path.Value ?? "").TrimEnd('/');
        if (Disturb?.Invoke(path) is { } status)
            return (status, "");
        if (path == "/latest/api/token")
            return IssueToken(request, instance);
        if (request.Method != "GET")
            return (405, "");
        if (!request.Headers.TryGetValue(TokenHeader, out var token) || !_tokens.TryGetValue(token.ToString(), out var issued)
            || issued.InstanceId != instance.Id || issued.Expires <= time.GetUtcNow())
            return (401, "");
        return Read(path, instance) is { } text ? (200, text) : (404, "");
    }

    private (int Status, string Text) IssueToken(HttpRequest request, Instance instance)
    {
        if (request.Method != "PUT")
            return (405, "");
        if (request.Headers.ContainsKey("X-Forwarded-For"))
            return (403, "");
        if (!int.TryParse(request.Headers[LifetimeHeader], NumberStyles.None, CultureInfo.InvariantCulture, out var seconds) || seconds is < 1 or > 21600)
            return (400, "");
        var token = Convert.ToBase64String(RandomNumberGenerator.GetBytes(42));
        _tokens[token] = (instance.Id, time.GetUtcNow().AddSeconds(seconds));
        journal.Record("imds", "token issued", instance.Id);
        return (200, token);
    }

    private string? Read(string path, Instance instance)
    {
        const string tags = "/latest/meta-data/tags/instance";
        const string credentials = "/latest/meta-data/iam/security-credentials";
        var role = instance.Spec.InstanceProfile?.Split('/')[^1];
        return path switch
        {
            "/latest/meta-data/instance-id" => instance.Id,
            "/latest/meta-data/instance-type" => instance.Type,
            "/latest/meta-data/ami-id" => instance.Spec.ImageId,
            "/latest/meta-data/local-ipv4" => instance.Address,
            "/latest/meta-data/placement/availability-zone" => instance.Zone,
            "/latest/meta-data/placement/region" => region,
            "/latest/meta-data/instance-life-cycle" => instance.Spot ? "spot" : "on-demand",
            "/latest/meta-data/spot/instance-action" => instance.SpotAction,
            "/latest/meta-data/events/recommendations/rebalance" => instance.Rebalance,
            "/latest/meta-data/iam/info" => role is null ? null : Info(role),
            "/latest/dynamic/instance-identity/document" => Document(instance),
            tags when instance.Spec.TagsInMetadata == true => string.Join('\n', instance.TagsAt(time.GetUtcNow() - TagLag).Keys),
            _ when path.StartsWith(tags + "/", StringComparison.Ordinal) && instance.Spec.TagsInMetadata == true =>
                instance.TagsAt(time.GetUtcNow() - TagLag).GetValueOrDefault(Uri.UnescapeDataString(path[(tags.Length + 1)..])),
            credentials => role,
            _ when role is not null && path == $"{credentials}/{role}" => Credentials(instance, role),
            _ => null,
        };
    }

    private string Info(string role) => JsonSerializer.Serialize(new Dictionary<string, string>
    {
        ["Code"] = "Success", ["LastUpdated"] = AwsServer.Stamp(time.GetUtcNow()),
        ["InstanceProfileArn"] = $"arn:aws:iam::{account}:instance-profile/{role}", ["InstanceProfileId"] = "AIPALAB",
    });

    private string Document(Instance instance) => JsonSerializer.Serialize(new Dictionary<string, string?>
    {
        ["accountId"] = account, ["architecture"] = "x86_64", ["availabilityZone"] = instance.Zone, ["imageId"] = instance.Spec.ImageId,
        ["instanceId"] = instance.Id, ["instanceType"] = instance.Type, ["pendingTime"] = instance.Launched.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture),
        ["privateIp"] = instance.Address, ["region"] = region, ["version"] = "2017-09-30",
    });

    private string Credentials(Instance instance, string role)
    {
        var expires = time.GetUtcNow().AddHours(6);
        var key = keys.IssueTemporary(new Principal($"AROALAB:{instance.Id}", $"arn:aws:sts::{account}:assumed-role/{role}/{instance.Id}", instance.Arn), expires);
        return JsonSerializer.Serialize(new Dictionary<string, string?>
        {
            ["Code"] = "Success", ["LastUpdated"] = AwsServer.Stamp(time.GetUtcNow()), ["Type"] = "AWS-HMAC", ["AccessKeyId"] = key.Id,
            ["SecretAccessKey"] = key.Secret, ["Token"] = key.SessionToken, ["Expiration"] = AwsServer.Stamp(expires),
        });
    }
}
