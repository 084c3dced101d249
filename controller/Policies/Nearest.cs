namespace Mayfly.Controller.Policies;

/// <summary>For messages: which known word a mistyped one was meant to be.</summary>
internal static class Nearest
{
    /// <summary>Changes of one letter that a slip makes; a word further off was meant otherwise.</summary>
    private const int MostChanges = 2;

    /// <summary>Longer words are no slips of ours, and the comparison costs the product of both lengths.</summary>
    private const int Longest = 40;

    /// <summary><c> 'cpus' is not known; did you mean 'cpu'? Known are …</c></summary>
    public static string Unknown(string word, IReadOnlyCollection<string> known)
    {
        var nearest = known.Select(k => (Word: k, Changes: Changes(word, k))).OrderBy(k => k.Changes).FirstOrDefault();
        var hint = nearest.Word is not null && nearest.Changes <= Math.Min(MostChanges, nearest.Word.Length - 1) ? $"did you mean '{nearest.Word}'? " : "";
        return $"'{word}' is not known; {hint}Known are {string.Join(", ", known)}";
    }

    /// <summary>Letters to insert, delete or replace (Levenshtein's distance).</summary>
    private static int Changes(string from, string to)
    {
        if (from.Length > Longest)
            return int.MaxValue;
        var row = Enumerable.Range(0, to.Length + 1).ToArray();
        for (var i = 1; i <= from.Length; i++)
        {
            var diagonal = row[0];
            row[0] = i;
            for (var j = 1; j <= to.Length; j++)
            {
                var replaced = diagonal + (from[i - 1] == to[j - 1] ? 0 : 1);
                diagonal = row[j];
                row[j] = Math.Min(replaced, Math.Min(row[j], row[j - 1]) + 1);
            }
        }

        return row[^1];
    }
}
