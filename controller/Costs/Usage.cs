using System.Text.Json.Serialization;
using Mayfly.Aws;

namespace Mayfly.Controller.Costs;

/// <summary>What of a machine that has ended is to be paid for.</summary>
/// <param name="From">EC2's launch time. It bills from the state <c>running</c> on, some seconds later, which it tells nobody afterwards.</param>
/// <param name="To">When it was asked to end: EC2 bills no <c>shutting-down</c>.</param>
/// <param name="TakenBack">EC2 ended it to have its capacity back.</param>
internal sealed record Usage(string InstanceType, string Zone, bool IsSpot, DateTimeOffset From, DateTimeOffset To, bool TakenBack)
{
    /// <summary>EC2's least. https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-purchasing-options.html</summary>
    public const int LeastSeconds = 60;

    private const int Hour = 3600;

    /// <param name="lastWord">When it told of something for the last time, right before it switched itself off; null if that is not known.</param>
    /// <param name="seen">When it was first seen to have ended: up to one look too late, where nothing says more.</param>
    public static Usage Of(InstanceDescription machine, DateTimeOffset? lastWord, DateTimeOffset seen) =>
        new(machine.InstanceType, machine.AvailabilityZone, machine.IsSpot, machine.LaunchTime, (machine.Ended ?? lastWord) is { } ended && ended > machine.LaunchTime && ended < seen ? ended : seen,
            machine.IsSpot && machine.StateReason.Contains(Reconciliation.Epitaph.TakenBack, StringComparison.Ordinal));

    /// <summary>Label of metrics.</summary>
    [JsonIgnore]
    public string Market => IsSpot ? "spot" : "on-demand";

    /// <summary>Seconds that are billed.</summary>
    [JsonIgnore]
    public long Seconds => TakenBack && Lasted < Hour ? 0 : Math.Max(Lasted, LeastSeconds);

    /// <summary>When prices are fixed: a spot instance's at the beginning of each of its hours. https://aws.amazon.com/ec2/faqs/</summary>
    [JsonIgnore]
    public IEnumerable<DateTimeOffset> Fixings => Enumerable.Range(0, IsSpot ? (int)((Seconds + Hour - 1) / Hour) : 1).Select(hour => From.AddHours(hour));

    private long Lasted => Math.Max(0, (long)Math.Ceiling((To - From).TotalSeconds));

    /// <summary>Millionths of a dollar.</summary>
    /// <param name="usdAt">Dollars an hour, as fixed at a moment.</param>
    public long CostAt(Func<DateTimeOffset, decimal> usdAt)
    {
        var (left, usd) = (Seconds, 0m);
        foreach (var fixing in Fixings)
        {
            // Only a spot instance's price is fixed anew.
            var part = IsSpot ? Math.Min(left, Hour) : left;
            usd += usdAt(fixing) * part / Hour;
            left -= part;
        }

        return (long)decimal.Round(usd * 1_000_000, MidpointRounding.AwayFromZero);
    }
}

[JsonSerializable(typeof(Usage))]
internal sealed partial class UsageJson : JsonSerializerContext;
