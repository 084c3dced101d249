using System.Globalization;
using YamlDotNet.Core;
using YamlDotNet.RepresentationModel;

namespace Mayfly.Controller.Policies;

/// <summary>One key of the policy file as the reference shows it.</summary>
internal sealed record PolicyKey(string Path, string Default, string Wanted, string What)
{
    /// <summary>A row of the table in docs/policy.md.</summary>
    public string Row => $"| `{Path}` | {Default} | {Wanted} | {What} |";
}

/// <summary>
/// A mapping of the policy file. Each key is read by one call that holds all there is to say about it, so that what is read,
/// what is refused and what is documented cannot differ. A section that is not there answers nothing to every key.
/// </summary>
internal sealed class PolicySection
{
    /// <summary>Our own keys need four; the library's loader calls itself for each, and a stack that is full ends the program.</summary>
    private const int MostNesting = 16;

    private readonly string _file;
    private readonly string _path;
    private readonly YamlMappingNode? _node;
    private readonly Mark _mark;
    private readonly List<PolicyKey>? _reference;
    private readonly List<string> _known = [];

    private PolicySection(string file, string path, YamlMappingNode? node, Mark mark, List<PolicyKey>? reference) =>
        (_file, _path, _node, _mark, _reference) = (file, path, node, mark, reference);

    /// <param name="reference">Collects every key that is asked for, where it is not the file's content that is wanted.</param>
    /// <exception cref="SettingsException">It is no YAML, or not a mapping.</exception>
    public static PolicySection Load(string file, string text, List<PolicyKey>? reference = null)
    {
        Scan(file, text);
        try
        {
            var stream = new YamlStream();
            stream.Load(new StringReader(text));
            return stream.Documents switch
            {
                [] => new PolicySection(file, "", null, new Mark(0, 1, 1), reference),
                [{ RootNode: YamlMappingNode root }] => new PolicySection(file, "", root, root.Start, reference),
                [{ RootNode: var other }] => throw Wrong(file, other.Start, "a mapping of keys to values is wanted"),
                [_, { RootNode: var second }, ..] => throw Wrong(file, second.Start, "one document is wanted, this begins another"),
            };
        }
        catch (YamlException e)
        {
            throw Wrong(file, e.Start, e.InnerException?.Message ?? e.Message); // a key that stands there twice
        }
    }

    /// <summary>Refuses what the loader would fail at without a line, or without end.</summary>
    private static void Scan(string file, string text)
    {
        var scanner = new Scanner(new StringReader(text));
        try
        {
            var depth = 0;
            for (var events = new Parser(scanner); events.MoveNext();)
            {
                if ((depth += events.Current!.NestingIncrease) > MostNesting)
                    throw Wrong(file, events.Current.Start, $"nested deeper than {MostNesting} levels");
                if (events.Current is YamlDotNet.Core.Events.AnchorAlias alias)
                    throw Wrong(file, alias.Start, $"'*{alias.Value}' is an alias to YAML; put text that begins with * into quotes");
            }
        }
        // The library's scanner ends in the second on some control characters.
        catch (Exception e) when (e is YamlException or InvalidOperationException)
        {
            throw Wrong(file, scanner.CurrentPosition, $"this is no YAML: {e.Message}");
        }
    }

    public string? Text(string key, string byDefault, string wanted, string what, Func<string, bool> isOne) => Find(key, byDefault, wanted, what) switch
    {
        null => null,
        (_, YamlScalarNode { Value: { } value }) when isOne(value) => value,
        (_, var node) => throw NotWanted(key, node, wanted),
    };

    public int? Number(string key, string byDefault, int least, int most, string what)
    {
        var wanted = string.Create(CultureInfo.InvariantCulture, $"a whole number from {least:N0} to {most:N0}");
        return Text(key, byDefault, wanted, what, text => IsNumber(text, least, most)) is { } number ? int.Parse(number, CultureInfo.InvariantCulture) : null;
    }

    public bool? Truth(string key, string byDefault, string what) => Text(key, byDefault, "`true` or `false`", what, text => text is "true" or "false") is { } word ? word == "true" : null;

