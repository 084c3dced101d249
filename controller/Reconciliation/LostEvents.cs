namespace Mayfly.Controller.Reconciliation;

/// <summary>At start and every <see cref="Settings.FindEvery"/>, by the controller that leads: finds what webhooks should have told.</summary>
internal sealed partial class LostEvents(Redelivery redelivery, QueueListing listing, Heart heart, Settings settings, TimeProvider time, ILogger<LostEvents> log) : BackgroundService
{
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(settings.FindEvery, time);
        do
        {
            if (!heart.Leads)
                continue;
            using var limit = CancellationTokenSource.CreateLinkedTokenSource(stoppingToken, heart.Member);
            foreach (var look in (Func<CancellationToken, Task>[])[redelivery.LookAsync, listing.LookAsync])
            {
                try
                {
                    await look(limit.Token);
                }
                catch (Exception e) when (!stoppingToken.IsCancellationRequested)
                {
                    LogFailed(e.Message);
                }
            }
        }
        while (await timer.WaitForNextTickAsync(stoppingToken));
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "could not look for lost events: {Reason}")]
    private partial void LogFailed(string reason);
}
