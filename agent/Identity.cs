using System.Text;
using System.Text.Json;
using Mayfly.Aws;
using Mayfly.Contract;

namespace Mayfly.Agent;

/// <summary>Who this machine is and what its launch asked for.</summary>
internal sealed record Identity(string InstanceId, string Region, string InstanceType, string ImageId, string AvailabilityZone, LaunchSettings Settings)
{
    /// <summary>Reads the identity document and the tags that are ours, in two rounds of requests: document and list of
    /// tags, then the tags' values.</summary>
    /// <exception cref="EndingException">Missing or unusable: names the field or tag and its value.</exception>
    public static async Task<Identity> LearnAsync(Imds imds, CancellationToken cancel)
    {
        var reading = imds.GetAsync("latest/dynamic/instance-identity/document", cancel);
        var tags = await ReadTagsAsync(imds, cancel);
        var document = ParseDocument(await reading ?? throw Unknown("the metadata service has no identity document"));
        string Required(string name) => document.GetValueOrDefault(name) ?? throw Unknown($"the identity document has no {name}");
        return new Identity(
            Required("instanceId"), Required("region"), Required("instanceType"), Required("imageId"), Required("availabilityZone"), LaunchSettings.From(tags));
    }

    private static async Task<Dictionary<string, string>> ReadTagsAsync(Imds imds, CancellationToken cancel)
    {
        var present = await imds.TagKeysAsync(cancel);
        var ours = LaunchSettings.Keys.Where(present.Contains).ToList();
        var values = await Task.WhenAll(ours.Select(key => imds.GetAsync(Imds.TagPath(key), cancel)));
        var tags = new Dictionary<string, string>();
        for (var i = 0; i < ours.Count; i++)
        {
            // A tag that was listed a moment ago and has no value now was deleted in between.
            if (values[i] is { } value)
                tags[ours[i]] = value;
        }

        return tags;
    }

    private static IReadOnlyDictionary<string, string> ParseDocument(string text)
    {
        try
        {
            return JsonMembers.Strings(Encoding.UTF8.GetBytes(text));
        }
        catch (JsonException e)
        {
            throw Unknown($"the identity document is not a JSON object: {e.Message}");
        }
    }

    private static EndingException Unknown(string why) => new(Ending.NotProved(Step.LearnIdentity, why));
}
