using System.Text.Json;

namespace Mayfly.Aws;

/// <summary>Reads the small JSON objects of AWS without a serializer, which would be a tenth of the agent's size.</summary>
public static class JsonMembers
{
    /// <summary>The members of an object whose values are strings; others are passed over.</summary>
    /// <exception cref="JsonException">Not a JSON object. The message may quote from it.</exception>
    public static IReadOnlyDictionary<string, string> Strings(ReadOnlySpan<byte> utf8)
    {
        var reader = new Utf8JsonReader(utf8);
        if (!reader.Read() || reader.TokenType != JsonTokenType.StartObject)
            throw new JsonException("a JSON object is wanted");
        var members = new Dictionary<string, string>();
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var name = reader.GetString()!;
            reader.Read();
            if (reader.TokenType == JsonTokenType.String)
                members[name] = reader.GetString()!;
            else
                reader.Skip();
        }

        return members;
    }
}
