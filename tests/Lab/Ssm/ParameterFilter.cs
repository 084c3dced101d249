using Mayfly.Lab.Aws;

namespace Mayfly.Lab.Ssm;

/// <summary>One of DescribeParameters' filters; a key or option that the lab does not have is refused, never ignored.
/// https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_ParameterStringFilter.html</summary>
internal sealed record ParameterFilter(string Key, string Option, IReadOnlyList<string> Values)
{
    public static ParameterFilter From(JsonInput input)
    {
        var (key, values) = (input.Require("Key"), input.Strings("Values"));
        if (values.Count > 50)
            throw new AwsFault("ValidationException", "Value at 'parameterFilters' failed to satisfy constraint: at most 50 values a filter");
        if (key == "Path" && values.Any(v => !v.StartsWith('/')))
            throw new AwsFault("InvalidFilterValue", "The path must begin with a slash.");
        return new ParameterFilter(key, input.Text("Option") ?? (key == "Path" ? "OneLevel" : "Equals"), values);
    }

    public bool Matches(Parameter parameter) => (Key, Option) switch
    {
        ("Name", "Equals") => Values.Contains(parameter.Name),
        ("Name", "BeginsWith") => Values.Any(v => parameter.Name.TrimStart('/').StartsWith(v.TrimStart('/'), StringComparison.Ordinal)),
        ("Name", "Contains") => Values.Any(v => parameter.Name.Contains(v, StringComparison.Ordinal)),
        ("Path", "Recursive" or "OneLevel") => Values.Any(v => IsBelow(parameter.Name, v, Option == "Recursive")),
        ("Type", "Equals") => Values.Contains(parameter.Type),
        ("Tier", "Equals") => Values.Contains(parameter.Tier),
        var (key, option) when key.StartsWith("tag:", StringComparison.Ordinal) && option == "Equals" =>
            parameter.Tags.TryGetValue(key[4..], out var value) && (Values.Count == 0 || Values.Contains(value)),
        ("Name" or "Path" or "Type" or "Tier", _) => throw new AwsFault("InvalidFilterOption", $"The filter option {Option} is not valid for the key {Key}."),
        _ => throw new AwsFault("InvalidFilterKey", $"The filter key {Key} is not valid."),
    };

    public static bool IsBelow(string name, string path, bool recursive)
    {
        var start = path.TrimEnd('/') + "/";
        return name.StartsWith(start, StringComparison.Ordinal) && (recursive || !name[start.Length..].Contains('/', StringComparison.Ordinal));
    }
}
