using Npgsql;

namespace Mayfly.Controller.Database;

/// <summary>PostgreSQL, shared by several controllers.</summary>
internal sealed class PostgresDatabase : IDatabase
{
    /// <summary>Seconds that one statement may take.</summary>
    private const int StatementLimit = 10;

    /// <summary>A deadlock or a conflict ends one of the transactions; run again it finds the other's work done. So is one whose connection the server
    /// closed before it was to be committed: it restarted, or thought that nobody was there any more.</summary>
    private const int Tries = 3;

    /// <summary>
    /// Begins a transaction: asks for the time, and tells the server what it is to end by itself. A controller that vanishes without a
    /// word (power, network) leaves its locks with the server, which would notice after two hours. So the server ends a transaction whose next
    /// statement does not come within 5 s (they follow each other at once), a statement that takes longer than anybody waits for it,
    /// and a connection that does not acknowledge an answer. Said in each transaction: some poolers refuse options at connecting.
    /// In milliseconds. https://www.postgresql.org/docs/current/runtime-config-client.html
    /// </summary>
    private static readonly string Begin = string.Create(System.Globalization.CultureInfo.InvariantCulture,
        $"""
        SELECT clock_timestamp(), set_config('idle_in_transaction_session_timeout', '5000', true),
          set_config('statement_timeout', '{StatementLimit}000', true), set_config('tcp_user_timeout', '{StatementLimit}000', true)
        """);

    /// <summary>idle_in_transaction_session_timeout. https://www.postgresql.org/docs/current/errcodes-appendix.html</summary>
    private const string IdleTimeout = "25P03";

    private readonly NpgsqlDataSource _source;

    private PostgresDatabase(NpgsqlDataSource source) => _source = source;

    public bool IsShared => true;

    /// <param name="connection">Npgsql's connection string without a password.</param>
    /// <param name="password">The password; null where the file that <c>Passfile</c> names has it, or none is wanted.</param>
    /// <exception cref="StoreException">It cannot be understood, or holds a password.</exception>
    public static PostgresDatabase Open(string connection, string? password)
    {
        NpgsqlConnectionStringBuilder builder;
        try
        {
            builder = new NpgsqlConnectionStringBuilder(connection) { CommandTimeout = StatementLimit, ApplicationName = "mayfly-controller" };
        }
        catch (Exception e) when (e is ArgumentException or FormatException)
        {
            throw new StoreException("Mayfly:Database is neither a file's path nor a connection string of PostgreSQL (Host=...;Database=...;Username=...;Passfile=...)");
        }

        if (!string.IsNullOrEmpty(builder.Password))
            throw new StoreException("Mayfly:Database holds a password; write it into a file and name that by Passfile=, or by Mayfly:DatabasePasswordFile");
        builder.Password = password;
        return new PostgresDatabase(NpgsqlDataSource.Create(builder));
    }

    public async Task<T> TransactAsync<T>(Func<ISql, ValueTask<T>> act)
    {
        for (var attempt = 1; ; attempt++)
        {
            var mayBeDone = false;
            try
            {
                await using var connection = await _source.OpenConnectionAsync();
                await using var transaction = await connection.BeginTransactionAsync();
                var sql = new PostgresSql(connection, await BeginAsync(connection));
                var result = await act(sql);
                mayBeDone = true;
                await transaction.CommitAsync();
                return result;
            }
            catch (NpgsqlException e) when (attempt < Tries && (e.SqlState is PostgresErrorCodes.DeadlockDetected or PostgresErrorCodes.SerializationFailure || (!mayBeDone && IsClosed(e))))
            {
            }
            catch (Exception e) when (e is NpgsqlException or TimeoutException or System.Net.Sockets.SocketException)
            {
                throw new StoreException($"PostgreSQL: {e.Message}", e);
            }
        }
    }

    public ValueTask DisposeAsync() => _source.DisposeAsync();

    /// <summary>By the server: it says so, or the line is found closed. What does not answer in time is another matter.</summary>
    private static bool IsClosed(NpgsqlException e) => e.SqlState is PostgresErrorCodes.AdminShutdown or IdleTimeout || e.InnerException is IOException;

    private static async Task<DateTimeOffset> BeginAsync(NpgsqlConnection connection)
    {
        await using var command = new NpgsqlCommand(Begin, connection);
        return new DateTimeOffset((DateTime)(await command.ExecuteScalarAsync())!, TimeSpan.Zero);
    }

    private sealed class PostgresSql(NpgsqlConnection connection, DateTimeOffset now) : ISql
    {
        public DateTimeOffset Now => now;

        public string SkipLocked => " FOR UPDATE SKIP LOCKED";

        public string Lock => " FOR UPDATE";

        public async ValueTask<int> ExecuteAsync(string sql, params object?[] values)
        {
            await using var command = Command(sql, values);
            return await command.ExecuteNonQueryAsync();
        }

        public async ValueTask<List<T>> QueryAsync<T>(string sql, Func<IRow, T> read, params object?[] values)
        {
            await using var command = Command(sql, values);
            await using var reader = await command.ExecuteReaderAsync();
            var (rows, row) = (new List<T>(), new PostgresRow(reader));
            while (await reader.ReadAsync())
                rows.Add(read(row));
            return rows;
        }

        public async ValueTask LockAsync(string name) => await ExecuteAsync("SELECT pg_advisory_xact_lock(hashtext(?1))", $"mayfly {name}");

        public async ValueTask<int> SchemaVersionAsync()
        {
            await ExecuteAsync("CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)");
            return await QueryAsync("SELECT version FROM schema_version", row => (int)row.Integer(0)) is [var version] ? version : 0;
        }

        public async ValueTask SetSchemaVersionAsync(int version)
        {
            await ExecuteAsync("DELETE FROM schema_version");
            await ExecuteAsync("INSERT INTO schema_version (version) VALUES (?1)", version);
        }

        private NpgsqlCommand Command(string sql, object?[] values)
        {
            // The names of SQLite's types and parameters; none of the three signs stands for anything else in the store's statements.
            var command = new NpgsqlCommand(sql.Replace('?', '$').Replace("BLOB", "BYTEA", StringComparison.Ordinal).Replace("INTEGER", "BIGINT", StringComparison.Ordinal), connection);
            foreach (var value in values)
                command.Parameters.Add(new NpgsqlParameter { Value = Bound(value) });
            return command;
        }
    }

    /// <summary>PostgreSQL's texts hold every character but one, which names from outside may hold all the same: it is left out.</summary>
    private static object Bound(object? value) => value switch
    {
        null => DBNull.Value,
        int number => (long)number,
        string text => text.Replace("\0", "", StringComparison.Ordinal),
        _ => value,
    };

    private sealed class PostgresRow(NpgsqlDataReader reader) : IRow
    {
        public string Text(int column) => reader.GetString(column);

        public string? TextOrNull(int column) => reader.IsDBNull(column) ? null : reader.GetString(column);

        public long Integer(int column) => Convert.ToInt64(reader.GetValue(column), System.Globalization.CultureInfo.InvariantCulture);

        public long? IntegerOrNull(int column) => reader.IsDBNull(column) ? null : Integer(column);

        public byte[] Bytes(int column) => reader.GetFieldValue<byte[]>(column);
    }
}
