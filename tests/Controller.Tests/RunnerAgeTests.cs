using System.Globalization;
using Mayfly.Controller.Reconciliation;

namespace Mayfly.Controller.Tests;

/// <summary>An image whose runner GitHub is about to refuse.</summary>
public sealed class RunnerAgeTests
{
    private static readonly DateTimeOffset Succeeded = new(2026, 10, 1, 15, 0, 0, TimeSpan.Zero);

    private static readonly ReleaseSeen[] Releases =
    [
        new("v2.338.0", false, false, Succeeded.AddDays(40)), new("v2.337.0-rc", false, true, Succeeded.AddDays(-9)), new("v2.337.1", false, false, Succeeded.AddDays(3)),
        new("v2.337.0", false, false, Succeeded), new("v2.336.0", false, false, Succeeded.AddDays(-20)), new("v9.9.9", true, false, null),
    ];

    [Theory]
    [InlineData("2.338.0", 300, typeof(RunnerAge.Fresh))]
    [InlineData("2.336.0", 13.99, typeof(RunnerAge.Fresh))]
    [InlineData("2.336.0", 14, typeof(RunnerAge.Old))]
    [InlineData("2.336.0", 29.99, typeof(RunnerAge.Old))]
    [InlineData("2.336.0", 30, typeof(RunnerAge.TooOld))]
    [InlineData("2.9.0", 30, typeof(RunnerAge.TooOld))]
    [InlineData(null, 300, typeof(RunnerAge.Unknown))]
    [InlineData("newest", 300, typeof(RunnerAge.Unknown))]
    public void It_is_told_of_from_14_days_after_its_successor_and_refused_from_30(string? version, double days, Type expected) =>
        Assert.IsType(expected, RunnerAge.Of("ami-1", version, "2026-09-11", Releases, Succeeded.AddDays(days)));

    [Fact]
    public void The_reason_names_versions_days_and_the_way_out()
    {
        var reason = RunnerAge.Of("ami-1", "2.336.0", "2026-09-11", Releases, Succeeded.AddDays(31)).Reason;
        Assert.All((string[])["ami-1", "2.336.0 of 2026-09-11", "2.337.0 on 2026-10-01", "from 2026-10-31 on", "build and roll out a new image"], part => Assert.Contains(part, reason, StringComparison.Ordinal));
    }

    [Fact]
    public void A_newer_release_does_not_make_an_old_runner_young() =>
        Assert.Equal("2026-10-31", RunnerAge.Of("ami-1", "2.336.0", null, Releases, Succeeded.AddDays(41)).Reason.Split("from ")[1][..10].ToString(CultureInfo.InvariantCulture));
}
