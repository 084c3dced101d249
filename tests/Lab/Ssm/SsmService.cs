using System.Collections.Concurrent;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Mayfly.Lab.Aws;

namespace Mayfly.Lab.Ssm;

internal sealed record Parameter(string Name, string Type, string Value, string Tier, IReadOnlyDictionary<string, string> Tags, int Version, DateTimeOffset Modified);

/// <summary>
/// SSM Parameter Store in its JSON 1.1 protocol, with its limits. An instance's role reaches only the parameter that is
/// tagged with the instance's own ARN; of one that is gone no tag is left to match, so it is answered AccessDenied.
/// https://docs.aws.amazon.com/systems-manager/latest/APIReference/
/// </summary>
internal sealed partial class SsmService(string region, string account, Journal journal, TimeProvider time)
{
    private const int StandardCharacters = 4096;
    private const int MostParameters = 10_000;
    private const string InstanceTag = "mayfly:instance";

    private readonly ConcurrentDictionary<string, Parameter> _parameters = new();
    private readonly Lock _lock = new();

    public IReadOnlyCollection<Parameter> Parameters => [.. _parameters.Values];

    /// <summary>Called before each call; throws the fault that a test wants. Null by default.</summary>
    public Action<string, Principal>? Disturb { get; set; }

    public JsonObject Call(HttpRequest request, byte[] body, Principal caller)
    {
        var target = request.Headers["X-Amz-Target"].ToString();
        if (request.ContentType?.StartsWith("application/x-amz-json-1.1", StringComparison.Ordinal) != true || !target.StartsWith("AmazonSSM.", StringComparison.Ordinal))
            throw new AwsFault("UnknownOperationException", "", 400);
        JsonObject input;
        try
        {
            input = JsonNode.Parse(body) as JsonObject ?? throw new JsonException();
        }
        catch (JsonException)
        {
            throw new AwsFault("SerializationException", "The request body is not a JSON object");
        }

        var action = target["AmazonSSM.".Length..];
        Disturb?.Invoke(action, caller);
        lock (_lock)
        {
            return action switch
            {
                "PutParameter" => Put(new JsonInput(input, "Name", "Value", "Type", "Tier", "Tags", "Overwrite", "Description", "KeyId"), caller),
                "GetParameter" => Get(new JsonInput(input, "Name", "WithDecryption"), caller),
                "DeleteParameter" => Delete(new JsonInput(input, "Name"), caller),
                "DeleteParameters" => DeleteMany(new JsonInput(input, "Names"), caller),
                "GetParametersByPath" => GetByPath(new JsonInput(input, "Path", "Recursive", "WithDecryption", "MaxResults", "NextToken"), caller),
                "DescribeParameters" => Describe(new JsonInput(input, "MaxResults", "NextToken", "ParameterFilters", "Filters", "Shared"), caller),
                "AddTagsToResource" => AddTags(new JsonInput(input, "ResourceType", "ResourceId", "Tags"), caller),
                "ListTagsForResource" => ListTags(new JsonInput(input, "ResourceType", "ResourceId"), caller),
                _ => throw new AwsFault("UnknownOperationException", $"{action} is not an operation of AmazonSSM that the lab has"),
            };
        }
    }

