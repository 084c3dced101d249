namespace Mayfly.Lab;

/// <summary>
/// A clock that a test moves by hand, with timers: what waits on it by <c>Task.Delay(…, time, …)</c> or a cancellation
/// source goes on when the clock is moved past its moment, in the order of the moments. Made without a start it goes as the
/// system's clock does until <see cref="Stop"/>; made with one it stands still from there on.
/// </summary>
internal sealed class HandMovedTime : TimeProvider
{
    private const int MostSteps = 10;

    /// <summary>Looks, a millisecond or more apart.</summary>
    private const int MostStill = 10;

    /// <summary>What hangs for so long waits for this clock itself.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(1);

    private readonly Lock _lock = new();
    private readonly PriorityQueue<(HandTimer Timer, long Armed), (DateTimeOffset Due, long Number)> _due = new();
    private TimeSpan _moved;
    private (DateTimeOffset Now, long Timestamp)? _stopped;
    private long _number;

    public HandMovedTime()
    {
    }

    public HandMovedTime(DateTimeOffset start) => _stopped = (start, 0);

    /// <summary>Timers that were set so far. As long as it grows, something still happens.</summary>
    public long TimersSet
    {
        get
        {
            lock (_lock)
                return _number;
        }
    }

    public override DateTimeOffset GetUtcNow() => (_stopped?.Now ?? System.GetUtcNow()) + _moved;

    public override long GetTimestamp() => (_stopped?.Timestamp ?? System.GetTimestamp()) + (long)(_moved.TotalSeconds * TimestampFrequency);

    /// <summary>From here on it moves by hand only.</summary>
    public void Stop() => _stopped ??= (System.GetUtcNow(), System.GetTimestamp());

    /// <summary>Moves the clock on. Each timer on the way goes off at its own moment, on the calling thread.</summary>
    public void Move(TimeSpan by)
    {
        var target = GetUtcNow() + by;
        var before = _moved;
        if (_stopped is null)
            _moved += by; // its timers cannot have it at their own moments, since it goes on meanwhile
        while (NextUntil(target, before + by) is { } timer)
            timer.GoOff();
    }

    /// <summary>
    /// Moves the clock on step by step, each time once nothing goes on any more: no timer is set any more, and whoever calls
    /// knows of nothing under way. What is overlooked so, or hangs for longer than a second, happens some steps later by this
    /// clock, no worse.
    /// </summary>
    /// <param name="isDone">Asked before each step.</param>
    /// <param name="isBusy">True while something is under way that the clock cannot see, such as a request.</param>
    /// <param name="step">Longer steps take less real time and blur the moments by as much.</param>
    /// <param name="limit">By this clock.</param>
    /// <exception cref="TimeoutException">It was not done within the limit.</exception>
    public async Task RunAsync(Func<bool> isDone, Func<bool> isBusy, TimeSpan step, TimeSpan limit, CancellationToken cancel)
    {
        var end = GetUtcNow() + limit;
        while (!isDone())
        {
            if (GetUtcNow() >= end)
                throw new TimeoutException($"not done within {limit} by the clock that is moved by hand");
            // Where no timer is due for longer there is little to see on the way; little, since a thread may be late.
            var next = NextDue() - GetUtcNow() ?? step;
            Move(next <= step ? step : next < MostSteps * step ? next : MostSteps * step);
            await QuietAsync(isBusy, cancel);
        }
    }

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
    {
        var timer = new HandTimer(this, callback, state);
        timer.Change(dueTime, period);
        return timer;
    }

    /// <summary>Two looks in a row saw no timer set, nothing that waits for a thread and nothing under way. The pool's count of what
    /// waits is of the whole process: one that stands still is of somebody else's blocked thread, and no step is to wait for that.</summary>
    private async Task QuietAsync(Func<bool> isBusy, CancellationToken cancel)
    {
        var (quiet, still, seen, waiting, began) = (0, 0, TimersSet, -1L, System.GetTimestamp());
        while (quiet < 2 && System.GetElapsedTime(began) < Patience)
        {
            await Task.Delay(TimeSpan.FromMilliseconds(1), System, cancel);
            var (now, pending) = (TimersSet, ThreadPool.PendingWorkItemCount);
            still = pending == waiting ? still + 1 : 0;
            quiet = now == seen && (pending == 0 || still >= MostStill) && !isBusy() ? quiet + 1 : 0;
            (seen, waiting) = (now, pending);
        }
    }

    private DateTimeOffset? NextDue()
    {
        lock (_lock)
        {
            while (_due.TryPeek(out var next, out var at))
            {
                if (next.Timer.Armed == next.Armed)
                    return at.Due;
                _due.Dequeue();
            }

            return null;
        }
    }

    /// <summary>The next timer to go off until a moment, with the clock at its moment; null if there is none, with the clock at the end of its
    /// move: what is set from then on is due later.</summary>
    private HandTimer? NextUntil(DateTimeOffset target, TimeSpan moved)
    {
        lock (_lock)
        {
            while (_due.TryPeek(out var next, out var at) && at.Due <= target)
            {
                _due.Dequeue();
                if (next.Timer.Armed != next.Armed)
                    continue; // it was set anew, or stopped
                if (_stopped is { } stopped && at.Due - stopped.Now > _moved)
                    _moved = at.Due - stopped.Now;
                return next.Timer;
            }

            _moved = moved;
            return null;
        }
    }

    private long Arm(HandTimer timer, TimeSpan dueTime)
    {
        lock (_lock)
        {
            var armed = ++_number;
            timer.Armed = armed;
            if (dueTime != Timeout.InfiniteTimeSpan)
                _due.Enqueue((timer, armed), (GetUtcNow() + dueTime, armed));
            return armed;
        }
    }

    /// <summary>While the clock still goes by itself, one of the system's timers stands behind each of these.</summary>
    private sealed class HandTimer(HandMovedTime time, TimerCallback callback, object? state) : ITimer
    {
        private ITimer? _behind;
        private TimeSpan _period = Timeout.InfiniteTimeSpan;

        /// <summary>Which of its settings counts.</summary>
        public long Armed { get; set; }

        public bool Change(TimeSpan dueTime, TimeSpan period)
        {
            _period = period;
            if (dueTime == TimeSpan.Zero)
            {
                _ = time.Arm(this, Timeout.InfiniteTimeSpan);
                ThreadPool.QueueUserWorkItem(_ => GoOff());
                return true;
            }

            var armed = time.Arm(this, dueTime);
            if (time._stopped is null && dueTime != Timeout.InfiniteTimeSpan)
            {
                _behind?.Dispose();
                _behind = System.CreateTimer(_ =>
                {
                    if (Armed == armed && time._stopped is null)
                        GoOff();
                }, null, dueTime, Timeout.InfiniteTimeSpan);
            }

            return true;
        }

        public void GoOff()
        {
            if (_period > TimeSpan.Zero)
                Change(_period, _period);
            else
                Armed = 0;
            callback(state);
        }

        public void Dispose()
        {
            Armed = 0;
            _behind?.Dispose();
        }

        public ValueTask DisposeAsync()
        {
            Dispose();
            return ValueTask.CompletedTask;
        }
    }
}
