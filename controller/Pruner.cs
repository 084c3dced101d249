using Mayfly.Controller.Database;

namespace Mayfly.Controller;

/// <summary>
/// At start and every hour, by the controller that leads: deletes deliveries and launches that have been settled for longer than
/// <see cref="Settings.Keep"/>. In small batches, since whoever writes meanwhile waits for each.
/// Of the other tables one forgets by itself what is of no more use (<see cref="Membership"/>, <see cref="Redeliveries"/>).
/// </summary>
internal sealed partial class Pruner(Store store, Heart heart, Settings settings, TimeProvider time, ILogger<Pruner> log) : BackgroundService
{
    /// <summary>Rows of one transaction: some milliseconds, of which a webhook's answer has ten.</summary>
    public const int Batch = 100;

    private static readonly TimeSpan Every = TimeSpan.FromHours(1);

    /// <summary>Between two batches. A thousand rows a second are deleted: more than a controller takes for long.</summary>
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(100);

    /// <summary>Deletes all that may go now.</summary>
    public async Task PruneAsync(CancellationToken cancel)
    {
        var deliveries = await AllAsync(store.Deliveries.ForgetAsync, cancel);
        var launches = await AllAsync(store.Launches.ForgetAsync, cancel);
        if (deliveries + launches > 0)
            LogForgot(deliveries, launches, (int)settings.Keep.TotalDays);
    }

    protected override Task ExecuteAsync(CancellationToken stoppingToken) => heart.LeadAsync(nameof(Pruner), Every, PruneAsync, LogFailed, stoppingToken);

    private async Task<int> AllAsync(Func<TimeSpan, int, Task<int>> forget, CancellationToken cancel)
    {
        for (var all = 0; ;)
        {
            var gone = await forget(settings.Keep, Batch);
            all += gone;
            if (gone < Batch)
                return all;
            await Task.Delay(Pause, time, cancel);
        }
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "forgot {Deliveries} deliveries and {Launches} launches that were settled more than {Days} days ago")]
    private partial void LogForgot(int deliveries, int launches, int days);

    [LoggerMessage(Level = LogLevel.Warning, Message = "could not forget what is settled: {Reason}")]
    private partial void LogFailed(string reason);
}