    /// <summary>A list; a single value is a list of one.</summary>
    /// <param name="item">What each is.</param>
    public IReadOnlyList<string>? List(string key, string byDefault, string item, string what, Func<string, bool> isOne) => Find(key, byDefault, $"a list: {item}", what) switch
    {
        null => null,
        (_, YamlSequenceNode items) => [.. items.Select(node => node is YamlScalarNode { Value: { } value } && isOne(value) ? value : throw NotWanted(key, node, item))],
        (_, YamlScalarNode { Value: { } value }) when isOne(value) => [value],
        (_, var node) => throw NotWanted(key, node, $"a list is wanted, each of it {item}"),
    };

    /// <summary>A mapping below this one.</summary>
    public PolicySection Section(string key) => Find(key) switch
    {
        null => new PolicySection(_file, _path + key + ".", null, _mark, _reference),
        (_, YamlMappingNode node) => new PolicySection(_file, _path + key + ".", node, node.Start, _reference),
        (_, var node) => throw NotWanted(key, node, "a mapping of keys to values"),
    };

    /// <summary>A mapping whose keys are the operator's own words, to sections.</summary>
    /// <param name="placeholder">What stands for such a word in the reference.</param>
    public IReadOnlyList<(string Name, PolicySection Section)> Named(string key, string placeholder, string wanted, Func<string, bool> isName)
    {
        var inner = Section(key);
        if (_reference is not null)
            return [(placeholder, inner.Section(placeholder))];
        return [.. inner.Names(key, wanted, isName).Select(name => (name, inner.Section(name)))];
    }

    /// <summary>The keys of this mapping, which are the operator's own words.</summary>
    public IReadOnlyList<string> Names(string key, string wanted, Func<string, bool> isName)
    {
        var names = new List<string>();
        foreach (var node in _node?.Children.Keys ?? [])
        {
            if (node is not YamlScalarNode { Value: { } name } || !isName(name))
                throw NotWanted(key, node, wanted);
            if (names.Contains(name, StringComparer.OrdinalIgnoreCase))
                throw Wrong(_file, node.Start, $"{_path}{name} stands there twice; case makes no difference");
            names.Add(name);
        }

        return names;
    }

    /// <summary>A mistake that shows only beside other keys: told at the first of these that is there, or at the section.</summary>
    public SettingsException Wrong(string problem, params ReadOnlySpan<string> keys)
    {
        foreach (var key in keys)
        {
            if (Find(key) is var (name, _))
                return Wrong(_file, name.Start, $"{_path}{key}: {problem}");
        }

        return Wrong(_file, _mark, $"{_path.TrimEnd('.')}: {problem}");
    }

    /// <summary>Puts a key into the reference that is the operator's own word.</summary>
    public void Mention(string placeholder, string byDefault, string wanted, string what) => _reference?.Add(new PolicyKey(_path + placeholder, byDefault, wanted, what));

    /// <summary>Whether the key is there.</summary>
    public bool Has(string key) => Find(key) is not null;

    /// <summary>Refuses keys that nothing has asked for: a slip of the pen would leave a default where the operator set something.</summary>
    public void Close()
    {
        foreach (var node in _node?.Children.Keys ?? [])
        {
            var key = (node as YamlScalarNode)?.Value ?? $"{node}";
            if (!_known.Contains(key))
                throw Wrong(_file, node.Start, $"{_path}{Nearest.Unknown(Ask.Shown(key), _known)}");
        }
    }

    private (YamlNode Key, YamlNode Value)? Find(string key, string byDefault, string wanted, string what)
    {
        _reference?.Add(new PolicyKey(_path + key, byDefault, wanted, what));
        return Find(key);
    }

    private (YamlNode Key, YamlNode Value)? Find(string key)
    {
        if (!_known.Contains(key))
            _known.Add(key);
        if (_node is null)
            return null;
        var found = _node.Children.FirstOrDefault(pair => pair.Key is YamlScalarNode { Value: { } name } && name == key);
        return found.Key is null ? null : (found.Key, found.Value);
    }

    private SettingsException NotWanted(string key, YamlNode node, string wanted) =>
        Wrong(_file, node.Start, $"{_path}{key}: {(node is YamlScalarNode scalar ? $"'{Ask.Shown(scalar.Value ?? "")}'" : "this")} is not what is wanted: {wanted}");

    private static SettingsException Wrong(string file, Mark at, string problem) => new($"{file}, line {at.Line}, column {at.Column}: {problem}; see docs/policy.md");

    private static bool IsNumber(string text, int least, int most) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number) && number >= least && number <= most;
}
