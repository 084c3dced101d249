using Mayfly.Controller.Database;
using Mayfly.Controller.Seen;

namespace Mayfly.Controller;

/// <summary>Keeps this controller a member of those at work on the store. Cut off from it for too long, it stops what it is at,
/// since another takes it up.</summary>
internal sealed partial class Heart(Store store, Health health, TimeProvider time, ILogger<Heart> log) : IHostedService, IDisposable
{
    /// <summary>Within which every turn of <see cref="LeadAsync"/> has ended: of its calls, some sixty at most, each waits half a minute
    /// for its pace and then for its answer only while services are in trouble, which a new start would not mend.</summary>
    private static readonly TimeSpan LongestTurn = TimeSpan.FromMinutes(30);

    private readonly CancellationTokenSource _stop = new();
    private CancellationTokenSource _member = new();
    private Task _beating = Task.CompletedTask;

    /// <summary>Whether this controller does what one must do for all.</summary>
    public bool Leads { get; private set; }

    /// <summary>Cancelled when this controller may no longer be at what it claimed.</summary>
    public CancellationToken Member => Volatile.Read(ref _member).Token;

    public async Task StartAsync(CancellationToken cancellationToken)
    {
        Leads = await store.Membership.RenewAsync();
        _beating = BeatAsync(time.GetTimestamp());
    }

    public async Task StopAsync(CancellationToken cancellationToken)
    {
        await _stop.CancelAsync();
        await _beating;
        try
        {
            await store.Membership.LeaveAsync();
        }
        catch (StoreException e)
        {
            LogMissed(e.Message); // it counts as gone a little later
        }
    }

    public void Dispose()
    {
        _stop.Dispose();
        _member.Dispose();
    }

    /// <summary>What one controller does for all: a turn at start and then every so often, while this one leads. One that fails is told
    /// of and left, since the next finds all that it did not do.</summary>
    /// <param name="name">By which <c>/healthz</c> names it, if it hangs.</param>
    /// <param name="turn">Cancelled where another controller may lead from now on.</param>
    /// <param name="failed">Tells why a turn failed.</param>
    /// <param name="follow">Instead of a turn, while another leads.</param>
    /// <param name="stop">Ends it, and the turn that it is at.</param>
    public async Task LeadAsync(string name, TimeSpan every, Func<CancellationToken, Task> turn, Action<string> failed, CancellationToken stop, Action? follow = null)
    {
        using var timer = new PeriodicTimer(every, time);
        do
        {
            health.Turn(name, every + LongestTurn);
            if (!Leads)
            {
                follow?.Invoke();
                continue;
            }

            using var limit = CancellationTokenSource.CreateLinkedTokenSource(stop, Member);
            try
            {
                await turn(limit.Token);
            }
            catch (Exception e) when (!stop.IsCancellationRequested)
            {
                failed(e.Message);
            }
        }
        while (await timer.WaitForNextTickAsync(stop));
    }

    private async Task BeatAsync(long last)
    {
        while (true)
        {
            health.Turn(nameof(Heart), (2 * store.Membership.Every) + Health.Soon);
            try
            {
                await Task.Delay(store.Membership.Every, time, _stop.Token);
                Leads = await store.Membership.RenewAsync().WaitAsync(store.Membership.Every, time, _stop.Token);
                last = time.GetTimestamp();
                if (_member.IsCancellationRequested)
                    Volatile.Write(ref _member, new CancellationTokenSource());
            }
            catch (OperationCanceledException) when (_stop.IsCancellationRequested)
            {
                return;
            }
            catch (Exception e)
            {
                // Whatever it is: not to have beaten is to count as gone.
                LogMissed(e.Message);
                if (time.GetElapsedTime(last) < store.Membership.StopAfter)
                    continue;
                Leads = false;
                _ = _member.CancelAsync(); // it holds at once; who listens may fail, and the beat goes on
            }
        }
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "the store does not answer: {Reason}")]
    private partial void LogMissed(string reason);
}
