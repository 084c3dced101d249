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

    public string? Text(string name) => _input[name] switch
    {
        null => null,
        JsonValue value when value.GetValueKind() == JsonValueKind.String => value.GetValue<string>(),
        _ => throw Wrong(name, "a string"),
    };

    public string Require(string name) => Text(name) is { Length: > 0 } value
        ? value
        : throw new AwsFault("ValidationException", $"1 validation error detected: Value null at '{name}' failed to satisfy constraint: Member must not be null");

    public bool Boolean(string name) => _input[name]?.GetValueKind() switch
    {
        null or JsonValueKind.False => false,
        JsonValueKind.True => true,
        _ => throw Wrong(name, "a boolean"),
    };

    public int Integer(string name, int byDefault, int least, int most)
    {
        if (_input[name] is not { } node)
            return byDefault;
        return node is JsonValue value && value.TryGetValue<int>(out var number) && number >= least && number <= most
            ? number
            : throw Wrong(name, $"an integer from {least} to {most}");
    }

    public IReadOnlyList<string> Strings(string name) =>
        _input[name] is JsonArray array ? [.. array.Select(item => item?.GetValue<string>() ?? throw Wrong(name, "a list of strings"))] : [];

    public IReadOnlyDictionary<string, string> Tags(string name)
    {
        var tags = new Dictionary<string, string>();
        foreach (var item in _input[name] as JsonArray ?? [])
        {
            var key = item?["Key"]?.GetValue<string>() ?? throw Wrong(name, "a list of Key and Value");
            var value = item["Value"]?.GetValue<string>() ?? throw Wrong(name, "a list of Key and Value");
            if (key.Length is 0 or > 128 || value.Length > 256 || !tags.TryAdd(key, value))
                throw Wrong(name, "keys of 1 to 128 and values of at most 256 characters, each key once");
        }

        return tags.Count <= 50 ? tags : throw new AwsFault("TooManyTagsError", "At most 50 tags");
    }

    private static AwsFault Wrong(string name, string wanted) => new("ValidationException", $"{name}: {wanted} is wanted");
}
