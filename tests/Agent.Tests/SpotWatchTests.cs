using System.Globalization;
using Xunit;

namespace Mayfly.Agent.Tests;

public sealed class SpotWatchTests
{
    [Theory]
    [InlineData("2026-11-21T12:02:00Z", 75)] // the two minutes that EC2 gives
    [InlineData("2026-11-21T12:00:50Z", 5)]
    [InlineData("2026-11-21T12:00:30Z", 0)] // seen too late
    [InlineData("2026-11-21T11:00:00Z", 0)]
    [InlineData("2026-11-21T15:00:00Z", 75)] // a wall clock that is hours late
    public void A_job_keeps_what_is_left_of_the_notice_but_its_own_end(string interruption, int seconds) =>
        Assert.Equal(TimeSpan.FromSeconds(seconds), SpotWatch.WaitFor(At(interruption), At("2026-11-21T12:00:00Z")));

    private static DateTimeOffset At(string time) => DateTimeOffset.Parse(time, CultureInfo.InvariantCulture);
}
