using System.Globalization;
using Mayfly.Controller.Sqlite;

namespace Mayfly.Controller;

/// <summary>Where a job's machine stands.</summary>
internal enum LaunchState
{
    /// <summary>Decided on; asked of GitHub and EC2, perhaps more than once. No machine has a configuration yet.</summary>
    Launching,

    /// <summary>The machine runs and its configuration is being stored: from here on it may have taken it.</summary>
    Storing,

    /// <summary>The machine is being ended again, since a part of the launch failed.</summary>
    Undoing,

    /// <summary>The machine runs and its configuration is stored.</summary>
    Launched,

    /// <summary>The machine is gone; its console has been read.</summary>
    Ended,

    /// <summary>No machine: the reason says why.</summary>
    Refused,
}

/// <summary>What is known of one job's machine.</summary>
/// <param name="Spent">How many client tokens EC2 has answered for good: the next launch is a new request to it.</param>
/// <param name="InstanceId">From <see cref="LaunchState.Storing"/> on.</param>
internal sealed record LaunchRecord(
    int Spent, string Repository, string Key, LaunchState State, DateTimeOffset ChangedAt, string? InstanceId, string? RunnerName, string? Conclusion,
    string? Reason, string? Ending, string? Timeline);

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
          reason TEXT, ending TEXT, timeline TEXT, spent INTEGER NOT NULL DEFAULT 0, changed_at TEXT NOT NULL, PRIMARY KEY (repository, key));
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

    /// <summary>The machine is about to be given its configuration.</summary>
    public void Storing(string repository, string key, string instanceId) => Set(repository, key, LaunchState.Storing, "instance_id", instanceId);

    public void Launched(string repository, string key, string instanceId) => Set(repository, key, LaunchState.Launched, "instance_id", instanceId);

    /// <summary>The machine is about to be ended; written down first, so that a crash cannot forget it.</summary>
    public void Undoing(string repository, string key, string instanceId) => Set(repository, key, LaunchState.Undoing, "instance_id", instanceId);

    /// <summary>What was made is gone, and with it the client token: EC2 answers the next launch anew.</summary>
    public void Undone(string repository, string key)
    {
        lock (_lock)
        {
            _database.Execute("UPDATE launch SET state = ?, instance_id = NULL, spent = spent + 1, changed_at = ? WHERE repository = ? AND key = ?",
                nameof(LaunchState.Launching), Now(), repository, key);
        }
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

    /// <summary>Takes the lock that every write takes and gives it back.</summary>
    /// <exception cref="SqliteException">Nothing can be written.</exception>
    public void CheckWritable()
    {
        lock (_lock)
            _database.Transact(() => { });
    }

    public int CountDeliveries()
    {
        lock (_lock)
            return (int)_database.Query("SELECT count(*) FROM delivery", row => row.Integer(0))[0];
    }

    public void Dispose() => _database.Dispose();

    private const string Select = "SELECT spent, repository, key, state, changed_at, instance_id, runner_name, conclusion, reason, ending, timeline FROM launch";

    private static LaunchRecord Read(Statement row) => new(
        (int)row.Integer(0), row.Text(1), row.Text(2), Enum.Parse<LaunchState>(row.Text(3)),
        DateTimeOffset.Parse(row.Text(4), CultureInfo.InvariantCulture), row.TextOrNull(5), row.TextOrNull(6), row.TextOrNull(7), row.TextOrNull(8), row.TextOrNull(9), row.TextOrNull(10));

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
