using System.Collections.Concurrent;
using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Mayfly.Lab.Aws;

namespace Mayfly.Lab.Ssm;

internal sealed record Parameter(string Name, string Type, string Value, string Tier, IReadOnlyDictionary<string, string> Tags, int Version, DateTimeOffset Modified);

/// <summary>
/// SSM Parameter Store in its JSON 1.1 protocol, with its limits. An instance's role reaches only the parameter that is
/// tagged with the instance's own ARN; of one that is gone no tag is left to match, so it is answered AccessDenied.
/// https://docs.aws.amazon.com/systems-manager/latest/APIReference/
/// </summary>
internal sealed class SsmService(string region, string account, Journal journal, TimeProvider time)
{
    private const int StandardCharacters = 4096;
    private const int MostParameters = 10_000;
    private const string ListMember = "Parameters";
    private const string InstanceTag = "mayfly:instance";

    private readonly ConcurrentDictionary<string, Parameter> _parameters = new();
    private readonly Dictionary<string, Parameter> _deleted = [];
    private readonly Lock _lock = new();

    public IReadOnlyCollection<Parameter> Parameters => [.. _parameters.Values];

    /// <summary>Calls a second that the account may make; one second's worth may come at once. DeleteParameter's is the hard one;
    /// of PutParameter's the documentation says 40, and AWS's own support 3 to 10, so the lab takes the low figure, and ten at once.
    /// https://docs.aws.amazon.com/general/latest/gr/ssm.html</summary>
    public Rates Rates { get; } = Limited(time);

    /// <summary>Called before each call; throws the fault that a test wants. Null by default.</summary>
    public Action<string, Principal>? Disturb { get; set; }

    /// <summary>Asked at each read of a deleted parameter: true answers its last value, as a replica that lags behind does.
    /// Null by default.</summary>
    public Func<bool>? StillAnswers { get; set; }

    public JsonObject Call(HttpRequest request, byte[] body, Principal caller)
    {
        var target = request.Headers["X-Amz-Target"].ToString();
        if (request.ContentType?.StartsWith("application/x-amz-json-1.1", StringComparison.Ordinal) != true || !target.StartsWith("AmazonSSM.", StringComparison.Ordinal))
            throw new AwsFault("UnknownOperationException", "", 400);
        return Call(target["AmazonSSM.".Length..], JsonInput.Parse(body), caller);
    }

    /// <summary>The same without HTTP, for machines that only pretend.</summary>
    public JsonObject Call(string action, JsonObject input, Principal caller)
    {
        Disturb?.Invoke(action, caller);
        Rates.Take(action);
        lock (_lock)
        {
            return action switch
            {
                "PutParameter" => Put(input, caller),
                "GetParameter" => Get(new JsonInput(input, "Name", "WithDecryption"), caller),
                "GetParameters" => GetMany(new JsonInput(input, "Names", "WithDecryption"), caller),
                "DeleteParameter" => Delete(new JsonInput(input, "Name"), caller),
                "DeleteParameters" => DeleteMany(new JsonInput(input, "Names"), caller),
                "GetParametersByPath" => GetByPath(new JsonInput(input, "Path", "Recursive", "WithDecryption", "MaxResults", "NextToken", "ParameterFilters"), caller),
                "DescribeParameters" => Describe(new JsonInput(input, "MaxResults", "NextToken", "ParameterFilters"), caller),
                "AddTagsToResource" => AddTags(new JsonInput(input, "ResourceType", "ResourceId", "Tags"), caller),
                "ListTagsForResource" => ListTags(new JsonInput(input, "ResourceType", "ResourceId"), caller),
                _ => throw new AwsFault("UnknownOperationException", $"{action} is not an operation of AmazonSSM that the lab has"),
            };
        }
    }

