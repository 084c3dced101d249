using System.Text.Json;
using Mayfly.Contract;
using Mayfly.Controller.Reconciliation;

namespace Mayfly.Controller.Seen;

/// <summary>
/// A machine's milestones by the world's clock. Its own counts from its kernel's start; GitHub's word for when the job began
/// ties the two together, to a second, and without it the moment at which the end was seen, to half a minute.
/// </summary>
/// <param name="launched">EC2's launch time.</param>
internal sealed class Moments(DateTimeOffset launched, DateTimeOffset? kernel, DateTimeOffset ended, IReadOnlyList<ConsoleEvent> events)
{
    public DateTimeOffset Launched => launched;

    public DateTimeOffset Ended => ended;

    /// <summary>When the machine told of something for the last time; null if nothing ties its clock to the world's.</summary>
    public DateTimeOffset? LastWord => events.Count > 0 ? kernel + TimeSpan.FromSeconds(events[^1].At) : null;

    /// <summary>Whether waits can be told from it.</summary>
    public bool IsTied => kernel is not null;

    public static Moments From(LaunchRecord launch, DateTimeOffset launched, DateTimeOffset ended, IReadOnlyList<ConsoleEvent> events)
    {
        var begun = launch.RunnerName == launch.Runner ? AtOf(events, Milestone.JobStarted) : null;
        return new Moments(launched, launch.StartedAt - begun, ended, events);
    }

    /// <returns>Null if the machine did not come so far.</returns>
    public DateTimeOffset? Of(string milestone) =>
        AtOf(events, milestone) is { } at ? (kernel ?? ended - (events.Count > 0 ? TimeSpan.FromSeconds(events[^1].At) : TimeSpan.Zero)) + at : null;

    private static TimeSpan? AtOf(IReadOnlyList<ConsoleEvent> events, string milestone) =>
        events.LastOrDefault(e => e.Name == milestone) is { } found ? TimeSpan.FromSeconds(found.At) : null;
}

/// <summary>What is told of a machine once it has ended: a count and the waits of its job; and what it cost and its trace, once that is known.</summary>
internal static class LastWords
{
    /// <param name="launched">EC2's launch time; null if EC2 no longer names the machine.</param>
    /// <param name="ended">When it was first seen to have ended.</param>
    public static void Tell(LaunchRecord launch, DateTimeOffset? launched, DateTimeOffset ended, Epitaph epitaph)
    {
        Figures.Endings.Add(1, new KeyValuePair<string, object?>("ending", epitaph.Words.Split(':')[0]));
        if (launched is not { } start)
            return;
        var moments = Moments.From(launch, start, ended, epitaph.Events);
        if (moments.IsTied && moments.Of(Milestone.RunnerListening) is { } listening && moments.Of(Milestone.JobStarted) is { } begun)
        {
            Figures.LaunchedToListening.Record(Math.Max(0, (listening - start).TotalSeconds));
            Figures.ListeningToStarted.Record(Math.Max(0, (begun - listening).TotalSeconds));
        }
    }

    /// <param name="usd">Null if it is not known what the machine cost.</param>
    public static void Tell(LaunchRecord launch, decimal? usd)
    {
        if (usd is not { } cost)
        {
            Figures.CostsUnknown.Add(1);
        }
        else
        {
            var market = new KeyValuePair<string, object?>("market", launch.Usage!.Market);
            Figures.JobCost.Record((double)cost, market);
            Figures.Spent.Add((double)cost, market, new KeyValuePair<string, object?>("repository", launch.Id.Repository));
        }

        if (launch.Usage is not { } usage)
            return;
        var events = JsonSerializer.Deserialize(launch.Timeline!, TimelineJson.Default.IReadOnlyListConsoleEvent)!;
        JobTrace.Send(launch, Moments.From(launch, usage.From, usage.To, events), usage, usd);
    }
}
