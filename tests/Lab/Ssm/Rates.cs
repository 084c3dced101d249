using Mayfly.Lab.Aws;

namespace Mayfly.Lab.Ssm;

/// <summary>
/// Calls a second that the account may make, by operation; one second's worth may come at once.
/// https://docs.aws.amazon.com/general/latest/gr/ssm.html
/// </summary>
internal sealed class Rates(TimeProvider time)
{
    private readonly Lock _lock = new();
    private readonly Dictionary<string, (double Left, long At)> _buckets = [];
    private readonly Dictionary<string, double> _perSecond = new() { ["PutParameter"] = 40, ["GetParameter"] = 40, ["DeleteParameter"] = 5 };

    /// <summary>Allows an operation so many calls a second from now on.</summary>
    public void Set(string operation, double perSecond)
    {
        lock (_lock)
        {
            _perSecond[operation] = perSecond;
            _buckets.Remove(operation);
        }
    }

    /// <exception cref="AwsFault">The operation's bucket is empty.</exception>
    public void Take(string operation)
    {
        lock (_lock)
        {
            if (!_perSecond.TryGetValue(operation, out var rate))
                return;
            var now = time.GetTimestamp();
            var left = _buckets.TryGetValue(operation, out var before)
                ? Math.Min(rate, before.Left + (rate * time.GetElapsedTime(before.At, now).TotalSeconds))
                : rate;
            _buckets[operation] = (left < 1 ? left : left - 1, now);
            if (left < 1)
                throw new AwsFault("ThrottlingException", "Rate exceeded");
        }
    }
}
