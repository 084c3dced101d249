using Mayfly.Lab;

namespace Mayfly.Controller.Tests;

/// <summary>A heart that beats by a clock which is moved by hand, on a store that works in a thread of its own, which no such clock sees.</summary>
internal static class Beats
{
    /// <summary>Moves the clock on from beat to beat, each time once the store is through with the last one.</summary>
    public static async Task UntilAsync(Func<bool> isDone, HandMovedTime time, Store store)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        limit.CancelAfter(World.Limit);
        while (!isDone())
        {
            limit.Token.ThrowIfCancellationRequested();
            time.Move(store.Membership.Every);
            await store.CheckWritableAsync(); // it works in the order in which it was asked
        }
    }
}
