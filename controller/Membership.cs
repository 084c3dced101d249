using Mayfly.Controller.Database;

namespace Mayfly.Controller;

/// <summary>
/// Which controllers are at work on this store. Each says again and again that it is alive; what a controller that has gone
/// silent was at, another takes up. The oldest of them leads: it alone does what one must do for all.
/// </summary>
internal sealed class Membership(IDatabase database, string controller, TimeSpan lease)
{
    /// <summary>How often a controller says that it is alive: some tries may fail.</summary>
    public TimeSpan Every => lease / 6;

    /// <summary>A controller that could not say so for this long stops what it is at: well before another takes it up.</summary>
    public TimeSpan StopAfter => lease * 2 / 3;

    /// <summary>SQL: true of a row that no living controller is at.</summary>
    /// <param name="now">The parameter that holds the time.</param>
    public static string IsFree(string now) => $"(owner IS NULL OR owner NOT IN (SELECT id FROM controller WHERE alive_until > {now}))";

    /// <summary>Says that this controller is alive, the first time and every time.</summary>
    /// <returns>Whether it leads.</returns>
    public Task<bool> RenewAsync() => database.TransactAsync(async sql =>
    {
        var now = sql.Now.ToText();
        await sql.ExecuteAsync("DELETE FROM controller WHERE alive_until < ?1", now);
        if (!database.IsShared) // those of before have crashed
            await sql.ExecuteAsync("DELETE FROM controller WHERE id <> ?1", controller);
        await sql.ExecuteAsync(
            "INSERT INTO controller (id, started_at, alive_until) VALUES (?1, ?2, ?3) ON CONFLICT (id) DO UPDATE SET alive_until = ?3",
            controller, now, (sql.Now + lease).ToText());
        return await sql.QueryAsync("SELECT id FROM controller ORDER BY started_at, id LIMIT 1", row => row.Text(0)) is [var leader] && leader == controller;
    });

    /// <summary>What this controller was at may be taken up at once.</summary>
    public Task LeaveAsync() => database.TransactAsync(async sql => await sql.ExecuteAsync("DELETE FROM controller WHERE id = ?1", controller));
}
