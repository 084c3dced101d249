using System.Globalization;
using System.Text;
using System.Text.Json;
using Mayfly.Aws;

namespace Mayfly.Agent;

/// <summary>
/// Asks the metadata service whether EC2 takes this spot instance back. A service that does not answer ends nothing: it is
/// told of once.
/// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html
/// </summary>
/// <param name="probe">For all questions whose answer is 404 until something happens.</param>
/// <param name="note">Tells something worth knowing.</param>
internal sealed class SpotWatch(Imds imds, NotFoundProbe probe, Action<string> note, TimeProvider time)
{
    /// <summary>What a job's end is given of the notice: the runner's time to stop (<see cref="Deadlines.Stop"/>) and five
    /// seconds for the console.</summary>
    private static readonly TimeSpan Reserve = TimeSpan.FromSeconds(45);

    /// <summary>EC2 gives two minutes. A wall clock that is wrong cannot make it more.</summary>
    private static readonly TimeSpan Notice = TimeSpan.FromMinutes(2);

    /// <summary>A recommendation is only told of, so it is asked for with every sixth look: each question takes processor time
    /// from the job.</summary>
    private const int LooksARebalance = 6;

    private bool? _isSpot;
    private int _looks;
    private bool _rebalanceTold;
    private bool _failureTold;
    private bool _dueTold;
    private (long At, TimeSpan Wait)? _due;

    /// <summary>How long the next look may wait at most.</summary>
    public TimeSpan? DueIn => _due is { } due && !_dueTold ? TimeSpan.FromTicks(Math.Max(0, (due.Wait - time.GetElapsedTime(due.At)).Ticks)) : null;

    public async Task<Happening?> LookAsync(CancellationToken cancel)
    {
        if (_due is not null)
        {
            if (_dueTold || DueIn > TimeSpan.Zero)
                return null;
            _dueTold = true;
            return new Happening.SpotDue();
        }

        try
        {
            _isSpot ??= await imds.GetAsync("latest/meta-data/instance-life-cycle", cancel) == "spot";
            return _isSpot == true ? await AskAsync(cancel) : null;
        }
        catch (Exception e) when (e is HttpRequestException or JsonException || (e is OperationCanceledException && !cancel.IsCancellationRequested))
        {
            if (!_failureTold)
                note($"the metadata service cannot be asked for spot notices; asking on: {e.Message}");
            _failureTold = true;
            return null;
        }
    }

    /// <summary>How long a job may still run after a notice.</summary>
    public static TimeSpan WaitFor(DateTimeOffset interruption, DateTimeOffset now)
    {
        var left = interruption - now;
        return (left < Notice ? left : Notice) - Reserve is var wait && wait > TimeSpan.Zero ? wait : TimeSpan.Zero;
    }

    private async Task<Happening?> AskAsync(CancellationToken cancel)
    {
        // 404 until there is one.
        if (await imds.GetRareAsync("latest/meta-data/spot/instance-action", probe, cancel) is { } text)
        {
            var action = JsonMembers.Strings(Encoding.UTF8.GetBytes(text));
            // A notice is a notice, whatever its time: it came just now.
            var wait = DateTimeOffset.TryParse(action.GetValueOrDefault("time"), CultureInfo.InvariantCulture, out var at) ? WaitFor(at, time.GetUtcNow()) : Notice - Reserve;
            _due = (time.GetTimestamp(), wait);
            var notice = $"{action.GetValueOrDefault("action")} at {action.GetValueOrDefault("time")}";
            note($"spot interruption: {notice}; a job is stopped in {wait.TotalSeconds:F0} s if it has not ended by then");
            return new Happening.SpotNoticed(notice);
        }

        if (!_rebalanceTold && _looks++ % LooksARebalance == 0 && await imds.GetRareAsync("latest/meta-data/events/recommendations/rebalance", probe, cancel) is not null)
        {
            _rebalanceTold = true;
            note("EC2 recommends to rebalance: this spot instance may be taken back soon");
        }

        return null;
    }
}
