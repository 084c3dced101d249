using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;
using Mayfly.Contract;

namespace Mayfly.Agent;

/// <summary>Who this machine is and what its launch asked for.</summary>
internal sealed record Identity(string InstanceId, string Region, string InstanceType, string ImageId, string AvailabilityZone, LaunchSettings Settings)
{
    /// <summary>Reads the identity document and the tags.</summary>
    /// <exception cref="EndingException">Missing or unusable: names the field or tag and its value.</exception>
    public static async Task<Identity> LearnAsync(Imds imds, CancellationToken cancel)
    {
        var text = await imds.GetAsync("latest/dynamic/instance-identity/document", cancel)
            ?? throw Unknown("the metadata service has no identity document");
        var document = ParseDocument(text);
        var tags = new Dictionary<string, string>();
        foreach (var key in LaunchSettings.Keys)
        {
            // 404 where the tag is not set, and for all where the launch template does not put tags into metadata.
            if (await imds.GetAsync($"latest/meta-data/tags/instance/{key}", cancel) is { } value)
                tags[key] = value;
        }

        return new Identity(
            document.InstanceId ?? throw Unknown("the identity document has no instanceId"),
            document.Region ?? throw Unknown("the identity document has no region"),
            document.InstanceType ?? "", document.ImageId ?? "", document.AvailabilityZone ?? "",
            LaunchSettings.From(tags));
    }

    private static IdentityDocument ParseDocument(string text)
    {
        try
        {
            return JsonSerializer.Deserialize(text, IdentityJson.Default.IdentityDocument) ?? throw Unknown("the identity document is null");
        }
        catch (JsonException e)
        {
            throw Unknown($"the identity document is not JSON: {e.Message}");
        }
    }

    private static EndingException Unknown(string why) => new(Ending.NotProved(Step.LearnIdentity, why));
}

internal sealed record IdentityDocument(string? InstanceId, string? Region, string? InstanceType, string? ImageId, string? AvailabilityZone);

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase)]
[JsonSerializable(typeof(IdentityDocument))]
internal sealed partial class IdentityJson : JsonSerializerContext;
