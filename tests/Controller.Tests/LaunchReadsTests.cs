using Mayfly.Controller.Database;

namespace Mayfly.Controller.Tests;

/// <summary>What the store reads for the acts that are done again and again: counted, not timed.</summary>
public sealed class LaunchReadsTests : IAsyncDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("mayfly-reads-").FullName;
    private readonly WatchedDatabase _database;
    private readonly LaunchQueue _queue;
    private readonly Launches _launches;

    public LaunchReadsTests()
    {
        _database = new WatchedDatabase(new SqliteDatabase(Path.Combine(_folder, "controller.db"), TimeProvider.System));
        (_queue, _launches) = (new LaunchQueue(_database, "this one"), new Launches(_database, "this one"));
    }

    public async ValueTask DisposeAsync()
    {
        await _database.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public async Task A_claim_and_a_look_read_no_more_where_more_jobs_wait()
    {
        await Schema.MigrateAsync(_database, Schema.Newest);
        await QueueAsync(1, 50);
        await RowsAsync(); // since when the repository has had a turn
        var few = await RowsAsync();
        await QueueAsync(51, 5000);
        Assert.Equal(few, await RowsAsync());

        async Task<(int, int)> RowsAsync()
        {
            _database.Rows = 0;
            Assert.Equal(2, (await _queue.ClaimAsync(2, (waiting, _, _) => waiting.First())).Count);
            var claim = _database.Rows;
            foreach (var launch in await _launches.UnsettledAsync(TimeSpan.FromDays(1), []))
                await _launches.DroppedAsync(launch.Id, "it was only counted");
            return (claim, _database.Rows - claim);
        }
    }

    /// <summary>A month of launches stands in the store, and one thread writes to it: nothing that is done more often than once an hour goes
    /// through all of them.</summary>
    [Fact]
    public async Task No_statement_goes_through_all_launches_that_are_kept()
    {
        await Schema.MigrateAsync(_database, Schema.Newest);
        _database.Statements.Clear();
        await QueueAsync(1, 3);
        var claimed = await _queue.ClaimAsync(2, (waiting, _, _) => waiting.First());
        await _launches.StoringAsync(claimed[0].Id, "i-1");
        await _launches.LaunchedAsync(claimed[0].Id, "i-1");
        await _launches.RecordAsync(Some.Job(JobAction.Completed) with { Id = 1, RunnerName = claimed[0].Runner, Conclusion = "success" });
        await _launches.UnsettledAsync(TimeSpan.FromDays(1), [claimed[0].Id]);
        await _launches.RefusedAsync(claimed[1].Id, "no capacity");
        await _launches.UntoldAsync();
        await _launches.AliveAsync();
        await _launches.DueAsync(10);
        await _database.TransactAsync(async sql => (await Launches.CountAsync(sql), await LaunchQueue.WaitingSinceAsync(sql)));
        await _launches.EndedAsync(claimed[0].Id, "job-succeeded: done", "[]");
        await _launches.DueAsync(10);
        await _launches.PricedAsync(claimed[0].Id, 1680);
        await _launches.ForgetAsync(TimeSpan.Zero, 10);

        var some = await _database.TransactAsync(sql => sql.QueryAsync("SELECT name FROM sqlite_master WHERE type = 'index' AND sql LIKE '% WHERE %'", row => row.Text(0)));
        var statements = _database.Statements.Where(s => s.Contains("launch", StringComparison.Ordinal)).ToList();
        Assert.InRange(statements.Count, 15, 100);
        foreach (var statement in statements)
        {
            var plan = await _database.TransactAsync(sql => sql.QueryAsync($"EXPLAIN QUERY PLAN {statement}", row => row.Text(3)));
            Assert.DoesNotContain(plan, step => step.StartsWith("SCAN launch", StringComparison.Ordinal) && !some.Any(index => step.EndsWith($"INDEX {index}", StringComparison.Ordinal)));
        }
    }

    private Task<int> QueueAsync(int first, int last) => _database.TransactAsync(async sql =>
    {
        for (var job = first; job <= last; job++)
            await LaunchQueue.AddAsync(sql, Some.Job() with { Id = job }, Some.Order(4));
        return 0;
    });

    /// <summary>Tells which statements were run, and how many rows were read.</summary>
    private sealed class WatchedDatabase(IDatabase database) : IDatabase
    {
        public int Rows { get; set; }

        public HashSet<string> Statements { get; } = [];

        public bool IsShared => database.IsShared;

        public Task<T> TransactAsync<T>(Func<ISql, ValueTask<T>> act) => database.TransactAsync(sql => act(new WatchedSql(this, sql)));

        public ValueTask DisposeAsync() => database.DisposeAsync();
    }

    private sealed class WatchedSql(WatchedDatabase watched, ISql sql) : ISql
    {
        public DateTimeOffset Now => sql.Now;

        public string SkipLocked => sql.SkipLocked;

        public string Lock => sql.Lock;

        public ValueTask<int> ExecuteAsync(string statement, params object?[] values)
        {
            watched.Statements.Add(statement);
            return sql.ExecuteAsync(statement, values);
        }

        public async ValueTask<List<T>> QueryAsync<T>(string statement, Func<IRow, T> read, params object?[] values)
        {
            watched.Statements.Add(statement);
            var rows = await sql.QueryAsync(statement, read, values);
            watched.Rows += rows.Count;
            return rows;
        }

        public ValueTask LockAsync(string name) => sql.LockAsync(name);

        public ValueTask<int> SchemaVersionAsync() => sql.SchemaVersionAsync();

        public ValueTask SetSchemaVersionAsync(int version) => sql.SetSchemaVersionAsync(version);
    }
}
