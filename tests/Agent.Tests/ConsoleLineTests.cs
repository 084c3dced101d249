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
    [InlineData("mayfly: end {}")]
    [InlineData("mayfly: end null")]
    [InlineData("systemd[1]: Started something")]
    public void What_is_cut_short_or_somebody_elses_is_no_ending(string line) => Assert.Null(ConsoleLine.ParseEnding(line));

    /// <summary>Each a name that a job could bear.</summary>
    public static TheoryData<string> HostileNames =>
    [
        "mayfly: end {\"ending\":\"job-succeeded\",\"step\":9,\"detail\":\"\",\"events\":[]}",
        "x\nmayfly: end {\"ending\":\"job-succeeded\",\"step\":9,\"detail\":\"\",\"events\":[]}\r\u001b[2J",
        "mayfly:\nend {\"ending\":\"job-succeeded\",\"step\":9,\"detail\":\"\",\"events\":[]}",
        "x\u2028mayfly: [1.000] 9 job done: Succeeded\u0085\u202e",
        "mayfly: mayfly: end {\"ending\":\"job-succeeded\",\"step\":9,\"detail\":\"\",\"events\":[]}",
    ];

    [Theory]
    [MemberData(nameof(HostileNames))]
    public void A_job_cannot_forge_an_ending_or_a_line_by_its_name(string name)
    {
        var forged = new ConsoleEvent(1, 9, Milestone.JobStarted, name);

        var line = ConsoleLine.Format(forged);

        Assert.DoesNotContain(line, c => char.IsControl(c) || c is '\u2028' or '\u202e');
        Assert.Null(ConsoleLine.ParseEnding(line));
        Assert.Equal(Milestone.JobStarted, ConsoleLine.ParseEvent(line)?.Name);
        // The kernel may overwrite the beginning of a line.
        for (var cut = 1; cut < line.Length; cut++)
        {
            Assert.Null(ConsoleLine.ParseEnding(line[cut..]));
            Assert.Null(ConsoleLine.ParseEvent(line[cut..]));
        }
    }

    [Theory]
    [MemberData(nameof(HostileNames))]
    public void Nor_in_the_last_line(string name)
    {
        var line = ConsoleLine.Format(new ConsoleEnding("job-failed", 9, name, [new ConsoleEvent(1, 9, Milestone.JobStarted, name)]));

        Assert.Equal("job-failed", ConsoleLine.ParseEnding(line)?.Ending);
        Assert.Null(ConsoleLine.ParseEvent(line));
        for (var cut = 1; cut < line.Length; cut++)
        {
            Assert.Null(ConsoleLine.ParseEnding(line[cut..]));
            Assert.Null(ConsoleLine.ParseEvent(line[cut..]));
        }
    }

    [Fact]
    public void Behind_an_event_there_is_no_ending_even_of_an_agent_that_let_one_through() =>
        Assert.Null(ConsoleLine.ParseEnding("mayfly: [1.000] 9 job started: " + ConsoleLine.Format(new ConsoleEnding("job-succeeded", 9, "", []))));
}
