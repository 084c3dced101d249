using System.Threading.Channels;

namespace Mayfly.Agent;

/// <summary>
/// Looks at what nobody tells of by itself, in one round every few seconds. Each wake-up costs the job's machine time, so the
/// round has a thread of its own, which sleeps in the kernel and asks by blocking calls: a pool's thread would wake others, and
/// the timers and the pool's own watch beside them.
/// </summary>
internal sealed class Lookout(WorkerWatch worker, SpotWatch spot, Gauge gauge, TimeProvider time)
{
    /// <summary>AWS advises to ask for spot notices every five seconds.</summary>
    private static readonly TimeSpan Round = TimeSpan.FromSeconds(5);

    /// <summary>While a job is fetched or a worker awaited, which take a second or two.</summary>
    private static readonly TimeSpan ShortRound = TimeSpan.FromMilliseconds(500);

    /// <summary>The kernel's own averages are over a minute.</summary>
    private static readonly TimeSpan GaugeRound = TimeSpan.FromSeconds(30);

    private readonly object _lock = new(); // a Lock has no Pulse
    private Phase _phase = new Phase.Starting();
    private bool _isDue;

    /// <summary>A phase begins: the next look is taken at once. In the first one, the runner's start, there is nothing to look for,
    /// and a look would take processor time from that.</summary>
    public void Enter(Phase phase)
    {
        lock (_lock)
        {
            if (phase == _phase)
                return;
            _phase = phase;
            Wake();
        }
    }

    /// <summary>Goes round until cancelled.</summary>
    public Task KeepAsync(ChannelWriter<Happening> happenings, CancellationToken cancel) =>
        Task.Factory.StartNew(() => Keep(happenings, cancel), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);

    private void Keep(ChannelWriter<Happening> happenings, CancellationToken cancel)
    {
        using var cancelled = cancel.Register(Wake);
        var asked = default(long?);
        var gauged = default(long?);
        for (var pause = Round; Await(pause) is var phase && !cancel.IsCancellationRequested;)
        {
            Tell(worker.Look(phase));
            if (gauged is not { } then || time.GetElapsedTime(then) >= GaugeRound - ShortRound)
            {
                gauged = time.GetTimestamp();
                gauge.Look();
            }

            // A phase that has just begun is no reason to ask sooner.
            if (asked is not { } last || time.GetElapsedTime(last) >= Round - ShortRound || spot.DueIn == TimeSpan.Zero)
            {
                asked = time.GetTimestamp();
                Tell(spot.LookAsync(cancel).GetAwaiter().GetResult());
            }

            pause = phase is Phase.Acquiring or Phase.Accepted or Phase.WorkerStarted ? ShortRound : Round;
            if (spot.DueIn is { } due && due < pause)
                pause = due;
        }

        void Tell(Happening? happening)
        {
            if (happening is not null)
                happenings.WriteAsync(happening, cancel).AsTask().GetAwaiter().GetResult();
        }
    }

    /// <summary>Sleeps for so long, or until the next phase begins.</summary>
    private Phase Await(TimeSpan pause)
    {
        lock (_lock)
        {
            if (!_isDue)
                Monitor.Wait(_lock, pause);
            _isDue = false;
            return _phase;
        }
    }

    private void Wake()
    {
        lock (_lock)
        {
            _isDue = true;
            Monitor.PulseAll(_lock);
        }
    }
}
