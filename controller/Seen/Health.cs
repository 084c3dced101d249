using System.Collections.Concurrent;
using Mayfly.Controller.Database;

namespace Mayfly.Controller.Seen;

/// <summary>
/// <c>/healthz</c>: whether the program works at all; only a new start mends what it complains of. <c>/readyz</c>: whether a
/// webhook that came now would be kept.
/// </summary>
internal sealed class Health(Store store, IHostApplicationLifetime life, TimeProvider time)
{
    /// <summary>For a loop that looks for work every second: a database that does not answer keeps it some ten.</summary>
    public static readonly TimeSpan Soon = TimeSpan.FromMinutes(2);

    /// <summary>Less than what probes commonly wait.</summary>
    private static readonly TimeSpan StoreLimit = TimeSpan.FromSeconds(2);

    private readonly ConcurrentDictionary<string, (long At, TimeSpan Within)> _turns = new();

    /// <summary>A loop says that it turns, and will again.</summary>
    /// <param name="within">After which, without another turn, it hangs or has died.</param>
    public void Turn(string loop, TimeSpan within) => _turns[loop] = (time.GetTimestamp(), within);

    public IResult Alive() => _turns.FirstOrDefault(t => time.GetElapsedTime(t.Value.At) > t.Value.Within) is { Key: { } still, Value.Within: var within }
        ? No($"{still} has not turned for more than {within.TotalSeconds:F0} s")
        : Results.Text("alive\n");

    public async Task<IResult> ReadyAsync(Heart heart)
    {
        if (life.ApplicationStopping.IsCancellationRequested)
            return No("stopping");
        if (heart.Member.IsCancellationRequested)
            return No("cut off from the store for too long: what this controller was at is another's");
        try
        {
            await store.CheckWritableAsync().WaitAsync(StoreLimit, time);
            return Results.Text(heart.Leads ? "ready, leads\n" : "ready\n");
        }
        catch (Exception e) when (e is StoreException or TimeoutException)
        {
            return No($"the store cannot be written: {e.Message}");
        }
    }

    private static IResult No(string reason) => Results.Text($"{reason}\n", statusCode: StatusCodes.Status503ServiceUnavailable);
}
