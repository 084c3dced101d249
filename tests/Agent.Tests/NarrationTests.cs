using System.Globalization;
using System.IO.Pipes;
using Mayfly.Contract;
using Xunit;

namespace Mayfly.Agent.Tests;

public sealed class NarrationTests : IDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);

    /// <summary>A pipe holds 64 KiB, and then takes nothing until somebody reads.</summary>
    private readonly AnonymousPipeServerStream _console = new(PipeDirection.Out);
    private readonly Narration _narration;

    public NarrationTests() => _narration = new Narration(_console, () => 1, []);

    [Fact]
    public async Task What_is_told_is_written_in_its_order_and_at_the_end_again()
    {
        _narration.Reached(Step.CloseDoor, Milestone.DoorClosed);
        _narration.Note(Step.Watch, "one");
        _narration.End(Ending.RunnerTooOld);

        var lines = await ReadToEndingAsync();

        Assert.True(_narration.Drain(Patience)); // nobody writes any more to what is disposed of
        Assert.Equal([Milestone.DoorClosed, "note", Milestone.Ending], lines.SkipLast(1).Select(line => ConsoleLine.ParseEvent(line)!.Name));
        Assert.Equal(3, ConsoleLine.ParseEnding(lines[^1])!.Events.Count);
    }

    [Fact]
    public async Task A_console_that_takes_nothing_keeps_nobody_waiting_and_what_it_lost_is_counted()
    {
        const int told = ConsoleWriter.MostWaiting + 2000;
        var telling = Task.Run(() =>
        {
            for (var i = 0; i < told; i++)
                _narration.Note(Step.Watch, $"{i} {new string('x', 100)}");
        }, TestContext.Current.CancellationToken);
        await telling.WaitAsync(Patience, TestContext.Current.CancellationToken);
        Assert.False(_narration.Drain(TimeSpan.FromMilliseconds(10)));
        Assert.InRange(_narration.WaitingBytes, 100, ConsoleWriter.MostWaiting * 200); // which the end has to wait for

        _narration.End(Ending.RunnerTooOld);
        var lines = await ReadToEndingAsync();

        Assert.True(_narration.Drain(Patience));
        Assert.Equal(0, _narration.WaitingBytes);
        var notes = lines.Select(ConsoleLine.ParseEvent).OfType<ConsoleEvent>().Where(e => e.Name == "note").Select(e => e.Detail).ToList();
        var lost = notes.Where(note => note.StartsWith("lines lost: ", StringComparison.Ordinal)).ToList();
        Assert.NotEmpty(lost);
        Assert.Equal(told, notes.Count - lost.Count + lost.Sum(note => int.Parse(note.Split(' ')[2].TrimEnd(','), CultureInfo.InvariantCulture)));
        Assert.Equal(told + 1, ConsoleLine.ParseEnding(lines[^1])!.Events.Count);
    }

    [Fact]
    public void A_console_that_has_gone_stops_nothing()
    {
        _console.DisposeLocalCopyOfClientHandle();

        _narration.End(Ending.RunnerTooOld);

        Assert.True(_narration.Drain(Patience));
    }

    [Theory]
    [InlineData(0, 2)]
    [InlineData(69_120, 8)] // 115,200 baud are 11,520 bytes a second
    [InlineData(10_000_000, 12)]
    public void The_end_waits_for_as_long_as_the_serial_line_needs_within_a_limit(long bytes, int seconds) =>
        Assert.Equal(TimeSpan.FromSeconds(seconds), Program.ConsoleLimitFor(bytes));

    public void Dispose() => _console.Dispose();

    private async Task<List<string>> ReadToEndingAsync()
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        limit.CancelAfter(Patience);
        using var reader = new StreamReader(new AnonymousPipeClientStream(PipeDirection.In, _console.ClientSafePipeHandle));
        var lines = new List<string>();
        while (lines.Count == 0 || ConsoleLine.ParseEnding(lines[^1]) is null)
            lines.Add(await reader.ReadLineAsync(limit.Token) ?? throw new EndOfStreamException("no ending came"));
        return lines;
    }
}
