namespace Mayfly.Controller.Reconciliation;

/// <summary>At start and every <see cref="Settings.LookEvery"/>, by the controller that leads: looks, plans, and does what is planned.</summary>
internal sealed partial class Reconciler(Look look, Doer doer, Heart heart, Settings settings, TimeProvider time, ILogger<Reconciler> log) : BackgroundService
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

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(settings.LookEvery, time);
        do
        {
            if (!heart.Leads)
            {
                _memory = Memory.None;
                continue;
            }

            using var limit = CancellationTokenSource.CreateLinkedTokenSource(stoppingToken, heart.Member);
            try
            {
                await PassAsync(limit.Token);
            }
            catch (Exception e) when (!stoppingToken.IsCancellationRequested)
            {
                LogFailed(e.Message); // the next look is soon, and finds all that this one did not
            }
        }
        while (await timer.WaitForNextTickAsync(stoppingToken));
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "could not reconcile: {Reason}")]
    private partial void LogFailed(string reason);
}
