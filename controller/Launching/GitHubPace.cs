using System.Globalization;
using System.Net;

namespace Mayfly.Controller.Launching;

/// <summary>
/// The pace of one installation's calls to GitHub, which limits them in two ways: by points a minute, of which a call that
/// changes something takes five, and by calls an hour. Each installation has limits of its own.
/// https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api
/// </summary>
internal sealed class GitHubPace : IDisposable
{
    /// <summary>Points of a call that changes something, such as registering a runner.</summary>
    public const int ChangePoints = 5;

    private const int ReadPoints = 1;

    /// <summary>GitHub counts by the minute: what a full bucket holds and what comes back in a minute are together what it allows.</summary>
    private const double Burst = 1.0 / 30;

    /// <summary>What GitHub asks for where it does not say how long to wait.</summary>
    private static readonly TimeSpan Pause = TimeSpan.FromMinutes(1);

    /// <summary>The hour's window ends by then, whatever the two clocks say.</summary>
    private static readonly TimeSpan MostPause = TimeSpan.FromHours(1);

    private const string Remaining = "x-ratelimit-remaining";

    private readonly Pace _points;
    private readonly Pace _calls;
    private readonly TimeProvider _time;

    public GitHubPace(Settings settings, TimeProvider time)
    {
        _time = time;
        var burst = Math.Max(ChangePoints, settings.GitHubPoints * Burst);
        _points = new Pace((settings.GitHubPoints - burst) / 60, burst, time);
        // GitHub begins a new hour all at once; that this one's calls are spent is seen in its answers.
        _calls = new Pace(settings.GitHubCalls / 3600.0, settings.GitHubCalls, time);
    }

    /// <summary>Runners that can be registered now without waiting.</summary>
    public int RegistrationsLeft => (int)Math.Min(_points.Left / ChangePoints, _calls.Left);

    /// <summary>How long a call would wait; whoever cannot wait so long does not begin.</summary>
    public TimeSpan UntilCall(HttpMethod method) => Later(_points.Until(PointsOf(method)), _calls.Until(1));

    public TimeSpan UntilRegistration => UntilCall(HttpMethod.Post);

    public async ValueTask TakeAsync(HttpMethod method, CancellationToken cancel)
    {
        await _calls.TakeAsync(1, cancel);
        await _points.TakeAsync(PointsOf(method), cancel);
    }

    /// <summary>Takes over what an answer says of the limits.</summary>
    /// <param name="isLimit">Whether the call was refused for one.</param>
    public void Learn(HttpResponseMessage response, bool isLimit)
    {
        if (Number(response, Remaining) == 0)
        {
            var reset = Number(response, "x-ratelimit-reset") is { } seconds ? DateTimeOffset.FromUnixTimeSeconds(seconds) - _time.GetUtcNow() : Pause;
            _calls.HoldFor(reset < MostPause ? reset : MostPause);
        }
        else if (isLimit)
        {
            _points.Refused(response.Headers.RetryAfter?.Delta ?? Pause);
        }
    }

    /// <summary>Whether GitHub has refused a call for its limits: by 429, or by a 403, which else is one of permissions.
    /// https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api#exceeding-the-rate-limit</summary>
    public static bool IsLimit(HttpResponseMessage response, string message) => response.StatusCode == HttpStatusCode.TooManyRequests
        || (response.StatusCode == HttpStatusCode.Forbidden
            && (response.Headers.RetryAfter is not null || Number(response, Remaining) == 0 || message.Contains("rate limit", StringComparison.OrdinalIgnoreCase)));

    public void Dispose()
    {
        _points.Dispose();
        _calls.Dispose();
    }

    private static int PointsOf(HttpMethod method) => method == HttpMethod.Get ? ReadPoints : ChangePoints;

    private static TimeSpan Later(TimeSpan one, TimeSpan other) => one > other ? one : other;

    private static long? Number(HttpResponseMessage response, string header) =>
        response.Headers.TryGetValues(header, out var values) && long.TryParse(values.First(), NumberStyles.None, CultureInfo.InvariantCulture, out var number) && number <= uint.MaxValue ? number : null;
}
