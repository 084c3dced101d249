using System.Globalization;

namespace Mayfly.Controller.Policies;

/// <summary>How much of something: from least to most, both included.</summary>
/// <param name="Most">Null: as much as is allowed.</param>
internal readonly record struct Amount(int Least, int? Most)
{
    /// <summary>Reads <c>4</c> or <c>4-8</c>, each from 1 to <paramref name="limit"/>.</summary>
    /// <param name="exact">Whether a single number is also the most.</param>
    public static Amount? Parse(string text, int limit, bool exact)
    {
        var dash = text.IndexOf('-', StringComparison.Ordinal);
        if (dash < 0)
            return Number(text, limit) is { } single ? new Amount(single, exact ? single : null) : null;
        return Number(text[..dash], limit) is { } least && Number(text[(dash + 1)..], limit) is { } most && least <= most ? new Amount(least, most) : null;
    }

    /// <summary>A whole number from 1 to the limit, in digits alone.</summary>
    public static int? Number(string text, int limit) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number) && number >= 1 && number <= limit ? number : null;

    /// <summary>As <see cref="Parse"/> reads it.</summary>
    public string Print(bool exact) => Most is not { } most || (exact && most == Least)
        ? string.Create(CultureInfo.InvariantCulture, $"{Least}")
        : string.Create(CultureInfo.InvariantCulture, $"{Least}-{most}");
}
