using System.Diagnostics;
using System.Security.Cryptography;
using System.Text;
using Mayfly.Contract;

namespace Mayfly.Controller.Seen;

/// <summary>
/// One trace a machine, from its job's webhook to its end. It is sent whole when the machine has ended and its cost was asked for, from what the
/// store tells, so that it is complete whichever controllers were at work, and survives their crashes but for one: a controller that is
/// killed between writing a cost down and telling of it takes that trace with it, which is better than to count a cost twice.
/// A job that got no machine has none, nor has a machine that EC2 no longer named. Its id
/// follows from the launch, so that whoever reads a log line can find it.
/// </summary>
internal static class JobTrace
{
    /// <summary>Spans by the milestone that ends them; each begins where the one before ended.</summary>
    private static readonly (string Until, string Name)[] Phases =
    [
        (Milestone.KernelStarted, "firmware"), (Milestone.ViewLaid, "initrd"), (Milestone.IdentityLearned, "system start"), (Milestone.ConfigDeleted, "configuration"),
        (Milestone.RunnerStarted, "door closed"), (Milestone.RunnerListening, "runner start"), (Milestone.JobStarted, "wait for the job"), (Milestone.JobDone, "job"), (Milestone.Ending, "ending"),
    ];

    public static ActivityTraceId IdOf(LaunchId launch) => ActivityTraceId.CreateFromBytes(SHA256.HashData(Encoding.UTF8.GetBytes($"{launch}")).AsSpan(0, 16));

    /// <param name="moments">When the machine's milestones were, and when it was launched and had ended.</param>
    /// <param name="usd">Null if it is not known what the machine cost.</param>
    public static void Send(LaunchRecord launch, Moments moments, Usage usage, decimal? usd)
    {
        using var whole = Start("job", launch.QueuedAt, new ActivityContext(IdOf(launch.Id), default, ActivityTraceFlags.Recorded), ActivityKind.Consumer);
        if (whole is null)
            return; // nobody looks
        foreach (var (key, value) in new (string, object?)[]
        {
            ("mayfly.repository", launch.Id.Repository), ("mayfly.job", launch.JobId), ("mayfly.job.name", launch.Name), ("mayfly.run", launch.RunId), ("mayfly.attempt", launch.Attempt),
            ("mayfly.machine", launch.Machine), ("mayfly.tries", launch.Tries), ("mayfly.conclusion", launch.Conclusion), ("mayfly.ending", launch.Ending), ("cloud.resource_id", launch.InstanceId),
            ("host.type", usage.InstanceType), ("cloud.availability_zone", usage.Zone), ("mayfly.market", usage.Market), ("mayfly.cost_usd", usd is { } cost ? (double)cost : "unknown"),
        })
        {
            whole.SetTag(key, value);
        }

        Span("queue and launch", launch.QueuedAt, moments.Launched);
        var at = moments.Launched;
        foreach (var (until, name) in Phases)
        {
            if (moments.Of(until) is not { } reached)
                continue;
            var to = reached > at ? reached : at;
            Span(name, at, to);
            at = to;
        }

        whole.SetEndTime(moments.Ended.UtcDateTime);

        void Span(string name, DateTimeOffset from, DateTimeOffset to)
        {
            using var span = Start(name, from, whole.Context, ActivityKind.Internal);
            span?.SetEndTime((to > from ? to : from).UtcDateTime);
        }
    }

    private static Activity? Start(string name, DateTimeOffset start, ActivityContext parent, ActivityKind kind) => Figures.Traces.StartActivity(name, kind, parent, startTime: start);
}
