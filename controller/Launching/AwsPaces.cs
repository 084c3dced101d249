using Mayfly.Aws;

namespace Mayfly.Controller.Launching;

/// <summary>
/// The paces of one account's calls in one region. A call that stands in no list below is rare and waits for nothing.
/// Sizes of full buckets are below EC2's own, which other programs of the account may have half emptied.
/// https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html
/// https://docs.aws.amazon.com/general/latest/gr/ssm.html
/// </summary>
internal sealed class AwsPaces : IDisposable
{
    /// <summary>A machine that waits so long for its configuration to be stored costs money for nothing: then no more are begun.</summary>
    private static readonly TimeSpan MostWaitToStore = TimeSpan.FromSeconds(10);

    private readonly Dictionary<string, Pace> _paces;

    public AwsPaces(Settings settings, TimeProvider time)
    {
        _paces = new()
        {
            ["CreateFleet"] = new(settings.CreateFleetPace, 5, time), // a full bucket of RunInstances, whose limits it shares
            ["TerminateInstances"] = new(settings.TerminatePace, 20, time),
            ["DescribeInstances"] = new(settings.DescribePace, 20, time),
            ["GetConsoleOutput"] = new(settings.DescribePace, 20, time),
            ["DescribeSpotPriceHistory"] = new(settings.DescribePace, 20, time),
            ["GetProducts"] = new(1, 5, time), // once a day for each type
            ["CreateTags"] = new(settings.TagPace, 20, time),
            ["DeleteTags"] = new(settings.TagPace, 20, time),
            // One second's worth.
            ["PutParameter"] = new(settings.PutParameterPace, Math.Max(1, settings.PutParameterPace), time),
            ["DeleteParameter"] = new(settings.DeleteParameterPace, Math.Max(1, settings.DeleteParameterPace), time),
        };
        Calls = new CallPace(
            (action, cancel) => _paces.TryGetValue(action, out var pace) ? pace.TakeAsync(1, cancel) : ValueTask.CompletedTask,
            action => _paces.GetValueOrDefault(action)?.Refused());
    }

    /// <summary>For the connections to this account's services.</summary>
    public CallPace Calls { get; }

    /// <summary>Launches that can be begun now without waiting.</summary>
    public int LaunchesLeft => _paces["PutParameter"].Until(1) > MostWaitToStore ? 0 : (int)_paces["CreateFleet"].Left;

    /// <summary>When there is one more, if there is none.</summary>
    public TimeSpan UntilLaunch => _paces["CreateFleet"].Until(1);

    public Pace this[string action] => _paces[action];

    public void Dispose()
    {
        foreach (var pace in _paces.Values)
            pace.Dispose();
    }
}
