using System.Globalization;
using System.Text.Json;
using Mayfly.Controller.Database;

namespace Mayfly.Controller;

/// <summary>A job that waits for a machine, as far as the order of the queue depends on it.</summary>
/// <param name="Installation">Whose calls to GitHub it takes.</param>
internal sealed record WaitingLaunch(LaunchId Id, DateTimeOffset QueuedAt, int Vcpus, long Installation);

/// <summary>What of a repository's is alive or being launched.</summary>
/// <param name="LastTurn">When it was last its turn; null if never.</param>
internal sealed record Load(int Machines, int Vcpus, DateTimeOffset? LastTurn = null)
{
    public static readonly Load None = new(0, 0);

    public Load With(WaitingLaunch launch, DateTimeOffset now) => new(Machines + 1, Vcpus + launch.Vcpus, now);
}

/// <summary>Whose turn it is; null: nobody's, as long as no machine ends.</summary>
internal delegate WaitingLaunch? NextInLine(IReadOnlyCollection<WaitingLaunch> waiting, IReadOnlyDictionary<string, Load> alive, DateTimeOffset now);

/// <summary>This controller was taken for gone, and another has taken the launch up.</summary>
internal sealed class ClaimLostException(LaunchId id) : Exception($"another controller has taken up the launch of {id}");

/// <summary>The queue, and what becomes of every launch. One controller at a time is at a launch: the one that claimed it.
/// What only that one may write throws <see cref="ClaimLostException"/> for any other, however late it comes.</summary>
internal sealed class Launches(IDatabase database, string controller)
{
    private const string AtWork = "('Launching', 'Storing', 'Undoing')";

    private const string Settled = "('Ended', 'Refused', 'Dropped')";

    // In the words of Schema's indices: SQLite takes an index of some rows only where a query repeats its condition.
    private const string IsOpen = $"state NOT IN {Settled}";
    private const string IsAlive = "state IN ('Launching', 'Storing', 'Undoing', 'Launched')";

    /// <summary>Repositories that are asked for their first in line at once.</summary>
    private const int Together = 16;

    /// <summary>The first in line of each repository; ?1 how many, ?2 now, and the repositories from ?3 on.</summary>
    private static readonly string FirstInLine = string.Join(" UNION ALL ", Enumerable.Range(3, Together).Select(number => string.Create(CultureInfo.InvariantCulture,
        $"""
        SELECT * FROM (
          SELECT repository, key, queued_at, vcpus, installation FROM launch
          WHERE state = 'Waiting' AND repository = ?{number} AND not_before <= ?2 ORDER BY queued_at, key LIMIT ?1) AS line{number}
        """)));

    /// <summary>Puts a job in the queue, unless a machine was decided on before. One that is run again since EC2 interrupted it
    /// is given what EC2 does not take back.</summary>
    /// <returns>The job's newest launch, and whether it is new.</returns>
    public static async ValueTask<(LaunchRecord Launch, bool IsNew)> QueueAsync(ISql sql, WorkflowJob job, Order order)
    {
        if (order.Spot == SpotMode.Rerun && await WasInterruptedAsync(sql, job))
            order = order.OnDemand();
        var isNew = await InsertAsync(sql, job, order, LaunchState.Waiting, null);
        var launch = (await NewestAsync(sql, job))!;
        if (isNew || launch is not { State: LaunchState.Dropped, RunnerName: null, Conclusion: null })
            return (launch, isNew);
        await SetAsync(sql, launch.Id, LaunchState.Waiting, "reason", null); // it waited for its environment
        return ((await NewestAsync(sql, job))!, true);
    }

    /// <summary>Queues another machine for a job whose last one is of no use to it.</summary>
    /// <returns>False if somebody did so before.</returns>
    public Task<bool> ReplaceAsync(LaunchRecord last) => database.TransactAsync(async sql => await sql.ExecuteAsync(
        """
        INSERT INTO launch (repository, key, state, changed_at, installation, job_id, run_id, attempt, machine, name, labels, wanted, vcpus, queued_at, head_sha)
        SELECT repository, ?3, ?4, ?5, installation, job_id, run_id, attempt, machine + 1, name, labels, wanted, vcpus, queued_at, head_sha
        FROM launch WHERE repository = ?1 AND key = ?2 ON CONFLICT DO NOTHING
        """,
        last.Id.Repository, last.Id.Key, KeyOf(last.JobId, last.Attempt, last.Machine + 1), nameof(LaunchState.Waiting), sql.Now.ToText()) == 1);

