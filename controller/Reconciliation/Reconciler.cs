namespace Mayfly.Controller.Reconciliation;

/// <summary>At start and every <see cref="Settings.LookEvery"/>, by the controller that leads: looks, plans, and does what is planned.</summary>
internal sealed partial class Reconciler(Look look, Doer doer, Heart heart, Settings settings, ILogger<Reconciler> log) : BackgroundService
{
    /// <summary>Of this controller while it leads: another that takes over begins to count anew.</summary>
    private Memory _memory = Memory.None;

    /// <summary>One look and what follows from it.</summary>
    public async Task PassAsync(CancellationToken cancel)
    {
        var sight = await look.TakeAsync(cancel);
        (var acts, _memory) = Plan.For(sight, _memory);
        await doer.DoAsync(acts, cancel);
    }

    protected override Task ExecuteAsync(CancellationToken stoppingToken) =>
        heart.LeadAsync(nameof(Reconciler), settings.LookEvery, PassAsync, LogFailed, stoppingToken, follow: () => _memory = Memory.None);

    [LoggerMessage(Level = LogLevel.Warning, Message = "could not reconcile: {Reason}")]
    private partial void LogFailed(string reason);
}
