using Mayfly.Contract;

namespace Mayfly.Agent;

/// <summary>
/// The one place that tells what happens: a line on the serial console for each event, and all of them again with the
/// reason at the end. A console that cannot be written to stops nothing.
/// </summary>
internal sealed class Narration(Stream console, Func<double> secondsSinceStart, IEnumerable<ConsoleEvent> before)
{
    private readonly Lock _lock = new();
    private readonly List<ConsoleEvent> _events = [.. before];

    public IReadOnlyList<ConsoleEvent> Events => _events;

    /// <summary>A milestone was reached.</summary>
    public void Reached(Step step, string milestone, string detail = "") => Tell(step.Number, milestone, detail);

    /// <summary>Something worth knowing, that nothing waits for.</summary>
    public void Note(Step step, string detail) => Tell(step.Number, "note", detail);

    public void Started(double kernelStart) => Add(new ConsoleEvent(kernelStart, 0, Milestone.KernelStarted, ""));

    public void End(Ending ending)
    {
        Reached(Step.End, Milestone.Ending, $"{ending.Name}: {ending.Detail}");
        lock (_lock)
            Write(ConsoleLine.Format(new ConsoleEnding(ending.Name, ending.Step.Number, ending.Detail, _events)));
    }

    private void Tell(int step, string name, string detail) => Add(new ConsoleEvent(Math.Round(secondsSinceStart(), 3), step, name, detail));

    private void Add(ConsoleEvent e)
    {
        lock (_lock)
        {
            _events.Add(e);
            Write(ConsoleLine.Format(e));
        }
    }

    private void Write(string line)
    {
        try
        {
            console.Write(System.Text.Encoding.UTF8.GetBytes(line + "\n"));
            console.Flush();
        }
        catch (IOException)
        {
            // The machine goes on and ends as it should, only unseen.
        }
    }
}
