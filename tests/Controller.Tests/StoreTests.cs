using Mayfly.Controller.Sqlite;

namespace Mayfly.Controller.Tests;

public sealed class StoreTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("mayfly-store-").FullName;

    private string File => Path.Combine(_folder, "below", "controller.db");

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void A_launch_keeps_what_became_of_it()
    {
        using var store = new Store(File, TimeProvider.System);
        Assert.Equal(LaunchState.Launching, store.Begin("o/r", "1-1").State);
        store.Storing("o/r", "1-1", "i-1");
        Assert.Equal((LaunchState.Storing, "i-1", 0), Seen(store.Begin("o/r", "1-1")));
        store.Undoing("o/r", "1-1", "i-1");
        Assert.Equal((LaunchState.Undoing, "i-1", 0), Seen(store.Begin("o/r", "1-1")));
        store.Undone("o/r", "1-1");
        Assert.Equal((LaunchState.Launching, null, 1), Seen(store.Begin("o/r", "1-1")));
        store.Launched("o/r", "1-1", "i-2");
        Assert.Equal("i-2", Assert.Single(store.Alive()).InstanceId);
        store.Ended("o/r", "1-1", "job-succeeded: done", "[]");
        Assert.Empty(store.Alive());
        Assert.Equal("job-succeeded: done", store.Find("o/r", "1-1")!.Ending);

        static (LaunchState, string?, int) Seen(LaunchRecord launch) => (launch.State, launch.InstanceId, launch.Spent);
    }

    [Fact]
    public void Who_took_a_job_and_how_it_ended_are_kept_in_any_order()
    {
        using var store = new Store(File, TimeProvider.System);
        var job = Some.Job(JobAction.Completed, "mayfly") with { Conclusion = "success" };
        store.Begin(job.Repository, job.Key);
        store.Recorded(job);
        store.Recorded(job with { Action = JobAction.InProgress, RunnerName = "mayfly-1", Conclusion = null });
        var launch = store.Find(job.Repository, job.Key)!;
        Assert.Equal(("mayfly-1", "success"), (launch.RunnerName, launch.Conclusion));
    }

    [Fact]
    public void Opened_again_it_holds_the_same_and_migrates_nothing()
    {
        using (var first = new Store(File, TimeProvider.System))
            first.Begin("o/r", "1-1");
        using var second = new Store(File, TimeProvider.System);
        Assert.NotNull(second.Find("o/r", "1-1"));
    }

    [Fact]
    public void A_database_of_a_newer_controller_is_left_alone()
    {
        using (new Store(File, TimeProvider.System))
        {
        }

        using (var database = new Database(File))
            database.Execute("PRAGMA user_version = 1000");
        Assert.Contains("version 1000", Assert.Throws<SqliteException>(() => new Store(File, TimeProvider.System)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_file_that_is_no_database_is_said_to_be_none()
    {
        Directory.CreateDirectory(Path.GetDirectoryName(File)!);
        System.IO.File.WriteAllText(File, new string('x', 5000));
        Assert.Contains("file is not a database", Assert.Throws<SqliteException>(() => new Store(File, TimeProvider.System)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Commits_wait_for_the_disk()
    {
        Directory.CreateDirectory(Path.GetDirectoryName(File)!);
        using var database = new Database(File);
        Assert.Equal("wal", database.Query("PRAGMA journal_mode", row => row.Text(0))[0]);
        Assert.Equal(2, database.Query("PRAGMA synchronous", row => row.Integer(0))[0]);
    }

    [Fact]
    public void Values_are_bound_and_come_back_as_they_were()
    {
        Directory.CreateDirectory(Path.GetDirectoryName(File)!);
        using var database = new Database(File);
        database.Execute("CREATE TABLE t (text, number, bytes, empty)");
        object?[] values = ["'; DROP TABLE t; -- \0 ü", long.MinValue, new byte[] { 0, 255, 0 }, null];
        database.Execute("INSERT INTO t VALUES (?, ?, ?, ?)", values);
        var row = Assert.Single(database.Query("SELECT * FROM t", r => (object?[])[r.Text(0), r.Integer(1), r.Bytes(2), r.TextOrNull(3)]));
        Assert.Equal(values, row);
    }

    [Fact]
    public void A_transaction_that_fails_leaves_nothing_and_tells_its_own_error()
    {
        Directory.CreateDirectory(Path.GetDirectoryName(File)!);
        using var database = new Database(File);
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
}
