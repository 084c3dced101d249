using System.Threading.Channels;

namespace Mayfly.Controller;

/// <summary>Wakes what waits for work. What there is to do stands in the store; this only saves the wait for the next look.</summary>
internal class Wake(TimeProvider time)
{
    /// <summary>How long work that nobody woke for may wait: what another controller left, and what is due again.</summary>
    public static readonly TimeSpan LookEvery = TimeSpan.FromSeconds(1);

    private readonly Channel<bool> _woken = Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite });

    public void Set() => _woken.Writer.TryWrite(true);

    /// <summary>Until woken, or until the next look.</summary>
    public Task WaitAsync(CancellationToken cancel) => WaitAsync(LookEvery, cancel);

    /// <param name="atMost">When there will be something to do again, if nobody wakes it before.</param>
    public async Task WaitAsync(TimeSpan atMost, CancellationToken cancel)
    {
        using var look = new CancellationTokenSource(atMost, time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(look.Token, cancel);
        try
        {
            await _woken.Reader.ReadAsync(either.Token);
        }
        catch (OperationCanceledException) when (!cancel.IsCancellationRequested)
        {
        }
    }
}

/// <summary>A delivery was stored.</summary>
internal sealed class InboxWake(TimeProvider time) : Wake(time);

/// <summary>A job was queued, or a place came free.</summary>
internal sealed class QueueWake(TimeProvider time) : Wake(time);
