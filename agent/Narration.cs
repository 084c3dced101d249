using Mayfly.Contract;

namespace Mayfly.Agent;

/// <summary>
/// The one place that tells what happens: a line on the serial console for each event, and all of them again with the
/// reason at the end. A console that cannot be written to, or takes nothing, stops nothing.
/// </summary>
internal sealed class Narration
{
    private readonly Lock _lock = new();
    private readonly List<ConsoleEvent> _events;
    private readonly Func<double> _secondsSinceStart;
    private readonly ConsoleWriter _writer;

    public Narration(Stream console, Func<double> secondsSinceStart, IEnumerable<ConsoleEvent> before)
    {
        (_secondsSinceStart, _events) = (secondsSinceStart, [.. before]);
        _writer = new ConsoleWriter(console, lost => ConsoleLine.Format(Event(Step.End.Number, "note", $"lines lost: {lost}, since the console took none")));
    }

    /// <summary>As many as there are now.</summary>
    public IReadOnlyList<ConsoleEvent> Events
    {
        get
        {
            lock (_lock)
                return [.. _events];
        }
    }

    /// <summary>A milestone was reached.</summary>
    public void Reached(Step step, string milestone, string detail = "") => Add(Event(step.Number, milestone, detail));

    /// <summary>Something worth knowing, that nothing waits for.</summary>
    public void Note(Step step, string detail) => Add(Event(step.Number, "note", detail));

    public void Started(double kernelStart) => Add(new ConsoleEvent(kernelStart, 0, Milestone.KernelStarted, ""));

    public void End(Ending ending)
    {
        Reached(Step.End, Milestone.Ending, $"{ending.Name}: {ending.Detail}");
        _writer.Add(ConsoleLine.Format(new ConsoleEnding(ending.Name, ending.Step.Number, ending.Detail, Events)));
    }

    /// <summary>What is not written yet.</summary>
    public long WaitingBytes => _writer.WaitingBytes;

    /// <summary>Waits until all is written, for so long at most.</summary>
    /// <returns>Whether it is.</returns>
    public bool Drain(TimeSpan limit) => _writer.Drain(limit);

    private ConsoleEvent Event(int step, string name, string detail) => new(Math.Round(_secondsSinceStart(), 3), step, name, detail);

    private void Add(ConsoleEvent e)
    {
        lock (_lock)
        {
            _events.Add(e);
            _writer.Add(ConsoleLine.Format(e));
        }
    }
}
