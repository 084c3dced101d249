namespace Mayfly.Agent;

/// <summary>Reads the machine's surroundings now and then, and says what is worth it.</summary>
/// <param name="scratch">Any folder on scratch.</param>
/// <param name="cgroup">The job's.</param>
/// <param name="file">Where the figures are left for the job's own log; null for nowhere.</param>
/// <param name="note">Tells something worth knowing.</param>
internal sealed class Gauge(string scratch, string cgroup, string? file, Action<string> note, TimeProvider time)
{
    private readonly Weather _weather = new();

    public HighWater HighWater { get; } = new();

    public void Look()
    {
        var now = Surroundings.Read("", scratch, cgroup, Kernel.SecondsSinceStart(), time.GetUtcNow());
        HighWater.Take(now);
        foreach (var sentence in _weather.On(now))
            note(sentence);
        if (file is not null)
            HighWater.Write(file);
    }
}
