using System.Runtime.InteropServices;
using System.Text;
using Mayfly.Controller.Database;

namespace Mayfly.Controller.Sqlite;

/// <summary>A prepared statement with its values bound; at most one row is current.</summary>
internal sealed class Statement : IRow, IDisposable
{
    private const int Row = 100;
    private const int Done = 101;
    private const int NullType = 5;
    private static readonly nint Copy = -1; // SQLITE_TRANSIENT: SQLite keeps its own copy of what is bound

    private readonly DatabaseHandle _database;
    private readonly StatementHandle _handle;
    private readonly Action<StatementHandle> _giveBack;

    /// <param name="giveBack">Takes the handle when this is disposed, ready to be bound again.</param>
    public Statement(DatabaseHandle database, StatementHandle handle, Action<StatementHandle> giveBack) => (_database, _handle, _giveBack) = (database, handle, giveBack);

    public void Bind(ReadOnlySpan<object?> values)
    {
        for (var i = 0; i < values.Length; i++)
            Check(Bind(i + 1, values[i]));
    }

    /// <summary>Goes to the next row; false when there is none.</summary>
    public bool Step()
    {
        var result = Native.sqlite3_step(_handle);
        return result == Row || (result == Done ? false : throw new SqliteException(result, Native.Message(_database)));
    }

    public string Text(int column)
    {
        var start = Native.sqlite3_column_blob(_handle, column); // a text's own bytes, in UTF-8
        return start == 0 ? "" : Marshal.PtrToStringUTF8(start, Native.sqlite3_column_bytes(_handle, column));
    }

    public string? TextOrNull(int column) => Native.sqlite3_column_type(_handle, column) == NullType ? null : Text(column);

    public long Integer(int column) => Native.sqlite3_column_int64(_handle, column);

    public long? IntegerOrNull(int column) => Native.sqlite3_column_type(_handle, column) == NullType ? null : Integer(column);

    public byte[] Bytes(int column)
    {
        var start = Native.sqlite3_column_blob(_handle, column);
        var bytes = new byte[Native.sqlite3_column_bytes(_handle, column)];
        if (start != 0)
            Marshal.Copy(start, bytes, 0, bytes.Length);
        return bytes;
    }

    public void Dispose()
    {
        _ = Native.sqlite3_reset(_handle); // repeats the last step's error, which was thrown then
        _ = Native.sqlite3_clear_bindings(_handle);
        _giveBack(_handle);
    }

    private int Bind(int index, object? value)
    {
        switch (value)
        {
            case null:
                return Native.sqlite3_bind_null(_handle, index);
            case long number:
                return Native.sqlite3_bind_int64(_handle, index, number);
            case int number:
                return Native.sqlite3_bind_int64(_handle, index, number);
            case string text:
                var utf8 = Encoding.UTF8.GetBytes(text);
                return Native.sqlite3_bind_text(_handle, index, utf8, utf8.Length, Copy);
            case byte[] bytes:
                return Native.sqlite3_bind_blob(_handle, index, bytes, bytes.Length, Copy);
            default:
                throw new ArgumentException($"no way to bind a {value.GetType().Name}", nameof(value));
        }
    }

    private void Check(int result)
    {
        if (result != 0)
            throw new SqliteException(result, Native.Message(_database));
    }
}

internal static partial class Native
{
    private const string Library = "libsqlite3.so.0";

    public static string Message(DatabaseHandle database) =>
        Marshal.PtrToStringUTF8(sqlite3_errmsg(database)) ?? "no message";

    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int sqlite3_open_v2(string path, out DatabaseHandle database, int flags, string? vfs);

    [LibraryImport(Library)]
    internal static partial int sqlite3_close_v2(nint database);

    [LibraryImport(Library)]
    internal static partial nint sqlite3_errmsg(DatabaseHandle database);

    [LibraryImport(Library)]
    internal static partial int sqlite3_changes(DatabaseHandle database);

    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int sqlite3_prepare_v2(DatabaseHandle database, string sql, int bytes, out StatementHandle statement, out nint tail);

    [LibraryImport(Library)]
    internal static partial int sqlite3_finalize(nint statement);

    [LibraryImport(Library)]
    internal static partial int sqlite3_reset(StatementHandle statement);

    [LibraryImport(Library)]
    internal static partial int sqlite3_clear_bindings(StatementHandle statement);

    [LibraryImport(Library)]
    internal static partial int sqlite3_step(StatementHandle statement);

    [LibraryImport(Library)]
    internal static partial int sqlite3_bind_null(StatementHandle statement, int index);

    [LibraryImport(Library)]
    internal static partial int sqlite3_bind_int64(StatementHandle statement, int index, long value);

    [LibraryImport(Library)]
    internal static partial int sqlite3_bind_text(StatementHandle statement, int index, byte[] text, int bytes, nint destructor);

    [LibraryImport(Library)]
    internal static partial int sqlite3_bind_blob(StatementHandle statement, int index, byte[] blob, int bytes, nint destructor);

    [LibraryImport(Library)]
    internal static partial int sqlite3_column_type(StatementHandle statement, int column);

    [LibraryImport(Library)]
    internal static partial long sqlite3_column_int64(StatementHandle statement, int column);

    [LibraryImport(Library)]
    internal static partial nint sqlite3_column_blob(StatementHandle statement, int column);

    [LibraryImport(Library)]
    internal static partial int sqlite3_column_bytes(StatementHandle statement, int column);
}
