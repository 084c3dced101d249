using Mayfly.Controller.Database;

namespace Mayfly.Controller;

/// <summary>Deliveries that failed, how often GitHub was asked to send them again, and how far its log has been read.</summary>
internal sealed class Redeliveries(IDatabase database)
{
    /// <summary>A delivery that has failed so often has a fault of its own.</summary>
    public const int MostTimes = 3;

    /// <summary>Between two requests for the same delivery.</summary>
    public static readonly TimeSpan Pause = TimeSpan.FromMinutes(10);

    /// <summary>GitHub keeps its log for three days and cannot send again what is older.
    /// https://docs.github.com/webhooks/testing-and-troubleshooting-webhooks/redelivering-webhooks</summary>
    public static readonly TimeSpan Kept = TimeSpan.FromDays(3);

    private const string Log = "deliveries";

    /// <summary>Up to when the log has been read; null if it never was.</summary>
    public Task<DateTimeOffset?> ReadUntilAsync() => database.TransactAsync(async sql =>
        await sql.QueryAsync("SELECT until FROM looked WHERE what = ?1", row => row.Time(0), Log) is [var until] ? until : (DateTimeOffset?)null);

    /// <summary>Notes failed deliveries that never came otherwise, and that the log has been read.</summary>
    /// <param name="failed">The id that the webhook is told, and that of the newest attempt.</param>
    public Task NoteAsync(IReadOnlyCollection<(string Guid, long Delivery)> failed, DateTimeOffset until) => database.TransactAsync(async sql =>
    {
        var now = sql.Now.ToText();
        foreach (var (guid, delivery) in failed)
        {
            await sql.ExecuteAsync(
                """
                INSERT INTO redelivery (guid, delivery, found_at, not_before, times) VALUES (?1, ?2, ?3, ?3, 0)
                ON CONFLICT (guid) DO UPDATE SET delivery = ?2 WHERE redelivery.delivery < ?2
                """, guid, delivery, now);
        }

        await sql.ExecuteAsync("DELETE FROM redelivery WHERE found_at < ?1", (sql.Now - Kept - Kept).ToText());
        await sql.ExecuteAsync("INSERT INTO looked (what, until) VALUES (?1, ?2) ON CONFLICT (what) DO UPDATE SET until = ?2", Log, until.ToText());
        return 0;
    });

    /// <summary>Deliveries that are to be asked for now. Each counts as asked for from here on: a crash asks once less, not once more.</summary>
    public Task<List<(string Guid, long Attempt)>> TakeAsync(int most) => database.TransactAsync(async sql =>
    {
        var due = await sql.QueryAsync(
            """
            SELECT guid, delivery FROM redelivery
            WHERE times < ?1 AND not_before <= ?2 AND found_at >= ?3 AND NOT EXISTS (SELECT 1 FROM delivery WHERE id = guid) ORDER BY found_at, guid LIMIT ?4
            """,
            row => (Guid: row.Text(0), Attempt: row.Integer(1)), MostTimes, sql.Now.ToText(), (sql.Now - Kept).ToText(), most);
        foreach (var (guid, _) in due)
            await sql.ExecuteAsync("UPDATE redelivery SET times = times + 1, not_before = ?2 WHERE guid = ?1", guid, (sql.Now + Pause).ToText());
        return due;
    });
}
