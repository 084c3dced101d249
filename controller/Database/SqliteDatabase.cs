using System.Collections.Concurrent;
using Mayfly.Controller.Sqlite;

namespace Mayfly.Controller.Database;

/// <summary>
/// SQLite, written by one thread. Transactions that wait are committed together, each in a savepoint of its own: the disk
/// is waited for once for all of them (group commit), and one that fails takes none of the others with it.
/// </summary>
internal sealed class SqliteDatabase : IDatabase, ISql
{
    /// <summary>Transactions that one commit carries: what a second of heavy load brings, so that none waits for long.</summary>
    private const int MostTogether = 256;

    /// <summary>Transactions that may wait: some seconds of the heaviest load. More are refused at once.</summary>
    private const int MostWaiting = 10_000;

    private readonly SqliteConnection _connection;
    private readonly TimeProvider _time;
    private readonly BlockingCollection<Work> _queue = new(MostWaiting);
    private readonly Thread _writer;

    /// <exception cref="StoreException">The file is no database or cannot be written.</exception>
    public SqliteDatabase(string path, TimeProvider time)
    {
        _time = time;
        try
        {
            if (Path.GetDirectoryName(Path.GetFullPath(path)) is { } folder)
                Directory.CreateDirectory(folder);
            _connection = new SqliteConnection(path);
        }
        catch (Exception e) when (e is SqliteException or IOException or UnauthorizedAccessException)
        {
            throw new StoreException($"Mayfly:Database='{path}': {e.Message}", e);
        }

        _writer = new Thread(WriteAll) { Name = "sqlite", IsBackground = true };
        _writer.Start();
    }

    public bool IsShared => false;

    public DateTimeOffset Now => _time.GetUtcNow();

    public string SkipLocked => "";

    public string Lock => "";

    public Task<T> TransactAsync<T>(Func<ISql, ValueTask<T>> act)
    {
        var work = new Work<T>(act);
        bool taken;
        try
        {
            taken = _queue.TryAdd(work);
        }
        catch (InvalidOperationException e)
        {
            throw new StoreException("the database is closed", e);
        }

        return taken ? work.Result : throw new StoreException($"{MostWaiting} transactions wait for the disk already");
    }

    public ValueTask<int> ExecuteAsync(string sql, params object?[] values) => ValueTask.FromResult(_connection.Execute(sql, values));

    public ValueTask<List<T>> QueryAsync<T>(string sql, Func<IRow, T> read, params object?[] values) => ValueTask.FromResult(_connection.Query(sql, row => read(row), values));

    /// <summary>Only one transaction runs at a time.</summary>
    public ValueTask LockAsync(string name) => ValueTask.CompletedTask;

    public ValueTask<int> SchemaVersionAsync() => ValueTask.FromResult((int)_connection.Query("PRAGMA user_version", row => row.Integer(0))[0]);

    public async ValueTask SetSchemaVersionAsync(int version) =>
        await ExecuteAsync(string.Create(System.Globalization.CultureInfo.InvariantCulture, $"PRAGMA user_version = {version}"));

    public ValueTask DisposeAsync()
    {
        _queue.CompleteAdding();
        _writer.Join();
        _queue.Dispose();
        _connection.Dispose();
        return ValueTask.CompletedTask;
    }

    private void WriteAll()
    {
        var together = new List<Work>(MostTogether);
        foreach (var first in _queue.GetConsumingEnumerable())
        {
            together.Clear();
            together.Add(first);
            while (together.Count < MostTogether && _queue.TryTake(out var next))
                together.Add(next);
            try
            {
                _connection.Transact(() =>
                {
                    foreach (var work in together)
                        RunInSavepoint(work);
                });
            }
            catch (Exception e)
            {
                foreach (var work in together)
                    work.Fail(new StoreException($"could not be stored: {e.Message}", e));
                continue;
            }

            foreach (var work in together)
                work.Publish();
        }
    }

    private void RunInSavepoint(Work work)
    {
        _connection.Execute("SAVEPOINT one");
        if (!work.Run(this))
            _connection.Execute("ROLLBACK TO one");
        _connection.Execute("RELEASE one");
    }

    /// <summary>One transaction: run on the writer's thread, its outcome told once the disk has it.</summary>
    private abstract class Work
    {
        /// <returns>False if it failed: what it did is to be rolled back.</returns>
        public abstract bool Run(ISql sql);

        public abstract void Publish();

        public abstract void Fail(Exception e);
    }

    private sealed class Work<T>(Func<ISql, ValueTask<T>> act) : Work
    {
        private readonly TaskCompletionSource<T> _done = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private Exception? _error;
        private T? _result;

        public Task<T> Result => _done.Task;

        public override bool Run(ISql sql)
        {
            try
            {
                _result = act(sql).AsTask().GetAwaiter().GetResult(); // SQLite's statements are complete when they return
            }
            catch (Exception e)
            {
                _error = e is SqliteException ? new StoreException(e.Message, e) : e;
            }

            return _error is null;
        }

        public override void Publish()
        {
            if (_error is null)
                _done.SetResult(_result!);
            else
                _done.SetException(_error);
        }

        public override void Fail(Exception e) => _done.TrySetException(e);
    }
}
