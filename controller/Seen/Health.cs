using System.Collections.Concurrent;
using Mayfly.Controller.Database;

namespace Mayfly.Controller.Seen;

/// <summary>
/// <c>/healthz</c>: whether the program works at all; only a new start mends what it complains of. <c>/readyz</c>: whether a
/// webhook that came now would be kept.
/// </summary>
internal sealed class Health(Store store, Heart heart, IHostApplicationLifetime life, TimeProvider time)
{
    /// <summary>A loop that has not turned for this long hangs: each waits a second for work, and a database that does not answer some ten.</summary>
    private static readonly TimeSpan TurnLimit = TimeSpan.FromMinutes(2);

    /// <summary>Less than what probes commonly wait.</summary>
    private static readonly TimeSpan StoreLimit = TimeSpan.FromSeconds(2);

    private readonly ConcurrentDictionary<string, long> _turns = new();

    /// <summary>A loop says that it turns.</summary>
    public void Turn(string loop) => _turns[loop] = time.GetTimestamp();

    public IResult Alive() => _turns.FirstOrDefault(t => time.GetElapsedTime(t.Value) > TurnLimit) is { Key: { } still }
        ? No($"{still} has not turned for more than {TurnLimit.TotalSeconds:F0} s")
        : Results.Text("alive\n");

    public async Task<IResult> ReadyAsync()
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
