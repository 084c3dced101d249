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

/// <summary>What the launch's tags ask for.</summary>
/// <param name="Launch">For people: repository, job and attempt; empty if not set.</param>
internal sealed record LaunchSettings(string Launch, TimeSpan IdleTimeout, TimeSpan JobTimeout)
{
    public static readonly IReadOnlyList<string> Keys = [Tags.Launch, Tags.Config, Tags.IdleTimeout, Tags.JobTimeout];

    /// <summary>GitHub offers a job again after a minute; five leave room for a slow queue.</summary>
    private const int DefaultIdleSeconds = 300;

    /// <summary>GitHub's own default limit of a job, six hours.</summary>
    private const int DefaultJobSeconds = 21600;

    /// <exception cref="EndingException">A tag's value is out of range: names tag, value and range.</exception>
    public static LaunchSettings From(IReadOnlyDictionary<string, string> tags)
    {
        var config = tags.GetValueOrDefault(Tags.Config, "ssm");
        if (config != "ssm")
            throw Bad(Tags.Config, config, "'ssm' is the only source that this image knows");
        return new LaunchSettings(
            tags.GetValueOrDefault(Tags.Launch, ""),
            Seconds(Tags.IdleTimeout, DefaultIdleSeconds, 86_400),
            Seconds(Tags.JobTimeout, DefaultJobSeconds, 432_000));

        TimeSpan Seconds(string key, int byDefault, int most)
        {
            if (!tags.TryGetValue(key, out var value))
                return TimeSpan.FromSeconds(byDefault);
            return int.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out var seconds) && seconds >= 1 && seconds <= most
                ? TimeSpan.FromSeconds(seconds)
                : throw Bad(key, value, $"a whole number of seconds from 1 to {most} is wanted");
        }
    }

    private static EndingException Bad(string key, string value, string way) =>
        new(Ending.NotProved(Step.LearnIdentity, $"tag {key}='{value}': {way}"));
}

internal sealed record IdentityDocument(string? InstanceId, string? Region, string? InstanceType, string? ImageId, string? AvailabilityZone);

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase)]
[JsonSerializable(typeof(IdentityDocument))]
internal sealed partial class IdentityJson : JsonSerializerContext;
