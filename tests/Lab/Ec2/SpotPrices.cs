using System.Globalization;
using System.Xml.Linq;
using Mayfly.Lab.Aws;
using static Mayfly.Lab.Ec2.Ec2Service;

namespace Mayfly.Lab.Ec2;

/// <summary>DescribeSpotPriceHistory: what the market's pools cost, and since when.
/// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeSpotPriceHistory.html</summary>
internal sealed class SpotPrices(Fleet fleet)
{
    private const string Linux = "Linux/UNIX";

    public IEnumerable<XElement> Describe(QueryInput input)
    {
        var (types, products, zone) = (input.List("InstanceType"), input.List("ProductDescription"), input.Get("AvailabilityZone"));
        var (from, to) = (Moment(input, "StartTime"), Moment(input, "EndTime"));
        var filters = Filters.From(input);
        var page = Page.From(input, 1);
        Ready(input);
        if (products.Count > 0 && !products.Contains(Linux) && !products.Contains("Linux/UNIX (Amazon VPC)"))
            return page.Of("spotPriceHistorySet", (IReadOnlyList<SpotPrice>)[], Xml);
        var zones = zone is null ? [.. "abc".Select(z => fleet.Region + z)] : new[] { fleet.Zone(zone) };
        var found = (types.Count == 0 ? InstanceType.Catalogue.Keys : types).SelectMany(t => zones.SelectMany(z => Within(fleet.Market.HistoryOf(t, z), from, to)))
            .Where(p => filters.All(f => f.Name switch
            {
                "availability-zone" => Filters.IsAnyOf(p.Zone, f.Values),
                "instance-type" => Filters.IsAnyOf(p.Type, f.Values),
                "product-description" => Filters.IsAnyOf(Linux, f.Values),
                _ => throw new AwsFault("InvalidParameterValue", $"The filter '{f.Name}' is invalid"),
            }))
            .OrderByDescending(p => p.Since).ThenBy(p => p.Type, StringComparer.Ordinal).ThenBy(p => p.Zone, StringComparer.Ordinal).ToList();
        return page.Of("spotPriceHistorySet", found, Xml);
    }

    /// <summary>The changes in a time, and the price that it began with.</summary>
    private static IEnumerable<SpotPrice> Within(IReadOnlyList<SpotPrice> history, DateTimeOffset? from, DateTimeOffset? to)
    {
        var before = from is null ? null : history.LastOrDefault(p => p.Since <= from);
        return history.Where(p => (from is null || p.Since > from || p == before) && (to is null || p.Since <= to));
    }

    private static DateTimeOffset? Moment(QueryInput input, string name) => input.Get(name) switch
    {
        null => null,
        var text when DateTimeOffset.TryParse(text, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var moment) => moment,
        var text => throw new AwsFault("InvalidParameterValue", $"Value ({text}) for parameter {name} is invalid."),
    };

    private static XElement Xml(SpotPrice price) => E("item", E("instanceType", price.Type), E("productDescription", Linux),
        E("spotPrice", price.Price.ToString("F6", CultureInfo.InvariantCulture)), E("timestamp", AwsServer.Stamp(price.Since)), E("availabilityZone", price.Zone));
}
