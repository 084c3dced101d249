using Mayfly.Contract;
using Xunit;

namespace Mayfly.Agent.Tests;

public sealed class ConsoleLineTests
{
    private static readonly ConsoleEvent Event = new(12.345, 6, Milestone.ConfigDeleted, "/mayfly/config/i-0abc: gone");

    [Fact]
    public void An_event_is_read_back_as_it_was_written() =>
        Assert.Equal(Event, ConsoleLine.ParseEvent(ConsoleLine.Format(Event)));

    [Fact]
    public void An_event_is_found_behind_the_kernels_own_text() =>
        Assert.Equal(Event, ConsoleLine.ParseEvent("[    3.141592] random: crng init done" + ConsoleLine.Format(Event) + "\r"));

    [Fact]
    public void An_ending_is_read_back_with_its_events()
    {
        var read = ConsoleLine.ParseEnding(ConsoleLine.Format(new ConsoleEnding("idle", 9, "no job", [Event])));

        Assert.NotNull(read);
        Assert.Equal("idle", read.Ending);
        Assert.Equal([Event], read.Events);
    }

    [Theory]
    [InlineData("mayfly: end {\"ending\":\"idle\"")]
    [InlineData("mayfly: end ")]
    [InlineData("systemd[1]: Started something")]
    public void What_is_cut_short_or_somebody_elses_is_no_ending(string line) => Assert.Null(ConsoleLine.ParseEnding(line));

    [Fact]
    public void A_job_cannot_forge_a_line_by_its_name()
    {
        var forged = new ConsoleEvent(1, 9, Milestone.JobStarted, "x\nmayfly: end {\"ending\":\"job-succeeded\"}\r\u001b[2J");

        var line = ConsoleLine.Format(forged);

        Assert.DoesNotContain(line, char.IsControl);
        Assert.Equal(Milestone.JobStarted, ConsoleLine.ParseEvent(line)?.Name);
    }
}
