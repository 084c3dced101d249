using System.Runtime.InteropServices;

namespace Mayfly.Controller.Sqlite;

/// <summary>SQLite refused; carries its own message, never a bound value.</summary>
internal sealed class SqliteException(int code, string message) : Exception($"SQLite error {code}: {message}")
{
    public int Code { get; } = code;
}

/// <summary>
/// One connection to a SQLite database through the distribution's own library. Microsoft.Data.Sqlite would stand here; its
/// native provider does not restore everywhere this is built (docs/decisions/0003). Calls are serialised by the caller.
/// https://www.sqlite.org/c3ref/intro.html
/// </summary>
internal sealed class SqliteConnection : IDisposable
{
    private const int ReadWrite = 2;
    private const int Create = 4;
    private const int FullMutex = 0x10000;

    private readonly DatabaseHandle _handle;

    /// <summary>Statements that were prepared before and are not in use: preparing one costs more than running it.</summary>
    private readonly Dictionary<string, StatementHandle> _prepared = [];

    /// <summary>Opens or makes a database whose commits are on the disk when they return.</summary>
    /// <exception cref="SqliteException">It cannot be opened or is no database.</exception>
    public SqliteConnection(string path)
    {
        var result = Native.sqlite3_open_v2(path, out _handle, ReadWrite | Create | FullMutex, null);
        if (result != 0)
        {
            using (_handle)
                throw new SqliteException(result, $"{path} cannot be opened: {Native.Message(_handle)}");
        }

        // With a write-ahead log, FULL waits for the disk at every commit. https://www.sqlite.org/pragma.html#pragma_synchronous
        foreach (var pragma in (string[])["PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", "PRAGMA busy_timeout=5000", "PRAGMA foreign_keys=ON"])
            Execute(pragma);
    }

    /// <summary>Runs a statement to its end.</summary>
    /// <returns>Rows changed.</returns>
    public int Execute(string sql, params ReadOnlySpan<object?> values)
    {
        using var statement = Prepare(sql, values);
        while (statement.Step())
        {
        }

        return Native.sqlite3_changes(_handle);
    }

    /// <summary>Reads all rows.</summary>
    public List<T> Query<T>(string sql, Func<Statement, T> read, params ReadOnlySpan<object?> values)
    {
        using var statement = Prepare(sql, values);
        var rows = new List<T>();
        while (statement.Step())
            rows.Add(read(statement));
        return rows;
    }

    /// <summary>Runs statements as one: all or none.</summary>
    public void Transact(Action act)
    {
        Execute("BEGIN IMMEDIATE");
        try
        {
            act();
            Execute("COMMIT");
        }
        catch
        {
            try
            {
                Execute("ROLLBACK");
            }
            catch (SqliteException)
            {
                // SQLite has rolled back itself, as it does when the disk is full; the first error is the one to tell
            }

            throw;
        }
    }

    public void Dispose()
    {
        foreach (var statement in _prepared.Values)
            statement.Dispose();
        _handle.Dispose();
    }

    private Statement Prepare(string sql, ReadOnlySpan<object?> values)
    {
        if (!_prepared.Remove(sql, out var prepared) && Native.sqlite3_prepare_v2(_handle, sql, -1, out prepared, out _) is not 0 and var result)
            throw new SqliteException(result, Native.Message(_handle));
        var statement = new Statement(_handle, prepared, done => { if (!_prepared.TryAdd(sql, done)) done.Dispose(); });
        try
        {
            statement.Bind(values);
            return statement;
        }
        catch
        {
            statement.Dispose();
            throw;
        }
    }
}

internal sealed class DatabaseHandle() : SafeHandle(0, ownsHandle: true)
{
    public override bool IsInvalid => handle == 0;

    protected override bool ReleaseHandle() => Native.sqlite3_close_v2(handle) == 0;
}

internal sealed class StatementHandle() : SafeHandle(0, ownsHandle: true)
{
    public override bool IsInvalid => handle == 0;

    protected override bool ReleaseHandle()
    {
        _ = Native.sqlite3_finalize(handle); // repeats the last step's error, which was thrown then
        return true;
    }
}
