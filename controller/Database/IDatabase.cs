namespace Mayfly.Controller.Database;

/// <summary>The store's database: SQLite for one controller, PostgreSQL for several. What is kept in it stands above,
/// once for both, in the SQL that both understand.</summary>
internal interface IDatabase : IAsyncDisposable
{
    /// <summary>Whether other controllers may be using it too.</summary>
    bool IsShared { get; }

    /// <summary>Runs statements as one, all or none; when it returns they are on the disk.</summary>
    /// <param name="act">Waits for nothing but its statements, and leaves no trace elsewhere: it may be run again.</param>
    /// <exception cref="StoreException">The database refused or cannot be reached; nothing was changed, as far as can be known.</exception>
    Task<T> TransactAsync<T>(Func<ISql, ValueTask<T>> act);
}

/// <summary>One transaction's statements. Values are bound to <c>?1</c>, <c>?2</c>, ...: <c>long</c>, <c>int</c>,
/// <c>string</c>, <c>byte[]</c>, <c>DateTimeOffset</c> or null.</summary>
internal interface ISql
{
    /// <summary>The transaction's time: of PostgreSQL's clock where several controllers share one.</summary>
    DateTimeOffset Now { get; }

    /// <summary>Ends a query whose rows are to be worked on: locks them, and passes over those that another works on.
    /// Empty where only one transaction writes at a time.</summary>
    string SkipLocked { get; }

    /// <summary>Ends a query whose rows are to be changed: waits until no other transaction is at them. Empty where only one is.</summary>
    string Lock { get; }

    /// <summary>Runs a statement to its end.</summary>
    /// <returns>Rows changed.</returns>
    ValueTask<int> ExecuteAsync(string sql, params object?[] values);

    /// <summary>Reads all rows.</summary>
    ValueTask<List<T>> QueryAsync<T>(string sql, Func<IRow, T> read, params object?[] values);

    /// <summary>Until the transaction ends, no other transaction holds the lock of this name.</summary>
    ValueTask LockAsync(string name);

    /// <summary>How many of the schema's steps were taken.</summary>
    ValueTask<int> SchemaVersionAsync();

    ValueTask SetSchemaVersionAsync(int version);
}

/// <summary>A row's values, by column.</summary>
internal interface IRow
{
    string Text(int column);

    string? TextOrNull(int column);

    long Integer(int column);

    long? IntegerOrNull(int column);

    byte[] Bytes(int column);
}

/// <summary>The database refused or cannot be reached.</summary>
internal sealed class StoreException(string message, Exception? inner = null) : Exception(message, inner);

internal static class Timestamps
{
    /// <summary>Times are kept as text of one length in UTC, which sorts as they do.</summary>
    public static string ToText(this DateTimeOffset time) => time.UtcDateTime.ToString("O", System.Globalization.CultureInfo.InvariantCulture);

    public static DateTimeOffset Time(this IRow row, int column) => DateTimeOffset.Parse(row.Text(column), System.Globalization.CultureInfo.InvariantCulture);
}
