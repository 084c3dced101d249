using System.Threading.Channels;

namespace Mayfly.Agent;

/// <summary>
/// Looks at what nobody tells of by itself, in one round every few seconds: each wake-up costs the job's machine time.
/// </summary>
internal sealed class Lookout(WorkerWatch worker, SpotWatch spot, Gauge gauge, TimeProvider time)
{
    /// <summary>AWS advises to ask for spot notices every five seconds.</summary>
    private static readonly TimeSpan Round = TimeSpan.FromSeconds(5);

    /// <summary>While a worker is awaited, which takes a second or two.</summary>
    private static readonly TimeSpan ShortRound = TimeSpan.FromMilliseconds(500);

    /// <summary>The kernel's own averages are over a minute.</summary>
    private static readonly TimeSpan GaugeRound = TimeSpan.FromSeconds(30);

    private volatile Phase _phase = new Phase.Starting();
    private TaskCompletionSource _entered = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>A phase begins: the next look is taken at once.</summary>
    public void Enter(Phase phase)
    {
        _phase = phase;
        Interlocked.Exchange(ref _entered, new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)).TrySetResult();
    }

    /// <summary>Goes round until cancelled.</summary>
    public async Task KeepAsync(ChannelWriter<Happening> happenings, CancellationToken cancel)
    {
        var asked = default(long?);
        var gauged = default(long?);
        while (!cancel.IsCancellationRequested)
        {
            var entered = _entered.Task;
            var phase = _phase;
            if (worker.Look(phase) is { } happening)
                await happenings.WriteAsync(happening, cancel);
            // A phase that has just begun is no reason to ask sooner.
            if (asked is not { } last || time.GetElapsedTime(last) >= Round - ShortRound || spot.DueIn == TimeSpan.Zero)
            {
                asked = time.GetTimestamp();
                if (await spot.LookAsync(cancel) is { } notice)
                    await happenings.WriteAsync(notice, cancel);
            }

            if (gauged is not { } then || time.GetElapsedTime(then) >= GaugeRound - ShortRound)
            {
                gauged = time.GetTimestamp();
                gauge.Look();
            }

            var pause = phase is Phase.Accepted or Phase.WorkerStarted ? ShortRound : Round;
            if (spot.DueIn is { } due && due < pause)
                pause = due;
            using var slept = CancellationTokenSource.CreateLinkedTokenSource(cancel);
            await Task.WhenAny(Task.Delay(pause, time, slept.Token), entered);
            await slept.CancelAsync();
        }
    }
}
