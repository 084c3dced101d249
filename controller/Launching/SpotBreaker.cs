namespace Mayfly.Controller.Launching;

/// <summary>
/// Keeps off spot where it does not hold: once a family's spot instances in a region were refused or interrupted often
/// within a window, jobs that may run on demand do so for a while, without asking for spot first. Each controller counts for itself,
/// and anew from its start: what is lost is some requests that EC2 refuses.
/// </summary>
internal sealed class SpotBreaker(Settings settings, TimeProvider time)
{
    private readonly Lock _lock = new();
    private readonly Dictionary<(string Family, string Region), Circuit> _circuits = [];

    /// <summary>The family of a type or of a pattern: <c>m7i</c> of <c>m7i.large</c> and <c>m7i.*</c>.</summary>
    public static string FamilyOf(string type) => type.Split('.')[0];

    /// <summary>Whether spot is not to be asked for: none of the families has a chance.</summary>
    /// <param name="families">Those that the instance may be of.</param>
    public bool IsOpen(IReadOnlyCollection<string> families, string region)
    {
        lock (_lock)
            return families.Count > 0 && families.All(family => _circuits.TryGetValue((family, region), out var circuit) && circuit.OpenUntil > time.GetUtcNow());
    }

    /// <summary>A spot instance of the family was not to be had, or was taken back.</summary>
    /// <returns>Whether spot is kept off from now on because of it.</returns>
    public bool Failed(string family, string region)
    {
        lock (_lock)
        {
            var now = time.GetUtcNow();
            if (!_circuits.TryGetValue((family, region), out var circuit))
                _circuits[(family, region)] = circuit = new Circuit();
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