    /// <summary>Gives a job no more machines, for its user to be told.</summary>
    /// <returns>False if somebody decided before.</returns>
    public Task<bool> RefuseAnotherAsync(LaunchRecord last, string reason) => database.TransactAsync(async sql => await sql.ExecuteAsync(
        """
        INSERT INTO launch (repository, key, state, changed_at, installation, job_id, run_id, attempt, machine, name, labels, wanted, vcpus, queued_at, head_sha, reason, tell)
        SELECT repository, ?3, ?4, ?5, installation, job_id, run_id, attempt, machine + 1, name, labels, wanted, vcpus, queued_at, head_sha, ?6, ?6
        FROM launch WHERE repository = ?1 AND key = ?2 ON CONFLICT DO NOTHING
        """,
        last.Id.Repository, last.Id.Key, KeyOf(last.JobId, last.Attempt, last.Machine + 1), nameof(LaunchState.Refused), sql.Now.ToText(), reason) == 1);

    /// <summary>Keeps a job that is given no machine, for its user to be told.</summary>
    public static async ValueTask RefuseAsync(ISql sql, WorkflowJob job, string reason)
    {
        if (await InsertAsync(sql, job, Order.Nothing, LaunchState.Refused, reason))
            await sql.ExecuteAsync("UPDATE launch SET tell = reason WHERE repository = ?1 AND key = ?2", job.Repository, KeyOf(job.Id, job.Attempt, 1));
    }

    /// <summary>Which runner took the job, and how it came out; known in any order. One that still waits for a machine needs none.</summary>
    public static async ValueTask RecordAsync(ISql sql, WorkflowJob job)
    {
        await InsertAsync(sql, job, Order.Nothing, LaunchState.Dropped, "the job had a runner or an end before it was seen to be queued");
        await sql.ExecuteAsync(
            "UPDATE launch SET runner_name = coalesce(?4, runner_name), conclusion = coalesce(?5, conclusion), changed_at = ?6, started_at = coalesce(?7, started_at) WHERE repository = ?1 AND job_id = ?2 AND attempt = ?3",
            job.Repository, job.Id, job.Attempt, job.RunnerName, job.Conclusion, sql.Now.ToText(), job.StartedAt?.ToText());
        if (job.RunnerName is { } runner && runner.StartsWith(LaunchRecord.RunnerPrefix, StringComparison.Ordinal))
            await sql.ExecuteAsync("UPDATE launch SET took_job = ?3 WHERE repository = ?1 AND key = ?2", job.Repository, runner[LaunchRecord.RunnerPrefix.Length..], job.Id);
        await DropAsync(sql, job, job.RunnerName is null ? $"the job is {job.Conclusion ?? "under way"}" : $"the job runs on {job.RunnerName}");
    }

    /// <summary>Takes a job that still waits for a machine out of the queue.</summary>
    public static async ValueTask DropAsync(ISql sql, WorkflowJob job, string reason) => await sql.ExecuteAsync(
        "UPDATE launch SET state = ?4, reason = ?5, changed_at = ?6 WHERE repository = ?1 AND job_id = ?2 AND attempt = ?3 AND state = 'Waiting'",
        job.Repository, job.Id, job.Attempt, nameof(LaunchState.Dropped), reason, sql.Now.ToText());

    /// <summary>Claims launches for this controller: first those that were begun and nobody is at, then whose turn it is in the queue.</summary>
    public Task<List<LaunchRecord>> ClaimAsync(int most, NextInLine next) => database.TransactAsync(async sql =>
    {
        await sql.LockAsync("queue"); // or two controllers would fill the same place below a cap
        var now = sql.Now.ToText();
        var claimed = await sql.QueryAsync(
            $"SELECT repository, key FROM launch WHERE {IsOpen} AND state IN {AtWork} AND job_id <> 0 AND not_before <= ?1 AND {Membership.IsFree("?1")} ORDER BY queued_at LIMIT ?2",
            row => new LaunchId(row.Text(0), row.Text(1)), now, most);
        if (claimed.Count < most)
            claimed.AddRange(await InLineAsync(sql, most - claimed.Count, next));
        var launches = new List<LaunchRecord>();
        foreach (var id in claimed)
        {
            await sql.ExecuteAsync(
                "UPDATE launch SET state = CASE state WHEN 'Waiting' THEN 'Launching' ELSE state END, owner = ?3, tries = tries + 1, changed_at = ?4 WHERE repository = ?1 AND key = ?2",
                id.Repository, id.Key, controller, now);
            launches.Add((await FindAsync(sql, id))!);
        }

        return launches;
    });

