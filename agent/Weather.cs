using System.Globalization;

namespace Mayfly.Agent;

/// <summary>
/// Notes on the machine's surroundings, for whoever asks later why a job was slow or failed. They end nothing. Pure: one
/// moment after the other in, sentences out; each kind at most once in five minutes.
/// </summary>
internal sealed class Weather
{
    /// <summary>A machine that does nothing but swap still works on; a job that stood still for a tenth of a minute wants to
    /// know.</summary>
    private const double StalledPercent = 10;

    /// <summary>Of scratch; below it most programs fail soon.</summary>
    private const double LeastFree = 0.02;

    /// <summary>Clocks are slewed by less than this; a step is more.</summary>
    private const double ClockStepSeconds = 2;

    private const double SilenceSeconds = 300;

    /// <summary>Between two looks: more segments than this were sent again, and no more than that came in. The second leaves
    /// room for the metadata service's answers, which come whatever the network does.</summary>
    private const long LostResent = 2;

    private const long LostIn = 60;

    private readonly Dictionary<string, double> _told = [];
    private Surroundings? _before;
    private double? _lostAt;

    public IEnumerable<string> On(Surroundings now)
    {
        var before = _before ?? now;
        _before = now;
        var notes = new List<string>();
        if (now.MemoryStalled >= StalledPercent)
            Add("stalled", $"memory pressure: in the last minute everything stood still for {now.MemoryStalled:F0} % of the time, waiting for memory");
        if (now.OomKills > before.OomKills)
            Add("killed", $"out of memory: the kernel killed {now.OomKills - before.OomKills} process(es)");
        if (now.DiskTotal > 0 && now.DiskFree < LeastFree * now.DiskTotal)
            Add("full", $"scratch is full: {HighWater.Size(now.DiskFree)} of {HighWater.Size(now.DiskTotal)} left");
        if (Math.Abs(now.WallOffset - before.WallOffset) is var step and > ClockStepSeconds)
            Add("clock", $"the wall clock jumped by {step * Math.Sign(now.WallOffset - before.WallOffset):F0} s");
        Network(before, now);
        return notes;

        void Add(string kind, FormattableString note)
        {
            if (_told.TryGetValue(kind, out var last) && now.Boot - last < SilenceSeconds)
                return;
            _told[kind] = now.Boot;
            notes.Add(note.ToString(CultureInfo.InvariantCulture));
        }

        // No link, or what was sent is sent again and next to nothing comes in. Silence alone is no loss: a job may be quiet.
        void Network(Surroundings then, Surroundings at)
        {
            var lost = at.HasCarrier == false || (at.SegmentsResent - then.SegmentsResent > LostResent && at.SegmentsIn - then.SegmentsIn <= LostIn);
            if (lost && _lostAt is null)
            {
                _lostAt = then.Boot;
                Add("lost", $"the network is lost: {(at.HasCarrier == false ? "no link" : "next to nothing that is sent by TCP is answered")}; the runner tries on by itself");
            }
            else if (!lost && _lostAt is { } since && at.SegmentsResent == then.SegmentsResent)
            {
                _lostAt = null;
                Add("back", $"the network is back after about {at.Boot - since:F0} s");
            }
        }
    }
}
