namespace Mayfly.Controller.Launching;

/// <summary>
/// A bucket of tokens in front of a service's own, so that calls wait here instead of being refused there. What is configured
/// is the most. A refusal halves the rate, since others take from the service's bucket too, and from there it grows back
/// evenly: so several programs find their shares of one bucket without knowing of each other.
/// </summary>
/// <param name="perSecond">Tokens that come back in a second, at most.</param>
/// <param name="burst">What a full bucket holds.</param>
internal sealed class Pace(double perSecond, double burst, TimeProvider time) : IDisposable
{
    /// <summary>From nothing to the whole rate.</summary>
    public static readonly TimeSpan Recovery = TimeSpan.FromMinutes(2);

    /// <summary>Calls that are under way when a bucket runs empty are refused together: that is one refusal.</summary>
    public static readonly TimeSpan Together = TimeSpan.FromSeconds(1);

    /// <summary>However often it is refused: a service that is back must be noticed within a minute or so.</summary>
    private const double LeastShare = 1.0 / 32;

    /// <summary>What many fractions of a token add up to may fall short of one by a rounding error.</summary>
    private const double RoundingError = 1e-6;

    private const int RoundedDigits = 6;

    private readonly Lock _lock = new();
    private readonly SemaphoreSlim _line = new(1);
    private readonly double _most = perSecond;
    private readonly double _full = burst;
    private double _tokens = burst;
    private double _rate = perSecond;
    private double _waiting;
    private long _at = time.GetTimestamp();
    private long? _refusedAt;
    private (long From, TimeSpan For)? _held;

    /// <summary>Tokens a second, as of now.</summary>
    public double PerSecond
    {
        get
        {
            lock (_lock)
            {
                Advance();
                return _rate;
            }
        }
    }

    /// <summary>Tokens that are left now for whoever comes next.</summary>
    public double Left
    {
        get
        {
            lock (_lock)
            {
                Advance();
                return Held() > TimeSpan.Zero ? 0 : Math.Max(0, Math.Round(_tokens - _waiting, RoundedDigits));
            }
        }
    }

    /// <summary>How long it takes until whoever comes next finds so many.</summary>
    public TimeSpan Until(double tokens)
    {
        lock (_lock)
            return UntilHas(tokens + _waiting);
    }

    /// <summary>Takes tokens, as soon as they are there and in the order of coming.</summary>
    public async ValueTask TakeAsync(double tokens, CancellationToken cancel)
    {
        lock (_lock)
            _waiting += tokens;
        try
        {
            await _line.WaitAsync(cancel);
            try
            {
                while (TryTake(tokens) is var wait && wait > TimeSpan.Zero)
                    await Task.Delay(wait, time, cancel);
            }
            finally
            {
                _line.Release();
            }
        }
        finally
        {
            lock (_lock)
                _waiting -= tokens;
        }
    }

    /// <summary>The service has refused a call, so its bucket is empty whatever this one holds.</summary>
    /// <param name="pause">How long the service asks to be left alone.</param>
    public void Refused(TimeSpan pause = default)
    {
        lock (_lock)
        {
            Advance();
            _tokens = Math.Min(_tokens, 0);
            if (_refusedAt is not { } before || time.GetElapsedTime(before, _at) >= Together)
                (_rate, _refusedAt) = (Math.Max(_rate / 2, _most * LeastShare), _at);
            Hold(pause);
        }
    }

    /// <summary>Lets nothing pass for a while.</summary>
    public void HoldFor(TimeSpan pause)
    {
        lock (_lock)
        {
            Advance();
            Hold(pause);
        }
    }

    public void Dispose() => _line.Dispose();

    /// <returns>How long to wait before the next try; zero if the tokens were taken.</returns>
    private TimeSpan TryTake(double tokens)
    {
        lock (_lock)
        {
            var wait = UntilHas(tokens);
            if (wait == TimeSpan.Zero)
                _tokens -= tokens;
            return wait;
        }
    }

    private TimeSpan UntilHas(double tokens)
    {
        Advance();
        var missing = tokens - _tokens - RoundingError;
        // In whole milliseconds, as timers count; the rate may be another by then, and then it is looked again.
        var wait = missing <= 0 ? TimeSpan.Zero : TimeSpan.FromMilliseconds(Math.Ceiling(missing / _rate * 1000));
        return Held() is var held && held > wait ? held : wait;
    }

    private TimeSpan Held() => _held is var (from, pause) && pause - time.GetElapsedTime(from, _at) is { Ticks: > 0 } left ? left : TimeSpan.Zero;

    private void Hold(TimeSpan pause)
    {
        if (pause > Held())
            _held = (_at, pause);
    }

    /// <summary>Up to now: the rate grows until it is whole, and tokens come back meanwhile.</summary>
    private void Advance()
    {
        var now = time.GetTimestamp();
        var passed = time.GetElapsedTime(_at, now).TotalSeconds;
        _at = now;
        var growth = _most / Recovery.TotalSeconds;
        var growing = Math.Min(passed, (_most - _rate) / growth);
        var grown = Math.Min(_most, _rate + (growing * growth));
        _tokens = Math.Min(_full, _tokens + ((_rate + grown) / 2 * growing) + (grown * (passed - growing)));
        _rate = grown;
    }
}
