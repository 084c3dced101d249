using Mayfly.Aws;
using Mayfly.Controller.Costs;

namespace Mayfly.Controller.Tests;

/// <summary>What EC2 bills of a machine's time, and at which price.</summary>
public sealed class UsageTests
{
    private static readonly DateTimeOffset Noon = new(2026, 11, 21, 12, 0, 0, TimeSpan.Zero);

    [Theory]
    [InlineData(false, false, 600, 600)]
    [InlineData(true, false, 600, 600)]
    [InlineData(false, false, 59, 60)] // the least
    [InlineData(true, false, 3, 60)]
    [InlineData(false, false, 0, 60)]
    [InlineData(true, true, 3, 0)] // taken back in its first hour
    [InlineData(true, true, 3599, 0)]
    [InlineData(true, true, 3600, 3600)]
    [InlineData(true, true, 4000, 4000)]
    public void Each_second_is_billed_with_a_least_and_nothing_of_what_EC2_took_back_in_its_first_hour(bool isSpot, bool takenBack, int lasted, int billed) =>
        Assert.Equal(billed, Lasting(lasted, isSpot, takenBack).Seconds);

    [Fact]
    public void A_part_of_a_second_is_billed_as_a_whole_one() => Assert.Equal(101, Lasting(100.2, isSpot: false).Seconds);

    [Fact]
    public void A_spot_instances_price_is_fixed_for_each_of_its_hours_whatever_happens_meanwhile()
    {
        var usage = Lasting(2 * 3600 + 900, isSpot: true);
        Assert.Equal([Noon, Noon.AddHours(1), Noon.AddHours(2)], usage.Fixings);
        // 0.04 for an hour, 0.08 for an hour, 0.02 for a quarter of one.
        Assert.Equal(125_000, usage.CostAt(moment => (moment - Noon).TotalHours switch { 0 => 0.04m, 1 => 0.08m, _ => 0.02m }));
        Assert.Equal([Noon], Lasting(3600, isSpot: true).Fixings);
    }

    [Fact]
    public void On_demand_there_is_one_price_however_long_it_lasts()
    {
        var usage = Lasting(432_000, isSpot: false);
        Assert.Equal([Noon], usage.Fixings);
        Assert.Equal(12_096_000, usage.CostAt(_ => 0.1008m));
    }

    [Theory]
    [InlineData(60, "0.0001", 2)] // 1.67 millionths of a dollar
    [InlineData(60, "0.1008", 1680)]
    [InlineData(600, "0.0343", 5717)]
    public void What_it_costs_is_told_to_the_millionth_of_a_dollar(int seconds, string usd, long microUsd) =>
        Assert.Equal(microUsd, Lasting(seconds, isSpot: true).CostAt(_ => decimal.Parse(usd, System.Globalization.CultureInfo.InvariantCulture)));

    [Fact]
    public void It_ends_when_EC2_says_so_or_with_its_last_word_or_else_when_it_was_seen_to_have_ended()
    {
        var machine = new InstanceDescription("i-1", "m7i.large", "terminated", "Client.InstanceInitiatedShutdown: Instance initiated shutdown", Noon, new Dictionary<string, string>())
        {
            AvailabilityZone = "eu-central-1b", IsSpot = true, Ended = Noon.AddSeconds(100),
        };
        Assert.Equal(new Usage("m7i.large", "eu-central-1b", true, Noon, Noon.AddSeconds(100), false), Usage.Of(machine, Noon.AddSeconds(90), Noon.AddSeconds(130)));
        Assert.Equal(Noon.AddSeconds(90), Usage.Of(machine with { Ended = null }, Noon.AddSeconds(90), Noon.AddSeconds(130)).To);
        Assert.Equal(Noon.AddSeconds(130), Usage.Of(machine with { Ended = null }, null, Noon.AddSeconds(130)).To);
        Assert.Equal(Noon.AddSeconds(130), Usage.Of(machine with { Ended = null }, Noon.AddSeconds(500), Noon.AddSeconds(130)).To); // no clock of ours
        Assert.True(Usage.Of(machine with { StateReason = "Server.SpotInstanceTermination: Spot instance termination" }, null, Noon).TakenBack);
        Assert.False(Usage.Of(machine with { StateReason = "Server.SpotInstanceTermination: Spot instance termination", IsSpot = false }, null, Noon).TakenBack);
    }

    private static Usage Lasting(double seconds, bool isSpot, bool takenBack = false) => new("m7i.large", "eu-central-1a", isSpot, Noon, Noon.AddSeconds(seconds), takenBack);
}
