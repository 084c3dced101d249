using Mayfly.Controller.Database;

namespace Mayfly.Controller;

/// <summary>
/// What must survive: deliveries that were accepted, launches, and which controllers are at work on them. What is written
/// is on the disk before the call returns.
/// </summary>
internal sealed class Store : IAsyncDisposable
{
    private readonly IDatabase _database;

    private Store(IDatabase database, string controller, TimeSpan lease)
    {
        _database = database;
        Deliveries = new Deliveries(database);
        Queue = new LaunchQueue(database, controller);
        Launches = new Launches(database, controller);
        Membership = new Membership(database, controller, lease);
        Redeliveries = new Redeliveries(database);
    }

    public Deliveries Deliveries { get; }

    public LaunchQueue Queue { get; }

    public Launches Launches { get; }

    public Membership Membership { get; }

    public Redeliveries Redeliveries { get; }

    /// <summary>Opens the store, made or brought up to date where it is not.</summary>
    /// <param name="setting">A file for SQLite, or PostgreSQL's connection string (<see cref="Settings.Database"/>).</param>
    /// <param name="lease">Silent for this long, a controller counts as gone (<see cref="Settings.Lease"/>).</param>
    /// <param name="password">Of PostgreSQL's user, unless the connection string names a file that has it.</param>
    /// <exception cref="StoreException">It cannot be used: says why.</exception>
    public static async Task<Store> OpenAsync(string setting, TimeSpan lease, TimeProvider time, string? password = null)
    {
        var database = setting.Contains('=', StringComparison.Ordinal) ? PostgresDatabase.Open(setting, password) : (IDatabase)new SqliteDatabase(setting, time);
        try
        {
            await Schema.MigrateAsync(database, Schema.Newest);
            return new Store(database, $"{Environment.MachineName}-{Environment.ProcessId}-{Guid.NewGuid():N}", lease);
        }
        catch
        {
            await database.DisposeAsync();
            throw;
        }
    }

    /// <summary>Runs several calls that take an <see cref="ISql"/> as one.</summary>
    public Task<T> TransactAsync<T>(Func<ISql, ValueTask<T>> act) => _database.TransactAsync(act);

    public Task<Seen.Census> CountAsync(bool leads) => _database.TransactAsync(async sql =>
    {
        var states = await Launches.CountAsync(sql);
        var oldest = await LaunchQueue.WaitingSinceAsync(sql);
        var open = await sql.QueryAsync("SELECT count(*) FROM delivery WHERE done = 0", row => row.Integer(0));
        return new Seen.Census(sql.Now, states, oldest, open[0], leads);
    });

    /// <summary>Takes what every write takes and gives it back.</summary>
    /// <exception cref="StoreException">Nothing can be written.</exception>
    public Task CheckWritableAsync() => _database.TransactAsync(async sql => await sql.ExecuteAsync("DELETE FROM delivery WHERE id = ''"));

    public ValueTask DisposeAsync() => _database.DisposeAsync();
}