    public JsonObject Put(JsonObject parameters, Principal caller)
    {
        var input = new JsonInput(parameters, "Name", "Value", "Type", "Tier", "Tags", "Overwrite", "Description", "KeyId", "DataType");
        Deny(caller, "ssm:PutParameter");
        var name = input.Require("Name");
        ParameterName.Check(name, Arn(name));
        var value = input.Require("Value");
        var tier = input.Text("Tier") ?? "Standard";
        if (tier is not ("Standard" or "Advanced" or "Intelligent-Tiering"))
            throw new AwsFault("ValidationException", $"Value '{tier}' at 'tier' failed to satisfy constraint: [Standard, Advanced, Intelligent-Tiering]");
        if (tier == "Standard" && value.Length > StandardCharacters)
            throw new AwsFault("ValidationException", "Standard tier parameters support a maximum parameter value of 4096 characters. To create a larger parameter value, upgrade the parameter to use the advanced-parameter tier.");
        if (input.Text("DataType") is { } dataType && dataType != "text")
            throw new AwsFault("ValidationException", $"The lab has no data type {dataType}");
        if (input.Text("Description") is { Length: > 1024 })
            throw new AwsFault("ValidationException", "Value at 'description' failed to satisfy constraint: Member must have length less than or equal to 1024");
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
        CheckKey(input.Text("KeyId"), type);
        if (old is not null && old.Type != type)
            throw new AwsFault("HierarchyTypeMismatchException", "Parameter Store does not support changing a parameter type.");
        if (tier == "Intelligent-Tiering")
            tier = value.Length > StandardCharacters || old?.Tier == "Advanced" ? "Advanced" : "Standard";
        if (old?.Tier == "Advanced" && tier == "Standard")
            throw new AwsFault("ValidationException", "This parameter uses the advanced-parameter tier. You can't downgrade a parameter from the advanced-parameter tier to the standard-parameter tier.");
        if (!exists && tier == "Standard" && _parameters.Count >= MostParameters && _parameters.Values.Count(p => p.Tier == "Standard") >= MostParameters)
            throw new AwsFault("ParameterLimitExceeded", "You have exceeded the number of parameters for this AWS account.");
        var stored = new Parameter(name, type, value, tier, old?.Tags ?? tags, (old?.Version ?? 0) + 1, time.GetUtcNow());
        _parameters[name] = stored;
        journal.Record("ssm", "parameter stored", name, $"{value.Length} characters, {type}, {tier}");
        return new JsonObject { ["Version"] = stored.Version, ["Tier"] = tier };
    }

    /// <summary>There is one key in the lab: the account's default one.</summary>
    private static void CheckKey(string? keyId, string type)
    {
        if (keyId is null)
            return;
        if (type != "SecureString")
            throw new AwsFault("ValidationException", "KeyId is allowed for SecureString parameters only.");
        if (keyId != "alias/aws/ssm")
            throw new AwsFault("InvalidKeyId", $"Alias or key {keyId} is not found.");
    }

    private JsonObject Get(JsonInput input, Principal caller)
    {
        var name = input.Require("Name");
        var parameter = !_parameters.ContainsKey(name) && _deleted.TryGetValue(name, out var deleted) && StillAnswers?.Invoke() == true
            ? deleted
            : Find(name, caller, "ssm:GetParameter");
        var decrypt = input.Boolean("WithDecryption");
        if (decrypt)
            journal.Record("ssm", "parameter read", parameter.Name, caller.Arn);
        return new JsonObject { ["Parameter"] = Json(parameter, decrypt) };
    }

