using System.Globalization;

namespace Mayfly.Controller;

/// <summary>A setting that is missing or wrong: names the key, the value and the way out.</summary>
internal sealed class SettingsException(string message) : Exception(message);

/// <summary>One setting as the reference shows it.</summary>
/// <param name="Default">Null if it must be set.</param>
/// <param name="Wanted">Which values are taken: reads on as "... is wanted".</param>
/// <param name="What">What it does.</param>
internal sealed record Setting(string Key, string? Default, string Wanted, string What)
{
    /// <summary>A row of the table in docs/controller.md.</summary>
    public string Row => $"| `{Key}` | {Default switch { null => "must be set", "" => "none", _ => $"`{Default}`" }} | {Wanted} | {What} |";
}

/// <summary>
/// Where settings come from. Each is read by one call that holds all there is to say about it, so that what is read, what is
/// refused and what is documented cannot differ. Without a configuration it answers every default, and nothing is refused.
/// </summary>
internal sealed class SettingSource(IConfigurationSection? section)
{
    private readonly List<Setting> _asked = [];

    public delegate bool Parser<T>(string text, out T value);

    /// <summary>What was asked for up to now, in that order.</summary>
    public IReadOnlyList<Setting> Asked => _asked;

    public string Text(string key, string? byDefault, string what) => Of(key, byDefault, "a text", what, (string text, out string value) => (value = text).Length > 0);

    public long Number(string key, long? byDefault, long least, long most, string what) =>
        Of(key, byDefault?.ToString(CultureInfo.InvariantCulture),
            most == long.MaxValue ? $"a whole number, {least} or more" : string.Create(CultureInfo.InvariantCulture, $"a whole number from {least:N0} to {most:N0}"), what,
            (string text, out long value) => long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out value) && value >= least && value <= most);

    /// <param name="what">What happens in that time: the reference begins it with "seconds".</param>
    public TimeSpan Seconds(string key, long byDefault, long least, long most, string what) => TimeSpan.FromSeconds(Number(key, byDefault, least, most, $"seconds {what}"));

    /// <param name="what">Whose calls: the reference begins it with "calls a minute of".</param>
    /// <returns>Calls a second.</returns>
    public double PerMinute(string key, long byDefault, string what) => Number(key, byDefault, 1, 1_000_000, $"calls a minute of {what}") / 60.0;

    /// <summary>Where a secret or a long text is; what it holds is read elsewhere.</summary>
    /// <param name="byDefault">Empty where there need be none.</param>
    public string Reference(string key, string? byDefault, string what) =>
        Of(key, byDefault, "a file that exists and can be read, or `ssm:` and a parameter's name,", what, (string text, out string value) => (value = text).Length == 0 || ReferredText.IsReference(text));

    public Uri Address(string key, string byDefault, string what) =>
        Of(key, byDefault, "an http or https address", what, (string text, out Uri value) => Uri.TryCreate(text, UriKind.Absolute, out value!) && value.Scheme is "https" or "http");

    /// <summary>One of a few words, the first of which is the default.</summary>
    public string Choice(string key, IReadOnlyList<string> words, string what) =>
        Of(key, words[0], string.Join(" or ", words.Select(w => $"`{w}`")), what, (string text, out string value) => words.Contains(value = text));

    /// <summary>Items separated by commas. One that must be set holds at least one.</summary>
    /// <param name="item">What each is.</param>
    public IReadOnlyList<T> List<T>(string key, string? byDefault, string item, string what, Parser<T> parse) =>
        Of(key, byDefault, $"{item}, or several separated by commas,", what, (string text, out IReadOnlyList<T> value) =>
        {
            var items = new List<T>();
            value = items;
            foreach (var part in text.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries))
            {
                if (!parse(part, out var parsed))
                    return false;
                items.Add(parsed);
            }

            return items.Count > 0 || byDefault is { Length: 0 };
        });

    /// <summary>Any setting.</summary>
    /// <exception cref="SettingsException">It is missing, or not what is wanted.</exception>
    public T Of<T>(string key, string? byDefault, string wanted, string what, Parser<T> parse)
    {
        _asked.Add(new Setting(key, byDefault, wanted.TrimEnd(','), what));
        var text = section?[key] is { Length: > 0 } given ? given : byDefault;
        if (text is null)
            return section is null ? default! : throw new SettingsException($"Mayfly:{key} is not set; see docs/controller.md");
        return parse(text, out var value) ? value : throw new SettingsException($"Mayfly:{key}='{text}': {wanted} is wanted; see docs/controller.md");
    }

    /// <summary>A key that nothing asked for is a typing error, which would leave a default where the operator set something.
    /// Its value is not shown: it may be a secret where a file's name was wanted.</summary>
    /// <exception cref="SettingsException">There is one.</exception>
    public void RefuseOthers()
    {
        var known = _asked.Select(s => s.Key).ToHashSet(StringComparer.OrdinalIgnoreCase);
        if (section?.AsEnumerable(makePathsRelative: true).FirstOrDefault(pair => pair.Value is not null && pair.Key.Length > 0 && !known.Contains(pair.Key)).Key is { } unknown)
            throw new SettingsException($"Mayfly:{unknown} is not a setting; see docs/controller.md, or mayfly-controller --help-config");
    }
}
