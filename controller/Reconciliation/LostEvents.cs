namespace Mayfly.Controller.Reconciliation;

/// <summary>At start and every <see cref="Settings.FindEvery"/>, by the controller that leads: finds what webhooks should have told.</summary>
internal sealed partial class LostEvents(Redelivery redelivery, QueueListing listing, Heart heart, Settings settings, ILogger<LostEvents> log) : BackgroundService
{
    protected override Task ExecuteAsync(CancellationToken stoppingToken) => heart.LeadAsync(nameof(LostEvents), settings.FindEvery, LookAsync, LogFailed, stoppingToken);

    /// <summary>One after the other, as GitHub wants to be asked, and the second also where the first fails.</summary>
    private async Task LookAsync(CancellationToken cancel)
    {
        try
        {
            await redelivery.LookAsync(cancel);
        }
        catch (Exception e) when (!cancel.IsCancellationRequested)
        {
            LogFailed(e.Message);
        }

        await listing.LookAsync(cancel);
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "could not look for lost events: {Reason}")]
    private partial void LogFailed(string reason);
}
