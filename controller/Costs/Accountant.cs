using Mayfly.Controller.Seen;

namespace Mayfly.Controller.Costs;

/// <summary>
/// At start and every two seconds, by the controller that leads: finds out what machines cost that have ended, writes that down, and tells of it and
/// sends their traces. Apart from reconciliation, which no price list may hold up. What cannot be found out is unknown, never 0.
/// </summary>
internal sealed partial class Accountant(Store store, AwsSites sites, Heart heart, ILogger<Accountant> log) : BackgroundService
{
    /// <summary>Machines of one look.</summary>
    private const int Most = 100;

    private static readonly TimeSpan Every = TimeSpan.FromSeconds(2);

    /// <summary>Prices what has ended since the last look.</summary>
    public async Task SettleAsync(CancellationToken cancel)
    {
        foreach (var launch in await store.Launches.DueAsync(Most))
        {
            var (microUsd, unknown) = launch.Usage is { } usage ? await PriceAsync(sites.At(launch.Order.Site).Prices, usage, cancel) : (null, "EC2 no longer named the machine");
            if (!await store.Launches.PricedAsync(launch.Id, microUsd))
                continue; // another has led meanwhile
            var usd = microUsd / 1_000_000m;
            LastWords.Tell(launch, usd); // before its line: who reads that finds it in the metrics
            if (usd is { } cost)
                LogCost(launch.InstanceId ?? "", launch.JobId, launch.Id.Repository, cost, launch.Usage!.Seconds, launch.Usage.InstanceType, launch.Usage.Zone, launch.Usage.Market);
            else
                LogUnknown(launch.InstanceId ?? "", launch.JobId, launch.Id.Repository, unknown ?? "");
        }
    }

    protected override Task ExecuteAsync(CancellationToken stoppingToken) => heart.LeadAsync(nameof(Accountant), Every, SettleAsync, LogFailed, stoppingToken);

    private static async Task<(long? MicroUsd, string? Unknown)> PriceAsync(Prices prices, Usage usage, CancellationToken cancel)
    {
        if (usage.Seconds == 0)
            return (0, null); // whatever the price
        var moments = usage.Fixings.ToList();
        Func<DateTimeOffset, Quote> at;
        if (usage.IsSpot)
        {
            at = await prices.SpotAsync(usage.InstanceType, usage.Zone, moments, cancel);
        }
        else
        {
            var always = await prices.OnDemandAsync(usage.InstanceType, cancel);
            at = _ => always;
        }

        return moments.Select(at).FirstOrDefault(quote => quote.Usd is null) is { } missing ? (null, missing.Unknown) : (usage.CostAt(moment => at(moment).Usd!.Value), null);
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "{Instance} of job {Job} of {Repository} cost {Usd} USD: {Seconds} s of {InstanceType} in {Zone}, {Market}")]
    private partial void LogCost(string instance, long job, string repository, decimal usd, long seconds, string instanceType, string zone, string market);

    [LoggerMessage(Level = LogLevel.Information, Message = "what {Instance} of job {Job} of {Repository} cost is unknown: {Reason}")]
    private partial void LogUnknown(string instance, long job, string repository, string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "costs could not be looked at: {Reason}")]
    private partial void LogFailed(string reason);
}
