using System.Globalization;

namespace Mayfly.Contract;

/// <summary>
/// The instance's own tags as a channel for its envelope, cut into pieces that fit a tag's value. The weaker of the two
/// channels (docs/decisions/0008).
/// </summary>
public static class ConfigTags
{
    /// <summary>All keys begin so; the instance's role may delete these and no others.</summary>
    public const string Prefix = "mayfly:config-";

    /// <summary>How many pieces there are. Without it, and without as many pieces, nothing is taken: a set that is half
    /// written, or half shown by the metadata service, is never mistaken for a whole one.</summary>
    public const string CountKey = Prefix + "count";

    /// <summary>Characters that a tag's value holds. https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html</summary>
    public const int PieceCharacters = 256;

    /// <summary>As much as a standard parameter holds. With the count, 17 of an instance's 50 tags.</summary>
    public const int MostPieces = Envelope.MaxCharacters / PieceCharacters;

    /// <summary>Every key that an envelope can take, so that what is there can be deleted without looking.</summary>
    public static readonly IReadOnlyList<string> Keys = [CountKey, .. Enumerable.Range(1, MostPieces).Select(KeyOf)];

    /// <summary>Key of a piece, counted from 1.</summary>
    public static string KeyOf(int piece) => string.Create(CultureInfo.InvariantCulture, $"{Prefix}{piece}");

    /// <summary>The tags that carry an envelope.</summary>
    /// <exception cref="EnvelopeException"><see cref="EnvelopeFault.TooLarge"/>.</exception>
    public static IReadOnlyDictionary<string, string> Split(string envelope)
    {
        var pieces = envelope.Chunk(PieceCharacters).Select(piece => new string(piece)).ToList();
        if (pieces.Count > MostPieces)
            throw new EnvelopeException(EnvelopeFault.TooLarge, $"the runner's configuration packs to {envelope.Length} characters; {MostPieces} tags hold {MostPieces * PieceCharacters}");
        var tags = new Dictionary<string, string> { [CountKey] = pieces.Count.ToString(CultureInfo.InvariantCulture) };
        for (var i = 0; i < pieces.Count; i++)
            tags[KeyOf(i + 1)] = pieces[i];
        return tags;
    }

    /// <summary>The keys to read, in order, of an instance that has these tags; null while the set is not whole.</summary>
    /// <param name="count">The value of <see cref="CountKey"/>.</param>
    public static IReadOnlyList<string>? PiecesOf(string? count, IReadOnlyCollection<string> keys)
    {
        if (!int.TryParse(count, NumberStyles.None, CultureInfo.InvariantCulture, out var pieces) || pieces is < 1 or > MostPieces)
            return null;
        var wanted = Enumerable.Range(1, pieces).Select(KeyOf).ToList();
        return wanted.All(keys.Contains) ? wanted : null;
    }
}
