using System.Collections.Concurrent;
using Mayfly.Aws;

namespace Mayfly.Controller.Costs;

/// <summary>A price, or why it is not known.</summary>
/// <param name="Usd">An hour; null if it is not known.</param>
internal sealed record Quote(decimal? Usd, string? Unknown)
{
    public static Quote Of(decimal usd) => new(usd, null);

    public static Quote None(string reason) => new(null, reason);
}

/// <summary>
/// What machines of one account in one region cost, as AWS's price list and the spot market's history tell. Asked for once a type
/// (and zone), not once a job, and so is what cannot be answered.
/// </summary>
internal sealed class Prices(Ec2Client ec2, PricingClient pricing, string region, TimeProvider time)
{
    /// <summary>AWS changes its price list some times a year.</summary>
    private static readonly TimeSpan ListFor = TimeSpan.FromDays(1);

    /// <summary>Before what could not be asked is asked again.</summary>
    private static readonly TimeSpan PauseAfterFailure = TimeSpan.FromHours(1);

    /// <summary>A history is asked for from so long ago on: machines that were launched before this one end after it.</summary>
    private static readonly TimeSpan Before = TimeSpan.FromHours(6);

    private readonly ConcurrentDictionary<string, (Quote Quote, DateTimeOffset Until)> _onDemand = new();
    private readonly ConcurrentDictionary<(string Type, string Zone), History> _spot = new();

    public async Task<Quote> OnDemandAsync(string instanceType, CancellationToken cancel)
    {
        if (_onDemand.TryGetValue(instanceType, out var known) && known.Until > time.GetUtcNow())
            return known.Quote;
        Quote quote;
        var keep = ListFor;
        try
        {
            quote = (await pricing.GetOnDemandAsync(region, instanceType, cancel)).Distinct().ToList() switch
            {
                [var usd and > 0] => Quote.Of(usd),
                [] => Quote.None($"the price list has no {instanceType} in {region} in US dollars"),
                var several => Quote.None($"the price list has {several.Count} prices for {instanceType} in {region}, or 0: {string.Join(", ", several)}"),
            };
        }
        catch (Exception e) when (!cancel.IsCancellationRequested)
        {
            // Whatever it is: what a machine cost holds nothing up.
            (quote, keep) = (Quote.None($"the price list could not be asked: {e.Message}"), PauseAfterFailure);
        }

        _onDemand[instanceType] = (quote, time.GetUtcNow() + keep);
        return quote;
    }

    /// <summary>Of spot instances of a type in a zone, at each of these moments; the earliest first.</summary>
    public async Task<Func<DateTimeOffset, Quote>> SpotAsync(string instanceType, string zone, IReadOnlyList<DateTimeOffset> moments, CancellationToken cancel)
    {
        var now = time.GetUtcNow();
        if (!_spot.TryGetValue((instanceType, zone), out var history) || !(history.Failure is null ? history.Covers(moments[0], moments[^1]) : history.To + PauseAfterFailure > now))
        {
            var from = moments[0] < now - Before ? moments[0] : now - Before;
            try
            {
                history = new History(from, now, await ec2.DescribeSpotPricesAsync(instanceType, zone, from, now, cancel), null);
            }
            catch (Exception e) when (!cancel.IsCancellationRequested)
            {
                history = new History(from, now, [], $"the spot prices could not be asked for: {e.Message}");
            }

            _spot[(instanceType, zone)] = history;
        }

        return moment => history.Failure is { } failure
            ? Quote.None(failure)
            : history.Prices.Where(p => p.Since <= moment).MaxBy(p => p.Since) is { } price
                ? Quote.Of(price.Usd)
                : Quote.None($"EC2 names no spot price of {instanceType} in {zone} at {moment:u}");
    }

    /// <summary>Of a type in a zone, for a time; or why there is none.</summary>
    private sealed record History(DateTimeOffset From, DateTimeOffset To, IReadOnlyList<SpotPrice> Prices, string? Failure)
    {
        public bool Covers(DateTimeOffset from, DateTimeOffset to) => From <= from && to <= To;
    }
}
