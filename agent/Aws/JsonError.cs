using System.Text.Json;

namespace Mayfly.Aws;

/// <summary>A refusal in the JSON protocols.</summary>
internal static class JsonError
{
    public static AwsException Read(string action, HttpResponseMessage response, byte[] body)
    {
        IReadOnlyDictionary<string, string> error = new Dictionary<string, string>();
        try
        {
            error = JsonMembers.Strings(body);
        }
        catch (JsonException)
        {
            // not the service's own answer (a proxy's page, say): the status still tells
        }

        // The type may come as "namespace#Code".
        var code = error.GetValueOrDefault("__type")?.Split('#')[^1] ?? "Unknown";
        return new AwsException(action, code, error.GetValueOrDefault("message") ?? error.GetValueOrDefault("Message") ?? "no message", response.StatusCode);
    }
}
