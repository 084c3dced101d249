using Xunit;

namespace Mayfly.Agent.Tests;

public sealed class WeatherTests
{
    private static readonly Surroundings Fair = new(
        Boot: 100, WallOffset: 1_000, MemoryUsed: 1L << 30, MemoryTotal: 4L << 30, MemoryStalled: 0, OomKills: 0, SwapUsed: 0, SwapTotal: 2L << 30,
        DiskFree: 30L << 30, DiskTotal: 40L << 30, HasCarrier: true, SegmentsIn: 5_000, SegmentsResent: 3);

    [Fact]
    public void Fair_weather_is_not_talked_about() => Assert.Empty(After(Fair, Later(30)));

    [Fact]
    public void Memory_pressure_is_told_of_with_its_share() => Assert.Contains("34 %", Assert.Single(After(Fair, Later(30) with { MemoryStalled = 34 })), StringComparison.Ordinal);

    [Fact]
    public void Killed_processes_are_counted() => Assert.Contains("killed 2", Assert.Single(After(Fair, Later(30) with { OomKills = 2 })), StringComparison.Ordinal);

    [Fact]
    public void A_full_disk_is_told_of_with_what_is_left() =>
        Assert.Contains("0.5 GiB of 40.0 GiB", Assert.Single(After(Fair, Later(30) with { DiskFree = 1L << 29 })), StringComparison.Ordinal);

    [Theory]
    [InlineData(3600)]
    [InlineData(-3600)]
    public void A_clock_that_jumps_is_told_of_with_its_step(int seconds) =>
        Assert.Contains($"{seconds} s", Assert.Single(After(Fair, Later(30) with { WallOffset = Fair.WallOffset + seconds })), StringComparison.Ordinal);

    [Fact]
    public void A_network_that_answers_nothing_is_lost_and_comes_back()
    {
        var notes = After(Fair, Later(30) with { SegmentsResent = 20 }, Later(60) with { SegmentsResent = 40, SegmentsIn = 5_040 }, Later(90) with { SegmentsResent = 40, SegmentsIn = 5_400 });

        Assert.Equal(2, notes.Count);
        Assert.Contains("lost", notes[0], StringComparison.Ordinal);
        Assert.Contains("back after about 90 s", notes[1], StringComparison.Ordinal);
    }

    [Fact]
    public void A_link_that_goes_is_a_lost_network() => Assert.Contains("no link", Assert.Single(After(Fair, Later(30) with { HasCarrier = false })), StringComparison.Ordinal);

    [Fact]
    public void The_same_is_told_again_after_five_minutes_and_not_before() =>
        Assert.Equal(2, After(Fair, Later(30) with { MemoryStalled = 50 }, Later(60) with { MemoryStalled = 50 }, Later(340) with { MemoryStalled = 50 }).Count);

    [Fact]
    public void What_the_kernel_does_not_tell_says_nothing()
    {
        var blind = Fair with { MemoryStalled = null, OomKills = null, HasCarrier = null, SegmentsIn = null, SegmentsResent = null };

        Assert.Empty(After(blind, blind with { Boot = 130 }));
    }

    [Fact]
    public void This_machine_can_be_read()
    {
        var now = Surroundings.Read("", "/", "/nowhere", 100, TimeProvider.System.GetUtcNow());

        Assert.InRange(now.MemoryUsed, 1 << 20, now.MemoryTotal);
        Assert.InRange(now.DiskFree, 1, now.DiskTotal);
        Assert.NotNull(now.SegmentsIn);
    }

    [Fact]
    public void Memory_pressure_is_what_the_kernel_says_of_all_processes_over_a_minute()
    {
        var root = Directory.CreateTempSubdirectory("mayfly-pressure-").FullName;
        Directory.CreateDirectory(root + "/proc/pressure");
        File.WriteAllText(root + "/proc/pressure/memory",
            "some avg10=91.00 avg60=92.00 avg300=93.00 total=94000000\nfull avg10=11.00 avg60=12.50 avg300=13.00 total=14000000\n");

        var now = Surroundings.Read(root, "/", "/nowhere", 100, TimeProvider.System.GetUtcNow());
        Directory.Delete(root, recursive: true);

        Assert.Equal(12.5, now.MemoryStalled);
    }

    [Fact]
    public void The_highest_of_each_figure_stays()
    {
        var most = new HighWater();
        most.Take(Fair);
        most.Take(Fair with { DiskFree = 10L << 30, SwapUsed = 1L << 30 });
        most.Take(Fair with { MemoryUsed = 3L << 30 });
        most.Take(Fair);

        Assert.Equal("disk 30.0 of 40.0 GiB, memory 3.0 of 4.0 GiB, swap 1.0 of 2.0 GiB", most.Format());
    }

    private static Surroundings Later(double seconds) => Fair with { Boot = Fair.Boot + seconds };

    private static List<string> After(params Surroundings[] moments)
    {
        var weather = new Weather();
        return [.. moments.SelectMany(weather.On)];
    }
}