    /// <summary>The machine is about to be given its configuration.</summary>
    public Task StoringAsync(LaunchId id, string instanceId) => SetMineAsync(id, LaunchState.Storing, "instance_id", instanceId);

    /// <summary>The machine is about to be ended; written down first, so that a crash cannot forget it.</summary>
    public Task UndoingAsync(LaunchId id, string instanceId) => SetMineAsync(id, LaunchState.Undoing, "instance_id", instanceId);

    /// <summary>What was made is gone, and with it the client token: EC2 answers the next launch anew.</summary>
    /// <returns>How many tokens are spent now.</returns>
    public Task<int> UndoneAsync(LaunchId id) => database.TransactAsync(async sql =>
    {
        await SetMineAsync(sql, id, LaunchState.Launching, "instance_id", null);
        await sql.ExecuteAsync("UPDATE launch SET spent = spent + 1 WHERE repository = ?1 AND key = ?2", id.Repository, id.Key);
        return (await FindAsync(sql, id))!.Spent;
    });

    public Task LaunchedAsync(LaunchId id, string instanceId) => SetMineAsync(id, LaunchState.Launched, "instance_id", instanceId);

    /// <summary>The launch failed for good. Its user is told that and no more: the reason names accounts and roles, and a check can be seen
    /// by whoever sees the repository.</summary>
    public Task RefusedAsync(LaunchId id, string reason) => database.TransactAsync(async sql =>
    {
        await SetMineAsync(sql, id, LaunchState.Refused, "reason", reason);
        return await sql.ExecuteAsync("UPDATE launch SET tell = ?3 WHERE repository = ?1 AND key = ?2", id.Repository, id.Key, $"The machine could not be launched. The controller's log says why, by {id}.");
    });

    /// <summary>Refusals whose users have not been told, oldest first; so many as can be told in one go.</summary>
    public Task<List<UntoldRefusal>> UntoldAsync() => database.TransactAsync(sql => sql.QueryAsync(
        "SELECT repository, key, installation, job_id, run_id, name, head_sha, tell, changed_at FROM launch WHERE tell IS NOT NULL ORDER BY changed_at LIMIT 20",
        row => new UntoldRefusal(new LaunchId(row.Text(0), row.Text(1)), new Repo(row.Integer(2), row.Text(0)), row.Integer(3), row.Integer(4), row.Text(5), row.Text(6), row.Text(7), row.Time(8))));

    public Task ToldAsync(LaunchId id) => database.TransactAsync(async sql => await sql.ExecuteAsync("UPDATE launch SET tell = NULL WHERE repository = ?1 AND key = ?2", id.Repository, id.Key));

    /// <summary>Takes a launch that nobody has claimed yet out of the queue for good.</summary>
    /// <returns>False if somebody has claimed it.</returns>
    public Task<bool> RefuseWaitingAsync(LaunchId id, string reason) => database.TransactAsync(async sql => await sql.ExecuteAsync(
        "UPDATE launch SET state = 'Refused', reason = ?3, tell = ?3, changed_at = ?4 WHERE repository = ?1 AND key = ?2 AND state = 'Waiting'", id.Repository, id.Key, reason, sql.Now.ToText()) == 1);

    public Task DroppedAsync(LaunchId id, string reason) => SetMineAsync(id, LaunchState.Dropped, "reason", reason);

    /// <summary>Gives the launch back: any controller takes it up after the pause.</summary>
    public Task AgainAfterAsync(LaunchId id, TimeSpan pause) => database.TransactAsync(async sql => await sql.ExecuteAsync(
        "UPDATE launch SET owner = NULL, not_before = ?3 WHERE repository = ?1 AND key = ?2 AND owner = ?4", id.Repository, id.Key, (sql.Now + pause).ToText(), controller));

    /// <param name="rerun">Null if its job is not to be run again.</param>
    /// <param name="usage">Null if it is not known.</param>
    public Task EndedAsync(LaunchId id, string ending, string timeline, Rerun? rerun = null, Usage? usage = null) => database.TransactAsync(async sql =>
    {
        await SetAsync(sql, id, LaunchState.Ended, "ending", ending);
        return await sql.ExecuteAsync("UPDATE launch SET timeline = ?3, rerun = ?4, usage = ?5, bill = 'Due' WHERE repository = ?1 AND key = ?2",
            id.Repository, id.Key, timeline, rerun?.ToString(), usage is null ? null : JsonSerializer.Serialize(usage, UsageJson.Default.Usage));
    });

