using System.Diagnostics;
using System.Diagnostics.Metrics;

namespace Mayfly.Controller.Seen;

/// <summary>What the controller counts and times. docs/controller.md says what to watch.</summary>
internal static class Figures
{
    /// <summary>Of the meter and of the traces' source.</summary>
    public const string Name = "Mayfly.Controller";

    public static readonly ActivitySource Traces = new(Name);

    private static readonly Meter Meter = new(Name);

    /// <summary>Seconds; from what a warm start takes to what a user no longer waits for.</summary>
    private static readonly InstrumentAdvice<double> Waits = new() { HistogramBucketBoundaries = [0.5, 1, 2, 5, 10, 20, 30, 45, 60, 90, 120, 180, 300, 600, 1800, 3600] };

    public static readonly Counter<long> WebhookAnswers = Meter.CreateCounter<long>("mayfly.webhook.answers", description: "Webhook deliveries by what became of them");

    public static readonly Counter<long> Launches = Meter.CreateCounter<long>("mayfly.launches", description: "Tries to launch a machine by how they came out");

    public static readonly Counter<long> Endings = Meter.CreateCounter<long>("mayfly.endings", description: "Machines that have ended by the agent's word for why");

    public static readonly Histogram<double> QueuedToLaunched = Meter.CreateHistogram("mayfly.queued_to_launched", "s", "From GitHub's delivery to a machine that has its configuration", advice: Waits);

    public static readonly Histogram<double> LaunchedToListening = Meter.CreateHistogram("mayfly.launched_to_listening", "s", "From EC2's launch time to a runner that waits for its job", advice: Waits);

    public static readonly Histogram<double> ListeningToStarted = Meter.CreateHistogram("mayfly.listening_to_started", "s", "From there to the job's start", advice: Waits);

    /// <summary>Dollars; from a minute of a small machine to a day of a large one.</summary>
    public static readonly Histogram<double> JobCost = Meter.CreateHistogram("mayfly.job_cost", "USD", "What a machine cost that has ended, by how it was bought",
        advice: new InstrumentAdvice<double> { HistogramBucketBoundaries = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 50, 100] });

    public static readonly Counter<double> Spent = Meter.CreateCounter<double>("mayfly.spent", "USD", "What the machines of a repository cost that have ended");

    public static readonly Counter<long> CostsUnknown = Meter.CreateCounter<long>("mayfly.costs_unknown", description: "Machines that have ended and whose cost could not be found out");

    private static volatile Census? _census;

    static Figures()
    {
        Meter.CreateObservableGauge("mayfly.jobs", () => _census?.States.Select(s => new Measurement<long>(s.Count, new KeyValuePair<string, object?>("state", s.State.ToString()))) ?? [], description: "Jobs by where their machine stands, ends left out");
        Meter.CreateObservableGauge("mayfly.oldest_waiting", () => Since(_census?.OldestWaiting), "s", "How long the first in the queue has waited");
        Meter.CreateObservableGauge("mayfly.deliveries_open", () => _census is { } c ? [new Measurement<long>(c.OpenDeliveries)] : Array.Empty<Measurement<long>>(), description: "Deliveries that are still to be worked on");
        Meter.CreateObservableGauge("mayfly.leads", () => _census is { } c ? [new Measurement<long>(c.Leads ? 1 : 0)] : Array.Empty<Measurement<long>>(), description: "1 on the controller that reconciles for all");
    }

    /// <summary>What was counted last.</summary>
    public static void Take(Census census) => _census = census;

    private static Measurement<double>[] Since(DateTimeOffset? time) => _census is null ? [] : [new Measurement<double>(time is { } t ? Math.Max(0, (_census.At - t).TotalSeconds) : 0)];
}

/// <summary>How much stands in the store.</summary>
internal sealed record Census(DateTimeOffset At, IReadOnlyList<(LaunchState State, long Count)> States, DateTimeOffset? OldestWaiting, long OpenDeliveries, bool Leads);
