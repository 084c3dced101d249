using Mayfly.Controller.Database;

namespace Mayfly.Controller.Seen;

/// <summary>Counts what stands in the store, for the metrics: a scrape must not wait for the database.</summary>
internal sealed class Counting(Store store, Heart heart, Health health, TimeProvider time) : BackgroundService
{
    /// <summary>As often as Prometheus commonly scrapes.</summary>
    private static readonly TimeSpan Every = TimeSpan.FromSeconds(15);

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(Every, time);
        do
        {
            health.Turn(nameof(Counting), Every + Health.Soon);
            try
            {
                Figures.Take(await store.CountAsync(heart.Leads));
            }
            catch (StoreException)
            {
                // Heart says so; the last count stands
            }
        }
        while (await timer.WaitForNextTickAsync(stoppingToken));
    }
}
