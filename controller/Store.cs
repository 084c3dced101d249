using System.Globalization;
using Mayfly.Controller.Sqlite;

namespace Mayfly.Controller;

/// <summary>Where a job's machine stands.</summary>
internal enum LaunchState
{
    /// <summary>Decided on; asked of GitHub and EC2, perhaps more than once.</summary>
    Launching,

    /// <summary>The machine runs and its configuration is stored.</summary>
    Launched,

    /// <summary>The machine is gone; its console has been read.</summary>
    Ended,

    /// <summary>No machine: the reason says why.</summary>
    Refused,
}

/// <summary>What is known of one job's machine.</summary>
/// <param name="Undone">How many launches were undone: the next one is a new request to EC2, not the same again.</param>
internal sealed record LaunchRecord(
    int Undone, string Repository, string Key, LaunchState State, string? InstanceId, string? RunnerName, string? Conclusion, string? Reason, string? Ending, string? Timeline);

/// <summary>
/// What must survive: deliveries that were accepted, and launches. A commit is on the disk before it returns, and a
/// delivery is answered only then.
/// </summary>
internal sealed class Store : IDisposable
{
    /// <summary>Forward only: a released step is never changed, only followed.</summary>
    private static readonly string[] Migrations =
    [
        """
        CREATE TABLE delivery (
          id TEXT PRIMARY KEY, received_at TEXT NOT NULL, body BLOB NOT NULL, done INTEGER NOT NULL DEFAULT 0, attempts INTEGER NOT NULL DEFAULT 0);
        CREATE INDEX delivery_open ON delivery (received_at) WHERE done = 0;
        CREATE TABLE launch (
          repository TEXT NOT NULL, key TEXT NOT NULL, state TEXT NOT NULL, instance_id TEXT, runner_name TEXT, conclusion TEXT,
          reason TEXT, ending TEXT, timeline TEXT, undone INTEGER NOT NULL DEFAULT 0, changed_at TEXT NOT NULL, PRIMARY KEY (repository, key));
        """,
    ];

    private readonly Lock _lock = new();
    private readonly Database _database;
    private readonly TimeProvider _time;

    /// <exception cref="SqliteException">The file is no database or cannot be written.</exception>
    public Store(string path, TimeProvider time)
    {
        _time = time;
        if (Path.GetDirectoryName(Path.GetFullPath(path)) is { } folder)
            Directory.CreateDirectory(folder);
        _database = new Database(path);
        Migrate();
    }

    /// <summary>Keeps a delivery; one that is there already is kept once.</summary>
    /// <returns>False if it was there.</returns>
    public bool Accept(Delivery delivery)
    {
        lock (_lock)
            return _database.Execute("INSERT OR IGNORE INTO delivery (id, received_at, body) VALUES (?, ?, ?)", delivery.Id, Now(), delivery.Body) == 1;
    }

    public IReadOnlyList<string> OpenDeliveries()
    {
        lock (_lock)
            return _database.Query("SELECT id FROM delivery WHERE done = 0 ORDER BY received_at", row => row.Text(0));
    }

    /// <summary>A delivery that is still to be worked on, and the number of this attempt; null if it is done.</summary>
    public (byte[] Body, int Attempt)? Take(string id)
    {
        lock (_lock)
        {
            _database.Execute("UPDATE delivery SET attempts = attempts + 1 WHERE id = ? AND done = 0", id);
            return _database.Query("SELECT body, attempts FROM delivery WHERE id = ? AND done = 0", row => (row.Bytes(0), (int)row.Integer(1)), id) is [var taken] ? taken : null;
        }
    }

    public void Done(string id)
    {
        lock (_lock)
            _database.Execute("UPDATE delivery SET done = 1 WHERE id = ?", id);
    }

    /// <summary>Begins a launch, or tells of the one that was begun before.</summary>
    public LaunchRecord Begin(string repository, string key)
    {
        lock (_lock)
        {
            _database.Execute("INSERT OR IGNORE INTO launch (repository, key, state, changed_at) VALUES (?, ?, ?, ?)", repository, key, nameof(LaunchState.Launching), Now());
            return Find(repository, key)!;
        }
    }

    public void Launched(string repository, string key, string instanceId) => Set(repository, key, LaunchState.Launched, "instance_id", instanceId);

    /// <summary>A launch failed and what it had made is gone.</summary>
    public void Undone(string repository, string key)
    {
        lock (_lock)
            _database.Execute("UPDATE launch SET undone = undone + 1 WHERE repository = ? AND key = ?", repository, key);
    }

    public void Refused(string repository, string key, string reason) => Set(repository, key, LaunchState.Refused, "reason", reason);

    public void Ended(string repository, string key, string ending, string timeline)
    {
        lock (_lock)
        {
            _database.Transact(() =>
            {
                Set(repository, key, LaunchState.Ended, "ending", ending);
                _database.Execute("UPDATE launch SET timeline = ? WHERE repository = ? AND key = ?", timeline, repository, key);
            });
        }
    }

    /// <summary>Which runner took the job, and how it came out. A job that Mayfly launched nothing for is no business of ours.</summary>
    public void Recorded(WorkflowJob job)
    {
        lock (_lock)
        {
            _database.Execute("UPDATE launch SET runner_name = coalesce(?, runner_name), conclusion = coalesce(?, conclusion), changed_at = ? WHERE repository = ? AND key = ?",
                job.RunnerName, job.Conclusion, Now(), job.Repository, job.Key);
        }
    }

    public LaunchRecord? Find(string repository, string key)
    {
        lock (_lock)
            return _database.Query($"{Select} WHERE repository = ? AND key = ?", Read, repository, key) is [var found] ? found : null;
    }

    public IReadOnlyList<LaunchRecord> Alive()
    {
        lock (_lock)
            return _database.Query($"{Select} WHERE state = ?", Read, nameof(LaunchState.Launched));
    }

    public int CountDeliveries()
    {
        lock (_lock)
            return (int)_database.Query("SELECT count(*) FROM delivery", row => row.Integer(0))[0];
    }

    public void Dispose() => _database.Dispose();

    private const string Select = "SELECT undone, repository, key, state, instance_id, runner_name, conclusion, reason, ending, timeline FROM launch";

    private static LaunchRecord Read(Statement row) => new(
        (int)row.Integer(0), row.Text(1), row.Text(2), Enum.Parse<LaunchState>(row.Text(3)),
        row.TextOrNull(4), row.TextOrNull(5), row.TextOrNull(6), row.TextOrNull(7), row.TextOrNull(8), row.TextOrNull(9));

    private void Set(string repository, string key, LaunchState state, string column, string value)
    {
        lock (_lock)
            _database.Execute($"UPDATE launch SET state = ?, {column} = ?, changed_at = ? WHERE repository = ? AND key = ?", state.ToString(), value, Now(), repository, key);
    }

    private void Migrate()
    {
        var version = (int)_database.Query("PRAGMA user_version", row => row.Integer(0))[0];
        if (version > Migrations.Length)
            throw new SqliteException(0, $"the database is of version {version}, this program knows {Migrations.Length}: run the newer controller");
        for (; version < Migrations.Length; version++)
        {
            _database.Transact(() =>
            {
                foreach (var statement in Migrations[version].Split(';', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries))
                    _database.Execute(statement);
                _database.Execute(string.Create(CultureInfo.InvariantCulture, $"PRAGMA user_version = {version + 1}"));
            });
        }
    }

    private string Now() => _time.GetUtcNow().ToString("O", CultureInfo.InvariantCulture);
}
