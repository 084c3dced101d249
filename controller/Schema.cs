using Mayfly.Controller.Database;

namespace Mayfly.Controller;

/// <summary>The store's tables. Forward only: a step that was released is never changed, only followed.</summary>
internal static class Schema
{
    private static readonly string[] Steps =
    [
        """
        CREATE TABLE delivery (
          id TEXT PRIMARY KEY, received_at TEXT NOT NULL, body BLOB NOT NULL, done INTEGER NOT NULL DEFAULT 0, attempts INTEGER NOT NULL DEFAULT 0);
        CREATE INDEX delivery_open ON delivery (received_at) WHERE done = 0;
        CREATE TABLE launch (
          repository TEXT NOT NULL, key TEXT NOT NULL, state TEXT NOT NULL, instance_id TEXT, runner_name TEXT, conclusion TEXT,
          reason TEXT, ending TEXT, timeline TEXT, spent INTEGER NOT NULL DEFAULT 0, changed_at TEXT NOT NULL, PRIMARY KEY (repository, key));
        """,

        // The queue and several controllers. Launches of before know no job (job_id 0): their deliveries, open still, tell of it.
        """
        ALTER TABLE launch ADD COLUMN installation INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE launch ADD COLUMN run_id INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE launch ADD COLUMN job_id INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE launch ADD COLUMN attempt INTEGER NOT NULL DEFAULT 1;
        ALTER TABLE launch ADD COLUMN machine INTEGER NOT NULL DEFAULT 1;
        ALTER TABLE launch ADD COLUMN name TEXT NOT NULL DEFAULT '';
        ALTER TABLE launch ADD COLUMN labels TEXT NOT NULL DEFAULT '[]';
        ALTER TABLE launch ADD COLUMN wanted TEXT NOT NULL DEFAULT '{}';
        ALTER TABLE launch ADD COLUMN vcpus INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE launch ADD COLUMN queued_at TEXT NOT NULL DEFAULT '';
        ALTER TABLE launch ADD COLUMN not_before TEXT NOT NULL DEFAULT '';
        ALTER TABLE launch ADD COLUMN tries INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE launch ADD COLUMN owner TEXT;
        ALTER TABLE launch ADD COLUMN took_job INTEGER;
        CREATE INDEX launch_at_work ON launch (state, queued_at) WHERE state NOT IN ('Ended', 'Refused', 'Dropped');
        CREATE INDEX launch_job ON launch (repository, job_id, attempt, machine);
        CREATE TABLE controller (id TEXT PRIMARY KEY, started_at TEXT NOT NULL, alive_until TEXT NOT NULL);
        """,

        // When it was last each repository's turn.
        """
        CREATE TABLE turn (repository TEXT PRIMARY KEY, taken_at TEXT NOT NULL);
        """,

        // What a job's user is still to be told of its refusal, and on which commit.
        """
        ALTER TABLE launch ADD COLUMN head_sha TEXT NOT NULL DEFAULT '';
        ALTER TABLE launch ADD COLUMN tell TEXT;
        CREATE INDEX launch_tell ON launch (changed_at) WHERE tell IS NOT NULL;
        """,

        // Reconciliation: jobs that are run again on demand, deliveries that GitHub was asked to send again, and where a look ended.
        """
        ALTER TABLE launch ADD COLUMN rerun TEXT;
        CREATE INDEX launch_rerun ON launch (changed_at) WHERE rerun = 'Wanted';
        CREATE INDEX launch_unsettled ON launch (changed_at) WHERE state = 'Ended' AND conclusion IS NULL;
        CREATE INDEX launch_run ON launch (repository, run_id);
        CREATE TABLE redelivery (guid TEXT PRIMARY KEY, delivery INTEGER NOT NULL, found_at TEXT NOT NULL, not_before TEXT NOT NULL, times INTEGER NOT NULL);
        CREATE TABLE looked (what TEXT PRIMARY KEY, until TEXT NOT NULL);
        """,

        // When the job began, for what is told of waits.
        """
        ALTER TABLE launch ADD COLUMN started_at TEXT;
        """,

        // What is settled, by its age: it is deleted one day.
        """
        CREATE INDEX delivery_done ON delivery (received_at) WHERE done = 1;
        CREATE INDEX launch_settled ON launch (changed_at) WHERE state IN ('Ended', 'Refused', 'Dropped');
        """,

        // The queue, repository by repository, and what is alive: looked at for every machine that is launched.
        """
        CREATE INDEX launch_waiting ON launch (repository, queued_at, key) WHERE state = 'Waiting';
        CREATE INDEX launch_alive ON launch (repository, vcpus) WHERE state IN ('Launching', 'Storing', 'Undoing', 'Launched');
        """,

        // What a machine cost, once it is known. Machines of before have no bill.
        """
        ALTER TABLE launch ADD COLUMN usage TEXT;
        ALTER TABLE launch ADD COLUMN bill TEXT;
        ALTER TABLE launch ADD COLUMN micro_usd INTEGER;
        CREATE INDEX launch_due ON launch (changed_at) WHERE bill = 'Due';
        """,
    ];

    /// <summary>The version that this program works with.</summary>
    public static int Newest => Steps.Length;

    /// <summary>Takes the steps that were not taken yet.</summary>
    /// <param name="to">The version to arrive at.</param>
    /// <exception cref="StoreException">The database is a newer controller's, or a step failed; then none was taken.</exception>
    public static Task<int> MigrateAsync(IDatabase database, int to) => database.TransactAsync(async sql =>
    {
        await sql.LockAsync("schema");
        var version = await sql.SchemaVersionAsync();
        if (version > to)
            throw new StoreException($"the database is of version {version}, this program knows {to}: run the newer controller");
        for (; version < to; version++)
        {
            foreach (var statement in Steps[version].Split(';', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries))
                await sql.ExecuteAsync(statement);
            await sql.SetSchemaVersionAsync(version + 1);
        }

        return version;
    });
}
