namespace Mayfly.Controller.Launching;

/// <summary>
/// Keeps off spot where it does not hold: once the spot instances of a kind (<see cref="Pools.KindsOf"/>) in a region were refused or
/// interrupted often within a window, jobs that may run on demand do so for a while, without asking for spot first. Each controller counts
/// for itself, interruptions only while it leads, and anew from its start: what is lost is some requests that EC2 refuses.
/// </summary>
internal sealed class SpotBreaker(Settings settings, TimeProvider time)
{
    private readonly Lock _lock = new();
    private readonly Dictionary<(string Kind, string Region), Circuit> _circuits = [];

    /// <summary>The family of a type or of a pattern: <c>m7i</c> of <c>m7i.large</c> and <c>m7i.*</c>.</summary>
    public static string FamilyOf(string type) => type.Split('.')[0];

    /// <summary>Whether spot is not to be asked for: none of the kinds has a chance.</summary>
    /// <param name="kinds">Those that the instance may be of.</param>
    public bool IsOpen(IReadOnlyCollection<string> kinds, string region)
    {
        lock (_lock)
            return kinds.All(kind => _circuits.TryGetValue((kind, region), out var circuit) && circuit.OpenUntil > time.GetUtcNow());
    }

    /// <summary>A spot instance of the kind was not to be had, or was taken back.</summary>
    /// <returns>Whether spot is kept off from now on because of it.</returns>
    public bool Failed(string kind, string region)
    {
        lock (_lock)
        {
            var now = time.GetUtcNow();
            if (!_circuits.TryGetValue((kind, region), out var circuit))
                _circuits[(kind, region)] = circuit = new Circuit();
            if (circuit.OpenUntil > now)
                return false;
            while (circuit.Failures.TryPeek(out var oldest) && oldest <= now - settings.SpotWindow)
                circuit.Failures.Dequeue();
            circuit.Failures.Enqueue(now);
            if (circuit.Failures.Count < settings.SpotFailures)
                return false;
            circuit.Failures.Clear();
            circuit.OpenUntil = now + settings.SpotPause;
            return true;
        }
    }

    private sealed class Circuit
    {
        public Queue<DateTimeOffset> Failures { get; } = [];

        public DateTimeOffset OpenUntil { get; set; } = DateTimeOffset.MinValue;
    }
}
