using System.Collections.Concurrent;
using Mayfly.Lab.Aws;

namespace Mayfly.Lab.Ec2;

/// <summary>A spot price from a moment on.</summary>
internal sealed record SpotPrice(string Type, string Zone, decimal Price, DateTimeOffset Since);

/// <summary>A subnet that a test made; with the first one, no other is known any more.</summary>
internal sealed class Subnet(string zone, int freeAddresses)
{
    public string Zone { get; } = zone;

    public int FreeAddresses { get; set; } = freeAddresses;
}

/// <summary>
/// What EC2 has to give: prices, capacity, quotas and subnets. Everything is there by default; a test makes it scarce by
/// <see cref="Refusals"/> (an error on demand), <see cref="Capacity"/>, <see cref="SpotVCpus"/>, <see cref="OnDemandVCpus"/>,
/// <see cref="Subnets"/> and <see cref="SetSpotPrice"/>.
/// </summary>
internal sealed class Market(TimeProvider time)
{
    private readonly DateTimeOffset _opened = time.GetUtcNow().AddDays(-1);
    private readonly ConcurrentDictionary<(string Type, string Zone), SpotPrice[]> _prices = new();

    /// <summary>
    /// Error code by what it is for: <c>type</c>, <c>zone</c>, <c>type/zone</c>, <c>subnet-…</c>, <c>spot</c> or <c>on-demand</c>,
    /// each of them with <c>/spot</c> or <c>/on-demand</c> behind it too, or <c>*</c>. The first that fits counts, in that order.
    /// </summary>
    public ConcurrentDictionary<string, string> Refusals { get; } = new();

    /// <summary>Instances that a pool still has, by <c>type/zone</c>; more than it has are InsufficientInstanceCapacity.</summary>
    public ConcurrentDictionary<string, int> Capacity { get; } = new();

    /// <summary>vCPUs of spot instances that the account may have at a time; null for no end.</summary>
    public int? SpotVCpus { get; set; }

    public int? OnDemandVCpus { get; set; }

    public ConcurrentDictionary<string, Subnet> Subnets { get; } = new();

    /// <summary>Dollars an hour now. By default a third of the type's price on demand, and not the same in every zone.</summary>
    public decimal SpotPriceOf(string type, string zone) => HistoryOf(type, zone)[^1].Price;

    public void SetSpotPrice(string type, string zone, decimal price) =>
        _prices[(type, zone)] = [.. HistoryOf(type, zone), new SpotPrice(type, zone, price, time.GetUtcNow())];

    /// <summary>Oldest first.</summary>
    public IReadOnlyList<SpotPrice> HistoryOf(string type, string zone) => _prices.GetOrAdd((type, zone), key =>
        [new SpotPrice(key.Type, key.Zone, decimal.Round(InstanceType.Of(key.Type).OnDemand * key.Zone[^1] switch { 'a' => 0.34m, 'b' => 0.32m, _ => 0.37m }, 4), _opened)]);

    /// <summary>Takes what one instance needs; <see cref="Return"/> gives an address back.</summary>
    /// <param name="living">Of the account, not terminated.</param>
    /// <exception cref="AwsFault">It is not there.</exception>
    public void Take(string type, string zone, string? subnet, bool spot, decimal? maxPrice, IEnumerable<Instance> living)
    {
        if (RefusalOf(type, zone, subnet, spot) is { } code)
            throw FaultOf(code, type, zone);
        if (spot && maxPrice < SpotPriceOf(type, zone))
            throw new AwsFault("SpotMaxPriceTooLow", $"Your Spot request price of {maxPrice} is lower than the minimum required Spot request fulfillment price of {SpotPriceOf(type, zone)}.");
        if ((spot ? SpotVCpus : OnDemandVCpus) is { } quota && living.Where(i => i.Spot == spot).Sum(i => InstanceType.Of(i.Type).VCpus) + InstanceType.Of(type).VCpus > quota)
        {
            throw spot
                ? new AwsFault("MaxSpotInstanceCountExceeded", "Max spot instance count exceeded")
                : new AwsFault("VcpuLimitExceeded", $"You have requested more vCPU capacity than your current vCPU limit of {quota} allows for the instance bucket that the specified instance type belongs to.");
        }

        var pool = $"{type}/{zone}";
        if (Capacity.TryGetValue(pool, out var left) && left < 1)
            throw FaultOf("InsufficientInstanceCapacity", type, zone);
        if (subnet is not null && Subnets.TryGetValue(subnet, out var found))
        {
            if (found.FreeAddresses < 1)
                throw new AwsFault("InsufficientFreeAddressesInSubnet", $"There are not enough free addresses in subnet '{subnet}' to satisfy the requested number of instances.");
            found.FreeAddresses--;
        }

        if (Capacity.ContainsKey(pool))
            Capacity.AddOrUpdate(pool, 0, (_, before) => before - 1);
    }

    /// <summary>An instance has ended.</summary>
    public void Return(Instance instance)
    {
        if (instance.Subnet is { } subnet && Subnets.TryGetValue(subnet, out var found))
            found.FreeAddresses++;
    }

    /// <exception cref="AwsFault">No such subnet, or it is in another zone than the one that is asked for.</exception>
    public string? ZoneOf(string? subnet)
    {
        if (subnet is null || Subnets.IsEmpty)
            return null;
        return Subnets.TryGetValue(subnet, out var found) ? found.Zone : throw new AwsFault("InvalidSubnetID.NotFound", $"The subnet ID '{subnet}' does not exist");
    }

    private string? RefusalOf(string type, string zone, string? subnet, bool spot)
    {
        var market = spot ? "spot" : "on-demand";
        foreach (var key in (string?[])[$"{type}/{zone}", type, zone, subnet, market, "*"])
        {
            if (key is not null && (Refusals.TryGetValue($"{key}/{market}", out var code) || Refusals.TryGetValue(key, out code)))
                return code;
        }

        return null;
    }

    /// <summary>Lack of capacity and throttling are the service's faults, all else is the client's.
    /// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html</summary>
    private static AwsFault FaultOf(string code, string type, string zone) => code switch
    {
        "RequestLimitExceeded" => new AwsFault(code, "Request limit exceeded.", 503),
        "InsufficientInstanceCapacity" => new AwsFault(code, $"We currently do not have sufficient {type} capacity in the Availability Zone you requested ({zone}).", 500),
        "InsufficientHostCapacity" or "InsufficientCapacity" or "InternalError" or "Unavailable" => new AwsFault(code, $"The lab was told to refuse {type} in {zone}.", 500),
        "Unsupported" => new AwsFault(code, $"Your requested instance type ({type}) is not supported in your requested Availability Zone ({zone})."),
        _ => new AwsFault(code, $"The lab was told to refuse {type} in {zone}."),
    };
}