    /// <summary>Machines that have ended and of which it is not known yet what they cost, oldest first.</summary>
    public Task<List<LaunchRecord>> DueAsync(int most) => database.TransactAsync(sql => new LaunchReader().ReadAsync(sql, "bill = 'Due' ORDER BY changed_at LIMIT ?1", most));

    /// <param name="microUsd">Null if it cannot be known.</param>
    /// <returns>False if that has been written down before.</returns>
    public Task<bool> PricedAsync(LaunchId id, long? microUsd) => database.TransactAsync(async sql => await sql.ExecuteAsync(
        "UPDATE launch SET bill = ?3, micro_usd = ?4 WHERE repository = ?1 AND key = ?2 AND bill = 'Due'", id.Repository, id.Key, (microUsd is null ? Bill.Unknown : Bill.Known).ToString(), microUsd) == 1);

    /// <summary>How far running an interrupted job again has come. Stands with the job's own launches too, where another's machine
    /// ran it: the next attempt is known by them.</summary>
    /// <returns>False if the next attempt is here already, by whomever.</returns>
    public Task<bool> RerunAsync(LaunchRecord interrupted, long job, Rerun rerun) => database.TransactAsync(async sql =>
    {
        await sql.ExecuteAsync("UPDATE launch SET rerun = ?3 WHERE repository = ?1 AND key = ?2", interrupted.Id.Repository, interrupted.Id.Key, rerun.ToString());
        await sql.ExecuteAsync("UPDATE launch SET rerun = ?4 WHERE repository = ?1 AND job_id = ?2 AND key <> ?3", interrupted.Id.Repository, job, interrupted.Id.Key,
            (rerun == Rerun.Wanted ? Rerun.Asked : rerun).ToString());
        return (await sql.QueryAsync(
            "SELECT 1 FROM launch AS next JOIN launch AS ran ON next.repository = ran.repository AND next.run_id = ran.run_id AND next.name = ran.name AND next.attempt = ran.attempt + 1 WHERE ran.repository = ?1 AND ran.job_id = ?2 LIMIT 1",
            row => row.Integer(0), interrupted.Id.Repository, job)).Count == 0;
    });

    /// <summary>What GitHub said of a job that was asked for.</summary>
    public Task RecordAsync(WorkflowJob job) => database.TransactAsync(async sql =>
    {
        await RecordAsync(sql, job);
        return 0;
    });

    /// <summary>Launches whose machine runs, as far as is known.</summary>
    public Task<List<LaunchRecord>> AliveAsync() => database.TransactAsync(sql => new LaunchReader().ReadAsync(sql, $"{IsAlive} AND state = 'Launched'"));

    /// <summary>Launches that reconciliation has something to do with: machines, those that are being launched, jobs that were not seen
    /// to end though their machine has, and jobs to be run again. A job that waits for its first machine has nothing yet that could be
    /// lost, and the queue may be long; one that waits for another is told of, since its last one is of no use to it.</summary>
    /// <param name="since">What ended earlier is past help.</param>
    /// <param name="named">These too, whatever has become of them.</param>
    public Task<List<LaunchRecord>> UnsettledAsync(TimeSpan since, IEnumerable<LaunchId> named) => database.TransactAsync(async sql =>
    {
        var from = (sql.Now - since).ToText();
        var reader = new LaunchReader();
        var launches = await reader.ReadAsync(sql, IsAlive);
        launches.AddRange(await reader.ReadAsync(sql, "state = 'Waiting' AND machine > 1"));
        var ended = await reader.ReadAsync(sql,
            """
            state = 'Ended' AND conclusion IS NULL AND changed_at >= ?1 AND NOT EXISTS (
              SELECT 1 FROM launch AS newer
              WHERE newer.repository = launch.repository AND newer.job_id = launch.job_id AND newer.attempt = launch.attempt AND newer.machine > launch.machine)
            """, from);
        ended.AddRange(await reader.ReadAsync(sql, "rerun = 'Wanted'"));
        var known = launches.Select(l => l.Id).ToHashSet();
        launches.AddRange(ended.Where(l => known.Add(l.Id)));
        foreach (var id in named)
        {
            if (known.Add(id) && await FindAsync(sql, id) is { } launch)
                launches.Add(launch);
        }

        return launches;
    });