    private JsonObject Put(JsonInput input, Principal caller)
    {
        Deny(caller, "ssm:PutParameter");
        var name = input.Require("Name");
        if (!NamePattern().IsMatch(name) || name.Length > 1011 || name.Count(c => c == '/') > 15)
            throw new AwsFault("ValidationException", "Parameter name: can't be prefixed with \"aws\" or \"ssm\" and may hold only a-zA-Z0-9_.-/, at most 15 levels deep.");
        var value = input.Require("Value");
        var tier = input.Text("Tier") ?? "Standard";
        if (tier is not ("Standard" or "Advanced" or "Intelligent-Tiering"))
            throw new AwsFault("ValidationException", $"Value '{tier}' at 'tier' failed to satisfy constraint: [Standard, Advanced, Intelligent-Tiering]");
        if (tier == "Standard" && value.Length > StandardCharacters)
            throw new AwsFault("ValidationException", "Standard tier parameters support a maximum parameter value of 4096 characters. To create a larger parameter value, upgrade the parameter to use the advanced-parameter tier.");
        if (value.Length > 2 * StandardCharacters)
            throw new AwsFault("ValidationException", "Advanced tier parameters support a maximum parameter value of 8192 characters.");
        var overwrite = input.Boolean("Overwrite");
        var tags = input.Tags("Tags");
        if (overwrite && tags.Count > 0)
            throw new AwsFault("ValidationException", "Invalid request: tags and overwrite can't be used together. To create a parameter with tags, please remove overwrite flag.");
        var exists = _parameters.TryGetValue(name, out var old);
        if (exists && !overwrite)
            throw new AwsFault("ParameterAlreadyExists", "The parameter already exists. To overwrite this value, set the overwrite option in the request to true.");
        var type = input.Text("Type") ?? old?.Type ?? throw new AwsFault("ValidationException", "A parameter type is required when you create a parameter.");
        if (type is not ("String" or "StringList" or "SecureString"))
            throw new AwsFault("ValidationException", $"Value '{type}' at 'type' failed to satisfy constraint: [String, StringList, SecureString]");
        if (!exists && _parameters.Count >= MostParameters)
            throw new AwsFault("ParameterLimitExceeded", "You have exceeded the number of parameters for this AWS account.");
        _parameters[name] = new Parameter(name, type, value, tier, old?.Tags ?? tags, (old?.Version ?? 0) + 1, time.GetUtcNow());
        journal.Record("ssm", "parameter stored", name, $"{value.Length} characters, {type}, {tier}");
        return new JsonObject { ["Version"] = _parameters[name].Version, ["Tier"] = tier };
    }

    private JsonObject Get(JsonInput input, Principal caller)
    {
        var parameter = Find(input.Require("Name"), caller, "ssm:GetParameter");
        var decrypt = input.Boolean("WithDecryption");
        if (decrypt)
            journal.Record("ssm", "parameter read", parameter.Name, caller.Arn);
        return new JsonObject { ["Parameter"] = Json(parameter, decrypt) };
    }

    private JsonObject Delete(JsonInput input, Principal caller)
    {
        var parameter = Find(input.Require("Name"), caller, "ssm:DeleteParameter");
        Remove(parameter, caller);
        return [];
    }

    private JsonObject DeleteMany(JsonInput input, Principal caller)
    {
        Deny(caller, "ssm:DeleteParameters");
        var names = input.Strings("Names");
        if (names.Count is 0 or > 10)
            throw new AwsFault("ValidationException", "Value at 'names' failed to satisfy constraint: Member must have length between 1 and 10");
        var deleted = new JsonArray();
        var invalid = new JsonArray();
        foreach (var name in names)
        {
            if (_parameters.TryGetValue(name, out var parameter))
            {
                Remove(parameter, caller);
                deleted.Add(name);
            }
            else
            {
                invalid.Add(name);
            }
        }

        return new JsonObject { ["DeletedParameters"] = deleted, ["InvalidParameters"] = invalid };
    }

    private JsonObject GetByPath(JsonInput input, Principal caller)
    {
        Deny(caller, "ssm:GetParametersByPath");
        var path = input.Require("Path").TrimEnd('/') + "/";
        var recursive = input.Boolean("Recursive");
        var decrypt = input.Boolean("WithDecryption");
        return Page(input, 10, "Parameters", _parameters.Values
            .Where(p => p.Name.StartsWith(path, StringComparison.Ordinal) && (recursive || !p.Name[path.Length..].Contains('/', StringComparison.Ordinal)))
            .Select(p => Json(p, decrypt)));
    }

    private JsonObject Describe(JsonInput input, Principal caller)
    {
        Deny(caller, "ssm:DescribeParameters");
        return Page(input, 50, "Parameters", _parameters.Values.Select(p => new JsonObject
        {
            ["Name"] = p.Name, ["ARN"] = Arn(p.Name), ["Type"] = p.Type, ["Tier"] = p.Tier, ["Version"] = p.Version,
            ["LastModifiedDate"] = p.Modified.ToUnixTimeMilliseconds() / 1000.0, ["DataType"] = "text",
        }));
    }

