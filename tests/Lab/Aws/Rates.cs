namespace Mayfly.Lab.Aws;

/// <summary>
/// Token buckets: how often an operation may be called, by its name. Each call takes tokens, and they come back at a steady
/// rate until the bucket is full. A test sets them with <see cref="Set"/> or does away with them with <see cref="Lift"/>.
/// </summary>
/// <param name="refusal">What the service answers when a bucket is empty.</param>
internal sealed class Rates(TimeProvider time, Func<AwsFault> refusal)
{
    private readonly Lock _lock = new();
    private readonly Dictionary<string, (double Left, long At)> _left = [];
    private readonly Dictionary<string, (double PerSecond, double Burst)> _buckets = [];
    private readonly Dictionary<string, int> _refused = [];

    /// <summary>Calls that were refused so far, by operation.</summary>
    public IReadOnlyDictionary<string, int> Refused
    {
        get
        {
            lock (_lock)
                return new Dictionary<string, int>(_refused);
        }
    }

    /// <summary>Allows so much from now on; the bucket is full.</summary>
    /// <param name="burst">What a full bucket holds; one second's worth where nothing is said.</param>
    public void Set(string operation, double perSecond, double? burst = null)
    {
        lock (_lock)
        {
            _buckets[operation] = (perSecond, burst ?? perSecond);
            _left.Remove(operation);
        }
    }

    /// <summary>No more limits, for tests of something else.</summary>
    public void Lift()
    {
        lock (_lock)
            _buckets.Clear();
    }

    /// <summary>Tokens that the bucket holds now; null for an operation without limit.</summary>
    public double? Left(string operation)
    {
        lock (_lock)
            return _buckets.TryGetValue(operation, out var bucket) ? LeftIn(operation, bucket, time.GetTimestamp()) : null;
    }

    /// <summary>How long a full bucket takes to give so many tokens.</summary>
    public TimeSpan TimeFor(string operation, int tokens)
    {
        lock (_lock)
            return _buckets.TryGetValue(operation, out var bucket) && tokens > bucket.Burst ? TimeSpan.FromSeconds((tokens - bucket.Burst) / bucket.PerSecond) : TimeSpan.Zero;
    }

    /// <exception cref="AwsFault">The operation's bucket does not hold so many. It keeps what it has.</exception>
    public void Take(string operation, int tokens = 1)
    {
        lock (_lock)
        {
            if (!_buckets.TryGetValue(operation, out var bucket))
                return;
            var now = time.GetTimestamp();
            var left = LeftIn(operation, bucket, now);
            // What twenty fractions of a token add up to may fall short of one by a rounding error.
            const double enough = 1e-6;
            var isEnough = left + enough >= tokens;
            _left[operation] = (isEnough ? left - tokens : left, now);
            if (isEnough)
                return;
            _refused[operation] = _refused.GetValueOrDefault(operation) + 1;
            throw refusal();
        }
    }

    private double LeftIn(string operation, (double PerSecond, double Burst) bucket, long now) => _left.TryGetValue(operation, out var before)
        ? Math.Min(bucket.Burst, before.Left + (bucket.PerSecond * time.GetElapsedTime(before.At, now).TotalSeconds))
        : bucket.Burst;
}
