using System.Text.Json;
using System.Text.Json.Nodes;
using Mayfly.Lab.Aws;

namespace Mayfly.Lab.Ssm;

/// <summary>A request of the JSON protocol: members of the operation's input and no others, of the right type.</summary>
internal sealed class JsonInput
{
    private readonly JsonObject _input;

    public JsonInput(JsonObject input, params ReadOnlySpan<string> members)
    {
        _input = input;
        foreach (var (name, _) in input)
        {
            if (!members.Contains(name))
                throw new AwsFault("ValidationException", $"{name} is not a member of the operation's input");
        }
    }

    /// <exception cref="AwsFault">The body is no JSON object.</exception>
    public static JsonObject Parse(byte[] body)
    {
        try
        {
            return JsonNode.Parse(body) as JsonObject ?? throw new JsonException();
        }
        catch (JsonException)
        {
            throw new AwsFault("SerializationException", "The request body is not a JSON object");
        }
    }

    public string? Text(string name) => _input[name] switch
    {
        null => null,
        JsonValue value when value.GetValueKind() == JsonValueKind.String => value.GetValue<string>(),
        _ => throw Mistyped(name),
    };

    public string Require(string name) => Text(name) is { Length: > 0 } value
        ? value
        : throw new AwsFault("ValidationException", $"1 validation error detected: Value null at '{name}' failed to satisfy constraint: Member must not be null");

    public bool Boolean(string name) => _input[name]?.GetValueKind() switch
    {
        null or JsonValueKind.False => false,
        JsonValueKind.True => true,
        _ => throw Mistyped(name),
    };

    public int Integer(string name, int byDefault, int least, int most)
    {
        if (_input[name] is not { } node)
            return byDefault;
        return Typed<int>(name, node) is var number && number >= least && number <= most
            ? number
            : throw Wrong(name, $"an integer from {least} to {most}");
    }

    public IReadOnlyList<string> Strings(string name) => [.. Items(name).Select(item => Typed<string>(name, item))];

    /// <summary>A list of structures with these members.</summary>
    public IReadOnlyList<JsonInput> Structures(string name, params string[] members) => [.. Items(name).Select(item => new JsonInput(item as JsonObject ?? throw Mistyped(name), members))];

    public IReadOnlyDictionary<string, string> Tags(string name)
    {
        var tags = new Dictionary<string, string>();
        foreach (var tag in Structures(name, "Key", "Value"))
        {
            var (key, value) = (tag.Require("Key"), tag.Text("Value") ?? throw Wrong(name, "a Value for each Key"));
            if (key.Length > 128 || value.Length > 256 || !tags.TryAdd(key, value))
                throw Wrong(name, "keys of 1 to 128 and values of at most 256 characters, each key once");
            if (key.StartsWith("aws:", StringComparison.OrdinalIgnoreCase))
                throw Wrong(name, "keys that do not begin with aws:");
        }

        return tags.Count <= 50 ? tags : throw new AwsFault("TooManyTagsError", "At most 50 tags");
    }

    /// <summary>A map of texts.</summary>
    public IReadOnlyDictionary<string, string> Map(string name) => _input[name] switch
    {
        null => new Dictionary<string, string>(),
        JsonObject map => map.ToDictionary(p => p.Key, p => Typed<string>(name, p.Value)),
        _ => throw Mistyped(name),
    };

    private JsonArray Items(string name) => _input[name] switch
    {
        null => [],
        JsonArray array => array,
        _ => throw Mistyped(name),
    };

    private static T Typed<T>(string name, JsonNode? node) => node is JsonValue value && value.TryGetValue<T>(out var typed) ? typed : throw Mistyped(name);

    private static AwsFault Mistyped(string name) => new("SerializationException", $"{name} is not of the type that the operation takes");

    private static AwsFault Wrong(string name, string wanted) => new("ValidationException", $"{name}: {wanted} is wanted");
}
