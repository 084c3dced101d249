using System.Globalization;

namespace Mayfly.Lab.Aws;

/// <summary>
/// A request of the query protocol. Reads are remembered, so that a parameter which nobody asked for is refused as the
/// service refuses it: nothing is silently ignored.
/// </summary>
internal sealed class QueryInput(IReadOnlyDictionary<string, string> parameters)
{
    private readonly HashSet<string> _read = ["Action", "Version"];

    public string? Get(string name)
    {
        _read.Add(name);
        return parameters.GetValueOrDefault(name);
    }

    public string Require(string name) =>
        Get(name) is { Length: > 0 } value ? value : throw new AwsFault("MissingParameter", $"The request must contain the parameter {name}");

    public string OneOf(string name, string byDefault, params ReadOnlySpan<string> allowed)
    {
        var value = Get(name) ?? byDefault;
        foreach (var each in allowed)
        {
            if (value == each)
                return value;
        }

        throw new AwsFault("InvalidParameterValue", $"Value ({value}) for parameter {name} is invalid.");
    }

    public int Integer(string name, int byDefault, int least, int most)
    {
        if (Get(name) is not { } text)
            return byDefault;
        return int.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var value) && value >= least && value <= most
            ? value
            : throw new AwsFault("InvalidParameterValue", $"Value ({text}) for parameter {name} is invalid. Expecting an integer from {least} to {most}.");
    }

    public bool Boolean(string name, bool byDefault) => OneOf(name, byDefault ? "true" : "false", "true", "false") == "true";

    /// <summary>Plain values <c>name.1</c>, <c>name.2</c>, …</summary>
    public IReadOnlyList<string> List(string name)
    {
        var values = new List<string>();
        for (var i = 1; parameters.ContainsKey($"{name}.{i}"); i++)
            values.Add(Get($"{name}.{i}")!);
        return values;
    }

    /// <summary>Prefixes <c>name.1.</c>, <c>name.2.</c>, … of the structures that were sent.</summary>
    public IReadOnlyList<string> Structures(string name)
    {
        var prefixes = new List<string>();
        for (var i = 1; Has($"{name}.{i}."); i++)
            prefixes.Add($"{name}.{i}.");
        return prefixes;
    }

    public bool Has(string prefix) => parameters.Keys.Any(key => key.StartsWith(prefix, StringComparison.Ordinal));

    public bool HasAny(params string[] prefixes) => prefixes.Any(Has);

    /// <summary>All that was sent, in a fixed order: two requests are the same if and only if this is.</summary>
    public string Fingerprint() => string.Join('&', parameters.Where(p => p.Key is not ("ClientToken" or "DryRun"))
        .OrderBy(p => p.Key, StringComparer.Ordinal).Select(p => $"{p.Key}={p.Value}"));

    /// <summary>To be called when all is read and before anything is done.</summary>
    public void RejectUnread()
    {
        var unread = parameters.Keys.Where(key => !_read.Contains(key)).Order(StringComparer.Ordinal).FirstOrDefault();
        if (unread is not null)
            throw new AwsFault("UnknownParameter", $"The parameter {unread} is not recognized");
    }
}