    /// <summary>Deletes launches that are settled, the oldest first: at an end, with nothing left to tell anybody, to run again or to price. A job's
    /// launches go together, since as long as one stands the job is known to have been given a machine.</summary>
    /// <param name="age">Since the last change of the youngest that may go.</param>
    /// <returns>How many.</returns>
    public Task<int> ForgetAsync(TimeSpan age, int most) => database.TransactAsync(async sql =>
    {
        var before = (sql.Now - age).ToText();
        // Without a turn a repository has its turn by what waits: the same, unless something has waited for longer.
        await sql.ExecuteAsync("DELETE FROM turn WHERE taken_at < ?1 AND NOT EXISTS (SELECT 1 FROM launch WHERE launch.repository = turn.repository AND state = 'Waiting')", before);
        return await sql.ExecuteAsync(
            $"""
            DELETE FROM launch WHERE (repository, key) IN (
              SELECT repository, key FROM launch AS old
              WHERE state IN {Settled} AND changed_at < ?1 AND tell IS NULL AND (rerun IS NULL OR rerun <> 'Wanted') AND (bill IS NULL OR bill <> 'Due') AND NOT EXISTS (
                SELECT 1 FROM launch AS other
                WHERE other.repository = old.repository AND other.job_id = old.job_id AND other.attempt = old.attempt
                AND (other.state NOT IN {Settled} OR other.changed_at >= ?1 OR other.tell IS NOT NULL OR other.rerun = 'Wanted' OR other.bill = 'Due'))
              ORDER BY changed_at LIMIT ?2{sql.SkipLocked})
            """, before, most);
    });

    /// <summary>Every repository that a job came from.</summary>
    public Task<List<Repo>> RepositoriesAsync() => database.TransactAsync(sql => sql.QueryAsync(
        "SELECT repository, max(installation) FROM launch WHERE installation <> 0 GROUP BY repository ORDER BY repository", row => new Repo(row.Integer(1), row.Text(0))));

    public Task<LaunchRecord?> FindAsync(LaunchId id) => database.TransactAsync(sql => FindAsync(sql, id));

    /// <summary>How many launches stand in each state that is not an end.</summary>
    public static ValueTask<List<(LaunchState State, long Count)>> CountAsync(ISql sql) => sql.QueryAsync(
        $"SELECT state, count(*) FROM launch WHERE {IsOpen} GROUP BY state", row => (Enum.Parse<LaunchState>(row.Text(0)), row.Integer(1)));

    /// <summary>When the oldest job that waits was queued; null if none waits.</summary>
    public static async ValueTask<DateTimeOffset?> WaitingSinceAsync(ISql sql) =>
        (await sql.QueryAsync($"SELECT min(queued_at) FROM launch WHERE {IsOpen} AND state = 'Waiting'", row => row.TextOrNull(0) is null ? (DateTimeOffset?)null : row.Time(0)))[0];

    private static async ValueTask<bool> WasInterruptedAsync(ISql sql, WorkflowJob job) => (await sql.QueryAsync(
        "SELECT 1 FROM launch WHERE repository = ?1 AND run_id = ?2 AND attempt = ?3 AND name = ?4 AND rerun IS NOT NULL LIMIT 1",
        row => row.Integer(0), job.Repository, job.RunId, job.Attempt - 1, job.Name)).Count > 0;

    private static async ValueTask<LaunchRecord?> FindAsync(ISql sql, LaunchId id) =>
        await new LaunchReader().ReadAsync(sql, "repository = ?1 AND key = ?2", id.Repository, id.Key) is [var found] ? found : null;

    private static async ValueTask<LaunchRecord?> NewestAsync(ISql sql, WorkflowJob job) =>
        await new LaunchReader().ReadAsync(sql, "repository = ?1 AND job_id = ?2 AND attempt = ?3 ORDER BY machine DESC LIMIT 1", job.Repository, job.Id, job.Attempt) is [var found] ? found : null;

    /// <returns>False if the job was known; one of before <see cref="Schema"/>'s second step is told what it lacked.</returns>
    private static async ValueTask<bool> InsertAsync(ISql sql, WorkflowJob job, Order order, LaunchState state, string? reason)
    {
        var inserted = await sql.ExecuteAsync(
            """
            INSERT INTO launch (repository, key, state, changed_at, installation, job_id, run_id, attempt, name, labels, wanted, vcpus, queued_at, reason, head_sha)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?4, ?13, ?14)
            ON CONFLICT (repository, key) DO UPDATE SET installation = ?5, job_id = ?6, run_id = ?7, attempt = ?8, name = ?9, labels = ?10, wanted = ?11, vcpus = ?12, queued_at = ?4, head_sha = ?14
            WHERE launch.job_id = 0
            """,
            job.Repository, KeyOf(job.Id, job.Attempt, 1), state.ToString(), sql.Now.ToText(), job.Installation, job.Id, job.RunId, job.Attempt, job.Name,
            JsonSerializer.Serialize(job.Labels, OrderJson.Default.IReadOnlyListString), JsonSerializer.Serialize(order, OrderJson.Default.Order), order.Vcpus, reason, job.HeadSha);
        return inserted == 1;
    }

