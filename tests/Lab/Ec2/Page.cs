using System.Globalization;
using System.Xml.Linq;
using Mayfly.Lab.Aws;
using static Mayfly.Lab.Ec2.Ec2Service;

namespace Mayfly.Lab.Ec2;

/// <summary>A part of a long answer: MaxResults and NextToken.</summary>
internal sealed record Page(int Start, int Most)
{
    public static Page From(QueryInput input, int least)
    {
        var most = input.Integer("MaxResults", 1000, least, 1000);
        var start = 0;
        if (input.Get("NextToken") is { } token && !int.TryParse(token, NumberStyles.None, CultureInfo.InvariantCulture, out start))
            throw new AwsFault("InvalidPaginationToken", "The specified pagination token is not valid.");
        return new Page(start, most);
    }

    public IEnumerable<XElement> Of<T>(string set, IReadOnlyList<T> all, Func<T, XElement> xml)
    {
        yield return E(set, all.Skip(Start).Take(Most).Select(xml));
        if (Start + Most < all.Count)
            yield return E("nextToken", (Start + Most).ToString(CultureInfo.InvariantCulture));
    }
}
