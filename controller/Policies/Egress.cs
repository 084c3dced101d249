namespace Mayfly.Controller.Policies;

/// <summary>What a job may connect to, by the words of the tag <c>mayfly:egress</c>.</summary>
internal enum EgressMode
{
    Open,
    Audit,
    Allow,
}

/// <summary>What a job asks to connect to.</summary>
/// <param name="Hosts">For <see cref="EgressMode.Allow"/>, beside the image's own list: host names in lower case, <c>*.</c> in front for all below.</param>
internal sealed record Egress(EgressMode Mode, IReadOnlyList<string> Hosts)
{
    private const int LongestName = 253; // RFC 1035, in its written form

    /// <summary>Reads <c>open</c>, <c>audit</c>, <c>allow</c>, or names with <c>+</c> between, which mean <c>allow</c>.</summary>
    public static Egress? Parse(string text) => text switch
    {
        "open" => new Egress(EgressMode.Open, []),
        "audit" => new Egress(EgressMode.Audit, []),
        "allow" => new Egress(EgressMode.Allow, []),
        _ => text.Split('+') is var names && names.All(IsHost) && names.Distinct().Count() == names.Length ? new Egress(EgressMode.Allow, names) : null,
    };

    /// <summary>As <see cref="Parse"/> reads it.</summary>
    public string Print() => Hosts.Count > 0 ? string.Join('+', Hosts) : Word(Mode);

    public static string Word(EgressMode mode) => mode switch
    {
        EgressMode.Open => "open",
        EgressMode.Audit => "audit",
        _ => "allow",
    };

    /// <summary>A host name of at least two labels, as the agent takes it: a single word would more likely be a mode gone wrong,
    /// a number at the end an address.</summary>
    public static bool IsHost(string text)
    {
        var labels = (text.StartsWith("*.", StringComparison.Ordinal) ? text[2..] : text).Split('.');
        return text.Length <= LongestName && labels.Length > 1 && !labels[^1].All(char.IsAsciiDigit)
            && labels.All(label => label.Length is > 0 and < 64 && label.All(c => char.IsAsciiLetterLower(c) || char.IsAsciiDigit(c) || c is '-' or '_'));
    }

    /// <summary>Whether all that <paramref name="host"/> stands for is among what <paramref name="pattern"/> stands for.</summary>
    public static bool Covers(string pattern, string host) => pattern == host
        || (pattern.StartsWith("*.", StringComparison.Ordinal) && host.EndsWith(pattern[1..], StringComparison.Ordinal));
}
