using System.IO.Enumeration;
using Mayfly.Lab.Aws;

namespace Mayfly.Lab.Ec2;

/// <summary>Filters of the <c>Describe…</c> calls.</summary>
internal static class Filters
{
    public static List<(string Name, IReadOnlyList<string> Values)> From(QueryInput input)
    {
        var filters = input.Structures("Filter").Select(p => (Name: input.Require(p + "Name"), Values: input.List(p + "Value"))).ToList();
        return filters.All(f => f.Values.Count <= 200) ? filters : throw new AwsFault("FilterLimitExceeded", "The maximum number of filter values specified on a single call is 200");
    }

    /// <summary>Filters know * and ?, and a backslash before either.</summary>
    public static bool IsAnyOf(string text, IReadOnlyList<string> patterns) =>
        patterns.Any(p => FileSystemName.MatchesSimpleExpression(p, text, ignoreCase: false));
}
