using Mayfly.Controller.Database;

namespace Mayfly.Controller.Tests;

/// <summary>A store that an earlier controller made, on both databases.</summary>
public sealed class SchemaTests(PostgresServer postgres) : IAsyncDisposable
{
    private readonly OpenedStores _stores = new(postgres);

    public static TheoryData<string> Kinds => StoreTests.Kinds;

    public ValueTask DisposeAsync() => _stores.DisposeAsync();

    /// <summary>Several controllers start at once where there are several.</summary>
    [Theory]
    [MemberData(nameof(Kinds))]
    public async Task A_store_of_any_earlier_version_is_migrated_once_and_its_launch_under_way_goes_on(string kind)
    {
        var database = await _stores.SettingAsync(kind);
        for (var version = 0; version < Schema.Newest; version++)
        {
            var setting = kind == "sqlite" ? Path.Combine(_stores.Folder, $"{version}.db") : $"{database};Search Path=version{version}";
            await using (var old = Open(setting))
            {
                if (kind != "sqlite")
                    await old.TransactAsync(sql => sql.ExecuteAsync($"CREATE SCHEMA version{version}"));
                await Schema.MigrateAsync(old, version);
                if (version > 0)
                    await old.TransactAsync(sql => FillAsync(sql, version));
            }

            Task<Store>[] opening = [.. Enumerable.Range(0, kind == "sqlite" ? 1 : 3).Select(_ => Task.Run(() => _stores.OpenAsync(setting, TimeProvider.System)))];
            var store = (await Task.WhenAll(opening))[^1];
            Assert.Equal(Schema.Newest, await store.TransactAsync(sql => sql.SchemaVersionAsync()));
            if (version == 0)
                continue;
            Assert.Equal(["open"], await store.Deliveries.OpenAsync());
            Assert.Equal(2, await store.Deliveries.CountAsync());
            if (version == 1) // whose job it is is not known yet; the delivery that began it is open still
                Assert.Empty(await ClaimAsync(store));
            await QueueAsync(store);
            var launch = Assert.Single(await ClaimAsync(store));
            Assert.Equal(("1-1", LaunchState.Storing, "i-1", 3, 1L, "build", 4), (launch.Id.Key, launch.State, launch.InstanceId, launch.Spent, launch.JobId, launch.Name, launch.Order.Vcpus));
            Assert.Equal("done", (await store.Launches.FindAsync(new LaunchId(Job.Repository, "2-1")))!.Ending);
        }
    }

    [Fact]
    public async Task A_database_of_the_first_version_is_migrated_and_its_launches_under_way_go_on()
    {
        var file = await _stores.SettingAsync("sqlite");
        await using (var old = new SqliteDatabase(file, TimeProvider.System))
        {
            await old.TransactAsync(async sql =>
            {
                foreach (var statement in FirstVersion.Split(';'))
                    await sql.ExecuteAsync(statement);
                return 0;
            });
        }

        var store = await _stores.OpenAsync(file, TimeProvider.System);
        Assert.Empty(await ClaimAsync(store)); // whose job it is is not known yet
        await QueueAsync(store); // the delivery that began it is open still
        var launch = Assert.Single(await ClaimAsync(store));
        Assert.Equal((LaunchState.Storing, "i-1", 3, 1L), (launch.State, launch.InstanceId, launch.Spent, launch.JobId));
        Assert.Equal("d1", Assert.Single(await store.Deliveries.OpenAsync()));
    }

    /// <summary>As the first release made it, with a launch that it was at.</summary>
    private const string FirstVersion =
        """
        CREATE TABLE delivery (id TEXT PRIMARY KEY, received_at TEXT NOT NULL, body BLOB NOT NULL, done INTEGER NOT NULL DEFAULT 0, attempts INTEGER NOT NULL DEFAULT 0);
        CREATE INDEX delivery_open ON delivery (received_at) WHERE done = 0;
        CREATE TABLE launch (repository TEXT NOT NULL, key TEXT NOT NULL, state TEXT NOT NULL, instance_id TEXT, runner_name TEXT, conclusion TEXT,
          reason TEXT, ending TEXT, timeline TEXT, spent INTEGER NOT NULL DEFAULT 0, changed_at TEXT NOT NULL, PRIMARY KEY (repository, key));
        INSERT INTO delivery (id, received_at, body) VALUES ('d1', '2026-11-20T12:00:00.0000000Z', x'7B7D');
        INSERT INTO launch (repository, key, state, instance_id, spent, changed_at) VALUES ('octo-org/octo-repo', '1-1', 'Storing', 'i-1', 3, '2026-11-20T12:00:00.0000000Z');
        PRAGMA user_version = 1
        """;

    private static WorkflowJob Job => Some.Job(JobAction.Queued, "mayfly") with { Id = 1 };

    /// <summary>What a controller of that version would have left when it was killed.</summary>
    private static async ValueTask<int> FillAsync(ISql sql, int version)
    {
        var now = sql.Now.ToText();
        foreach (var (id, done) in ((string, int)[])[("open", 0), ("done", 1)])
            await sql.ExecuteAsync("INSERT INTO delivery (id, received_at, body, done) VALUES (?1, ?2, ?3, ?4)", id, now, Some.Event(), done);
        await sql.ExecuteAsync("INSERT INTO launch (repository, key, state, instance_id, spent, changed_at) VALUES (?1, '1-1', 'Storing', 'i-1', 3, ?2)", Job.Repository, now);
        await sql.ExecuteAsync("INSERT INTO launch (repository, key, state, instance_id, ending, changed_at) VALUES (?1, '2-1', 'Ended', 'i-2', 'done', ?2)", Job.Repository, now);
        return version == 1 ? 0 : await sql.ExecuteAsync(
            "UPDATE launch SET installation = ?1, job_id = 1, run_id = ?2, name = 'build', labels = '[\"mayfly\"]', wanted = ?3, vcpus = 4, queued_at = ?4, owner = 'gone' WHERE key = '1-1'",
            Job.Installation, Job.RunId, Some.Text(Some.Order(4)), now);
    }

    private static Task<(LaunchRecord, bool)> QueueAsync(Store store) => store.TransactAsync(sql => LaunchQueue.AddAsync(sql, Job, Some.Order(4)));

    private static Task<List<LaunchRecord>> ClaimAsync(Store store) => store.Queue.ClaimAsync(10, (waiting, _, _) => waiting.FirstOrDefault());

    private static IDatabase Open(string setting) => setting.Contains('=', StringComparison.Ordinal) ? PostgresDatabase.Open(setting, null) : new SqliteDatabase(setting, TimeProvider.System);
}