    private JsonObject GetMany(JsonInput input, Principal caller)
    {
        Deny(caller, "ssm:GetParameters");
        var names = Names(input);
        var decrypt = input.Boolean("WithDecryption");
        var found = names.Select(_parameters.GetValueOrDefault).OfType<Parameter>().ToList();
        foreach (var parameter in found.Where(_ => decrypt))
            journal.Record("ssm", "parameter read", parameter.Name, caller.Arn);
        return new JsonObject
        {
            [ListMember] = new JsonArray([.. found.Select(p => Json(p, decrypt))]),
            ["InvalidParameters"] = new JsonArray([.. names.Where(n => !_parameters.ContainsKey(n)).Select(n => JsonValue.Create(n))]),
        };
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
        var names = Names(input);
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
        var path = input.Require("Path");
        if (!path.StartsWith('/'))
            throw new AwsFault("ValidationException", "The parameter doesn't meet the parameter name requirements. The parameter name must begin with a forward slash \"/\".");
        var recursive = input.Boolean("Recursive");
        var decrypt = input.Boolean("WithDecryption");
        var filters = FiltersFrom(input);
        if (filters.FirstOrDefault(f => f.Key != "Type") is { } other)
            throw new AwsFault("InvalidFilterKey", $"The filter key {other.Key} is not valid for GetParametersByPath.");
        return Page(input, 10, _parameters.Values.Where(p => ParameterFilter.IsBelow(p.Name, path, recursive) && filters.All(f => f.Matches(p))), p => Json(p, decrypt));
    }

    private JsonObject Describe(JsonInput input, Principal caller)
    {
        Deny(caller, "ssm:DescribeParameters");
        var filters = FiltersFrom(input);
        return Page(input, 50, _parameters.Values.Where(p => filters.All(f => f.Matches(p))), p => new JsonObject
        {
            ["Name"] = p.Name, ["ARN"] = Arn(p.Name), ["Type"] = p.Type, ["Tier"] = p.Tier, ["Version"] = p.Version,
            ["LastModifiedDate"] = p.Modified.ToUnixTimeMilliseconds() / 1000.0, ["DataType"] = "text",
        });
    }

    private static List<ParameterFilter> FiltersFrom(JsonInput input) => [.. input.Structures("ParameterFilters", "Key", "Option", "Values").Select(ParameterFilter.From)];

    private static Rates Limited(TimeProvider time)
    {
        var rates = new Rates(time, () => new AwsFault("ThrottlingException", "Rate exceeded"));
        rates.Set("PutParameter", 3, burst: 10);
        foreach (var (operation, perSecond) in (ReadOnlySpan<(string, double)>)[
            ("GetParameter", 40), ("GetParameters", 40), ("GetParametersByPath", 40), ("DeleteParameter", 5), ("DeleteParameters", 5)])
            rates.Set(operation, perSecond);
        return rates;
    }

    private static JsonObject Page(JsonInput input, int most, IEnumerable<Parameter> all, Func<Parameter, JsonObject> json)
    {
        var count = input.Integer("MaxResults", most, 1, most);
        var start = 0;
        if (input.Text("NextToken") is { } token && !int.TryParse(token, NumberStyles.None, CultureInfo.InvariantCulture, out start))
            throw new AwsFault("InvalidNextToken", "The specified token isn't valid.");
        var sorted = all.OrderBy(p => p.Name, StringComparer.Ordinal).ToList();
        var answer = new JsonObject { [ListMember] = new JsonArray([.. sorted.Skip(start).Take(count).Select(json)]) };
        if (start + count < sorted.Count)
            answer["NextToken"] = (start + count).ToString(CultureInfo.InvariantCulture);
        return answer;
    }

    private static IReadOnlyList<string> Names(JsonInput input) => input.Strings("Names") is { Count: >= 1 and <= 10 } names
        ? names
        : throw new AwsFault("ValidationException", "Value at 'names' failed to satisfy constraint: Member must have length between 1 and 10");

    private JsonObject AddTags(JsonInput input, Principal caller)
    {
        Deny(caller, "ssm:AddTagsToResource");
        var parameter = Resource(input);
        var tags = new Dictionary<string, string>(parameter.Tags);
        foreach (var (key, value) in input.Tags("Tags"))
            tags[key] = value;
        if (tags.Count > 50)
            throw new AwsFault("TooManyTagsError", "At most 50 tags");
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
        _deleted[parameter.Name] = parameter;
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
}