    private static async ValueTask<List<LaunchId>> InLineAsync(ISql sql, int most, NextInLine next)
    {
        var waiting = await FirstOfEachAsync(sql, most);
        if (waiting.Count == 0)
            return [];
        var alive = (await sql.QueryAsync(
            $"SELECT repository, count(*), sum(vcpus) FROM launch WHERE {IsAlive} GROUP BY repository",
            row => (Repository: row.Text(0), Load: new Load((int)row.Integer(1), (int)row.Integer(2))))).ToDictionary(r => r.Repository, r => r.Load);
        foreach (var (repository, takenAt) in await sql.QueryAsync("SELECT repository, taken_at FROM turn", row => (row.Text(0), row.Time(1))))
            alive[repository] = alive.GetValueOrDefault(repository, Load.None) with { LastTurn = takenAt };
        var turns = new List<LaunchId>();
        while (turns.Count < most && next(waiting, alive, sql.Now) is { } turn)
        {
            turns.Add(turn.Id);
            waiting.Remove(turn);
            alive[turn.Id.Repository] = alive.GetValueOrDefault(turn.Id.Repository, Load.None).With(turn, sql.Now);
            await sql.ExecuteAsync(
                "INSERT INTO turn (repository, taken_at) VALUES (?1, ?2) ON CONFLICT (repository) DO UPDATE SET taken_at = ?2", turn.Id.Repository, sql.Now.ToText());
        }

        return turns;
    }

    /// <summary>Of each repository no more than could be claimed: the queue may be long, and what a claim reads does not grow with it.</summary>
    private static async ValueTask<List<WaitingLaunch>> FirstOfEachAsync(ISql sql, int most)
    {
        var repositories = await sql.QueryAsync(
            """
            WITH RECURSIVE line (repository) AS (
              SELECT min(repository) FROM launch WHERE state = 'Waiting'
              UNION ALL
              SELECT (SELECT min(repository) FROM launch WHERE state = 'Waiting' AND launch.repository > line.repository) FROM line WHERE line.repository IS NOT NULL)
            SELECT repository FROM line WHERE repository IS NOT NULL
            """, row => row.Text(0));
        var waiting = new List<WaitingLaunch>();
        foreach (var some in repositories.Chunk(Together))
        {
            waiting.AddRange(await sql.QueryAsync(
                FirstInLine, row => new WaitingLaunch(new LaunchId(row.Text(0), row.Text(1)), row.Time(2), (int)row.Integer(3), row.Integer(4)),
                [most, sql.Now.ToText(), .. some, .. Enumerable.Repeat("", Together - some.Length)]));
        }

        return waiting;
    }

    private Task<int> SetMineAsync(LaunchId id, LaunchState state, string column, string? value) => database.TransactAsync(async sql =>
    {
        await SetMineAsync(sql, id, state, column, value);
        return 0;
    });

    private async ValueTask SetMineAsync(ISql sql, LaunchId id, LaunchState state, string column, string? value)
    {
        if (await sql.QueryAsync($"SELECT 1 FROM launch WHERE repository = ?1 AND key = ?2 AND owner = ?3{sql.Lock}", row => row.Integer(0), id.Repository, id.Key, controller) is [])
            throw new ClaimLostException(id);
        await SetAsync(sql, id, state, column, value);
    }

    /// <summary>An end, and a machine that was launched, is no one's work any more.</summary>
    private static ValueTask<int> SetAsync(ISql sql, LaunchId id, LaunchState state, string column, string? value) => sql.ExecuteAsync(
        $"UPDATE launch SET state = ?3, {column} = ?4, changed_at = ?5{(state is LaunchState.Launching or LaunchState.Storing or LaunchState.Undoing ? "" : ", owner = NULL")} WHERE repository = ?1 AND key = ?2",
        id.Repository, id.Key, state.ToString(), value, sql.Now.ToText());

    private static string KeyOf(long job, long attempt, int machine) => machine == 1 ? $"{job}-{attempt}" : $"{job}-{attempt}-{machine}";
}