    private static JsonObject Page(JsonInput input, int most, string list, IEnumerable<JsonObject> all)
    {
        var count = input.Integer("MaxResults", most, 1, most);
        var start = input.Text("NextToken") is { } token ? int.Parse(token, System.Globalization.CultureInfo.InvariantCulture) : 0;
        var sorted = all.OrderBy(p => (string?)p["Name"], StringComparer.Ordinal).ToList();
        var answer = new JsonObject { [list] = new JsonArray([.. sorted.Skip(start).Take(count)]) };
        if (start + count < sorted.Count)
            answer["NextToken"] = (start + count).ToString(System.Globalization.CultureInfo.InvariantCulture);
        return answer;
    }

    private JsonObject AddTags(JsonInput input, Principal caller)
    {
        Deny(caller, "ssm:AddTagsToResource");
        var parameter = Resource(input);
        var tags = new Dictionary<string, string>(parameter.Tags);
        foreach (var (key, value) in input.Tags("Tags"))
            tags[key] = value;
        _parameters[parameter.Name] = parameter with { Tags = tags };
        return [];
    }

    private JsonObject ListTags(JsonInput input, Principal caller)
    {
        Deny(caller, "ssm:ListTagsForResource");
        return new JsonObject { ["TagList"] = new JsonArray([.. Resource(input).Tags.Select(t => new JsonObject { ["Key"] = t.Key, ["Value"] = t.Value })]) };
    }

    private Parameter Resource(JsonInput input)
    {
        if (input.Require("ResourceType") != "Parameter")
            throw new AwsFault("InvalidResourceType", "The lab has parameters only");
        return _parameters.TryGetValue(input.Require("ResourceId"), out var parameter)
            ? parameter
            : throw new AwsFault("InvalidResourceId", "The resource ID isn't valid. Verify that you entered the correct ID and try again.");
    }

    private Parameter Find(string name, Principal caller, string action)
    {
        if (caller.InstanceArn is { } own)
        {
            return _parameters.TryGetValue(name, out var mine) && mine.Tags.GetValueOrDefault(InstanceTag) == own
                ? mine
                : throw new AwsFault("AccessDeniedException", $"User: {caller.Arn} is not authorized to perform: {action} on resource: {Arn(name)} because no identity-based policy allows the {action} action");
        }

        return _parameters.TryGetValue(name, out var parameter) ? parameter : throw new AwsFault("ParameterNotFound", "");
    }

    private void Remove(Parameter parameter, Principal caller)
    {
        _parameters.TryRemove(parameter.Name, out _);
        journal.Record("ssm", "parameter deleted", parameter.Name, caller.Arn);
    }

    private static void Deny(Principal caller, string action)
    {
        if (caller.InstanceArn is not null)
            throw new AwsFault("AccessDeniedException", $"User: {caller.Arn} is not authorized to perform: {action} because no identity-based policy allows the {action} action");
    }

    private JsonObject Json(Parameter p, bool decrypt) => new()
    {
        ["Name"] = p.Name,
        ["Type"] = p.Type,
        ["Value"] = p.Type == "SecureString" && !decrypt ? Cipher(p.Value) : p.Value,
        ["Version"] = p.Version,
        ["LastModifiedDate"] = p.Modified.ToUnixTimeMilliseconds() / 1000.0,
        ["ARN"] = Arn(p.Name),
        ["DataType"] = "text",
    };

    /// <summary>Without decryption the value is ciphertext: of a value here, nothing but a digest.</summary>
    private static string Cipher(string value) => Convert.ToBase64String(System.Security.Cryptography.SHA512.HashData(Encoding.UTF8.GetBytes(value)));

    private string Arn(string name) => $"arn:aws:ssm:{region}:{account}:parameter{(name.StartsWith('/') ? "" : "/")}{name}";

    [GeneratedRegex("^/?(?!(aws|ssm)(/|$))[a-zA-Z0-9_.-]+(/[a-zA-Z0-9_.-]+)*$", RegexOptions.IgnoreCase)]
    private static partial Regex NamePattern();
}
