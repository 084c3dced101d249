using Mayfly.Controller.Database;

namespace Mayfly.Controller;

/// <summary>The inbox: deliveries that were accepted, and which of them are still to be worked on.</summary>
internal sealed class Deliveries(IDatabase database)
{
    /// <summary>Keeps a delivery; one that is there already is kept once.</summary>
    /// <returns>False if it was there.</returns>
    public Task<bool> AcceptAsync(Delivery delivery) => database.TransactAsync(async sql => await sql.ExecuteAsync(
        "INSERT INTO delivery (id, received_at, body) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING", delivery.Id, sql.Now.ToText(), delivery.Body) == 1);

    /// <summary>The oldest deliveries that are to be worked on and have not failed yet, until the transaction's end by nobody else.</summary>
    public static ValueTask<List<(string Id, byte[] Body)>> TakeAsync(ISql sql, int most) =>
        sql.QueryAsync($"SELECT id, body FROM delivery WHERE done = 0 AND attempts = 0 ORDER BY received_at LIMIT ?1{sql.SkipLocked}", row => (row.Text(0), row.Bytes(1)), most);

    /// <summary>One that has failed; none if it is done with, or another controller is at it.</summary>
    public static ValueTask<List<(string Id, byte[] Body)>> TakeAsync(ISql sql, string id) =>
        sql.QueryAsync($"SELECT id, body FROM delivery WHERE id = ?1 AND done = 0{sql.SkipLocked}", row => (row.Text(0), row.Bytes(1)), id);

    /// <summary>Deliveries that have failed and are to be tried again, the oldest first.</summary>
    public Task<List<string>> FailedAsync(int most) => database.TransactAsync(sql => sql.QueryAsync(
        "SELECT id FROM delivery WHERE done = 0 AND attempts > 0 ORDER BY received_at LIMIT ?1", row => row.Text(0), most));

    /// <summary>Counts a failure of each; what has failed <paramref name="most"/> times is set aside: done with, and known by its count.</summary>
    /// <returns>How many were set aside.</returns>
    public Task<int> FailAsync(IEnumerable<string> ids, int most) => database.TransactAsync(async sql =>
    {
        var aside = 0;
        foreach (var id in ids)
        {
            await sql.ExecuteAsync("UPDATE delivery SET attempts = attempts + 1 WHERE id = ?1 AND done = 0", id);
            aside += await sql.ExecuteAsync("UPDATE delivery SET done = 1 WHERE id = ?1 AND done = 0 AND attempts >= ?2", id, most);
        }

        return aside;
    });

    public static async ValueTask DoneAsync(ISql sql, string id) => await sql.ExecuteAsync("UPDATE delivery SET done = 1 WHERE id = ?1", id);

    /// <summary>Deletes deliveries that were worked on, the oldest first.</summary>
    /// <param name="age">Of the youngest that may go.</param>
    /// <returns>How many.</returns>
    public Task<int> ForgetAsync(TimeSpan age, int most) => database.TransactAsync(sql => sql.ExecuteAsync(
        "DELETE FROM delivery WHERE id IN (SELECT id FROM delivery WHERE done = 1 AND received_at < ?1 ORDER BY received_at LIMIT ?2)", (sql.Now - age).ToText(), most));

    public Task<List<string>> OpenAsync() => database.TransactAsync(sql => sql.QueryAsync("SELECT id FROM delivery WHERE done = 0 ORDER BY received_at", row => row.Text(0)));

    public Task<long> CountAsync() => database.TransactAsync(async sql => (await sql.QueryAsync("SELECT count(*) FROM delivery", row => row.Integer(0)))[0]);
}
