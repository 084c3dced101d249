using System.Globalization;

namespace Mayfly.Lab.GitHub;

/// <summary>
/// How often GitHub lets an installation call its REST API: so many requests an hour, so many points a minute for one
/// endpoint (1 for reading, 5 for all else), and so many at a time. Tests set the figures, or have the next calls refused
/// with <see cref="RefuseNext"/>. https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api
/// </summary>
internal sealed class RateLimits(TimeProvider time)
{
    private readonly Lock _lock = new();
    private readonly Dictionary<string, (DateTimeOffset Ends, int Used)> _hours = [];
    private readonly Dictionary<(string Caller, string Endpoint), (DateTimeOffset Ends, int Used)> _minutes = [];
    private (int Calls, string Endpoint, TimeSpan? RetryAfter) _refusal = (0, "", null);
    private int _atOnce;

    /// <summary>The least that an installation has; with many repositories or members up to 12,500.</summary>
    public int PerHour { get; set; } = 5_000;

    public int PointsPerMinute { get; set; } = 900;

    public int AtOnce { get; set; } = 100;

    /// <summary>What a refused call is answered with: 403 or 429. GitHub uses both.</summary>
    public int Status { get; set; } = 403;

    /// <summary>Calls that were refused so far.</summary>
    public int Refused { get; private set; }

    /// <summary>The next calls run into a secondary limit, whatever was called before.</summary>
    /// <param name="endpoint">Part of the path that they must have; all where it is empty.</param>
    /// <param name="retryAfter">Null leaves the header away, as GitHub may.</param>
    public void RefuseNext(int calls, string endpoint = "", TimeSpan? retryAfter = null)
    {
        lock (_lock)
            _refusal = (calls, endpoint, retryAfter);
    }

    public void Lift() => (PerHour, PointsPerMinute, AtOnce) = (int.MaxValue, int.MaxValue, int.MaxValue);

    /// <summary>Counts a call that begins; to be ended by <see cref="End"/>, whatever this throws.</summary>
    public void Begin() => Interlocked.Increment(ref _atOnce);

    public void End() => Interlocked.Decrement(ref _atOnce);

    /// <summary>Counts a call for whom it was made.</summary>
    /// <param name="caller">The installation, or the App itself.</param>
    /// <param name="endpoint">The method and the path with its parts named, not filled in.</param>
    /// <exception cref="GitHubFault">It is one too many.</exception>
    public void Take(string caller, string method, string path, string endpoint, IHeaderDictionary headers)
    {
        lock (_lock)
        {
            var now = time.GetUtcNow();
            var hour = _hours.TryGetValue(caller, out var known) && known.Ends > now ? known : (Ends: now.AddHours(1), Used: 0);
            var isOver = hour.Used >= PerHour;
            hour.Used += isOver ? 0 : 1;
            _hours[caller] = hour;
            foreach (var (name, value) in (ReadOnlySpan<(string, long)>)[
                ("limit", PerHour), ("remaining", PerHour - hour.Used), ("used", hour.Used), ("reset", hour.Ends.ToUnixTimeSeconds())])
                headers["x-ratelimit-" + name] = value.ToString(CultureInfo.InvariantCulture);
            headers["x-ratelimit-resource"] = "core";
            if (isOver)
                throw Refuse($"API rate limit exceeded for {caller}. If you reach out to GitHub Support for help, please include the request ID.", null);

            if (_refusal.Calls > 0 && path.Contains(_refusal.Endpoint, StringComparison.Ordinal))
            {
                _refusal.Calls--;
                throw Secondary(_refusal.RetryAfter);
            }

            if (_atOnce > AtOnce)
                throw Secondary(TimeSpan.FromSeconds(60));
            var points = method is "GET" or "HEAD" or "OPTIONS" ? 1 : 5;
            var minute = _minutes.TryGetValue((caller, endpoint), out var before) && before.Ends > now ? before : (Ends: now.AddMinutes(1), Used: 0);
            if (minute.Used + points > PointsPerMinute)
                throw Secondary(minute.Ends - now);
            _minutes[(caller, endpoint)] = (minute.Ends, minute.Used + points);
        }
    }

    private GitHubFault Secondary(TimeSpan? retryAfter) => Refuse("You have exceeded a secondary rate limit. Please wait a few minutes before you try again.", retryAfter);

    private GitHubFault Refuse(string message, TimeSpan? retryAfter)
    {
        Refused++;
        return new GitHubFault(Status, message) { RetryAfter = retryAfter };
    }
}
