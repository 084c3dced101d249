using Mayfly.Controller.Database;
using Mayfly.Controller.Sqlite;

namespace Mayfly.Controller.Tests;

/// <summary>The binding to SQLite, and what commits together.</summary>
public sealed class SqliteTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("mayfly-sqlite-").FullName;

    private string File => Path.Combine(_folder, "controller.db");

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public async Task A_file_that_is_no_database_is_said_to_be_none()
    {
        await System.IO.File.WriteAllTextAsync(File, new string('x', 5000), TestContext.Current.CancellationToken);
        var refused = await Assert.ThrowsAsync<StoreException>(() => Store.OpenAsync(File, Some.Lease, TimeProvider.System));
        Assert.Contains(File, refused.Message, StringComparison.Ordinal);
        Assert.Contains("file is not a database", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Commits_wait_for_the_disk()
    {
        using var database = new SqliteConnection(File);
        Assert.Equal("wal", database.Query("PRAGMA journal_mode", row => row.Text(0))[0]);
        Assert.Equal(2, database.Query("PRAGMA synchronous", row => row.Integer(0))[0]);
    }

    [Fact]
    public void A_transaction_that_fails_leaves_nothing_and_tells_its_own_error()
    {
        using var database = new SqliteConnection(File);
        database.Execute("CREATE TABLE t (n)");
        Assert.Throws<InvalidOperationException>(() => database.Transact(() =>
        {
            database.Execute("INSERT INTO t VALUES (1)");
            throw new InvalidOperationException();
        }));
        Assert.Throws<TimeoutException>(() => database.Transact(() =>
        {
            database.Execute("ROLLBACK"); // as SQLite does by itself when the disk is full
            throw new TimeoutException();
        }));
        Assert.Equal(0, database.Query("SELECT count(*) FROM t", row => row.Integer(0))[0]);
    }

    [Fact]
    public async Task Transactions_that_wait_are_committed_together_and_one_that_fails_takes_no_other_with_it()
    {
        await using var database = new SqliteDatabase(File, TimeProvider.System);
        await database.TransactAsync(sql => sql.ExecuteAsync("CREATE TABLE t (n INTEGER)"));
        using var held = new ManualResetEventSlim();
        var first = database.TransactAsync(async sql =>
        {
            held.Wait(World.Limit, CancellationToken.None);
            return await sql.ExecuteAsync("INSERT INTO t VALUES (0)");
        });
        // None of these is seen before the first has ended, and each but one in the middle comes through.
        var others = Enumerable.Range(1, 20).Select(n => database.TransactAsync(async sql =>
        {
            await sql.ExecuteAsync("INSERT INTO t VALUES (?1)", n);
            return n == 10 ? throw new InvalidOperationException("ten") : n;
        })).ToArray();
        var before = new FileInfo($"{File}-wal").Length;
        held.Set();
        await first;
        Assert.Equal("ten", (await Assert.ThrowsAsync<InvalidOperationException>(() => Task.WhenAll(others))).Message);
        var rows = await database.TransactAsync(sql => sql.QueryAsync("SELECT n FROM t ORDER BY n", row => (int)row.Integer(0)));
        Assert.Equal(Enumerable.Range(0, 21).Where(n => n != 10), rows);
        // The write-ahead log grows by a page for each commit at least: two commits at most were made, not twenty.
        Assert.InRange(new FileInfo($"{File}-wal").Length - before, 1, 2 * 2 * (4096 + 24));
    }

    [Fact]
    public async Task A_statement_that_is_refused_fails_its_own_transaction_and_the_next_goes_on()
    {
        await using var database = new SqliteDatabase(File, TimeProvider.System);
        await Assert.ThrowsAsync<StoreException>(() => database.TransactAsync(sql => sql.ExecuteAsync("INSERT INTO nowhere VALUES (1)")));
        Assert.Equal(1, (await database.TransactAsync(sql => sql.QueryAsync("SELECT 1", row => row.Integer(0))))[0]);
    }
}
