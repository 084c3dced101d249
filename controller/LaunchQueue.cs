using System.Collections.Concurrent;
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

/// <summary>Jobs that wait for a machine, and whose turn it is. One controller at a time is at a launch: the one that claimed it.</summary>
internal sealed class LaunchQueue(IDatabase database, string controller)
{
    /// <summary>Repositories that are asked for their first in line at once.</summary>
    private const int Together = 16;

    /// <summary>The first in line of each repository; ?1 how many, ?2 now, and the repositories from ?3 on.</summary>
    private static readonly string FirstInLine = string.Join(" UNION ALL ", Enumerable.Range(3, Together).Select(number => string.Create(CultureInfo.InvariantCulture,
        $"""
        SELECT * FROM (
          SELECT repository, key, queued_at, vcpus, installation FROM launch
          WHERE state = 'Waiting' AND repository = ?{number} AND not_before <= ?2 ORDER BY queued_at, key LIMIT ?1) AS line{number}
        """)));

    /// <summary>Launches that this controller claimed and has not left. What bears its name in the store and is not here nobody is at: the answer to the
    /// claim was lost, or it stopped when it was cut off from the store, and is a member again before another has noticed.</summary>
    private readonly ConcurrentDictionary<LaunchId, bool> _atWork = new();

    /// <summary>How many launches this controller is at.</summary>
    public int AtWork => _atWork.Count;

    /// <summary>Puts a job in the queue, unless a machine was decided on before. One that is run again since EC2 interrupted it
    /// is given what EC2 does not take back.</summary>
    /// <returns>The job's newest launch, and whether it is new.</returns>
    public static async ValueTask<(LaunchRecord Launch, bool IsNew)> AddAsync(ISql sql, WorkflowJob job, Order order)
    {
        if (order.Spot == SpotMode.Rerun && await WasInterruptedAsync(sql, job))
            order = order.OnDemand();
        var isNew = await InsertAsync(sql, job, order, LaunchState.Waiting, null);
        var launch = (await NewestAsync(sql, job))!;
        if (isNew || launch is not { State: LaunchState.Dropped, RunnerName: null, Conclusion: null })
            return (launch, isNew);
        await sql.ExecuteAsync("UPDATE launch SET state = 'Waiting', reason = NULL, owner = NULL, changed_at = ?3, queued_at = ?3 WHERE repository = ?1 AND key = ?2",
            launch.Id.Repository, launch.Id.Key, sql.Now.ToText()); // it waited for its environment
        return ((await NewestAsync(sql, job))!, true);
    }

    /// <summary>Claims launches for this controller: first those that were begun and nobody is at, then whose turn it is in the queue. It is
    /// at each until <see cref="Left"/>.</summary>
    public async Task<List<LaunchRecord>> ClaimAsync(int most, NextInLine next)
    {
        var claimed = await database.TransactAsync(async sql =>
        {
            await sql.LockAsync("queue"); // or two controllers would fill the same place below a cap
            var now = sql.Now.ToText();
            var begun = $"state IN ('Launching', 'Storing', 'Undoing') AND (owner = ?2 OR {Membership.IsFree("?1")})";
            var found = await sql.QueryAsync(
                $"SELECT repository, key FROM launch WHERE {LaunchReader.IsOpen} AND {begun} AND job_id <> 0 AND not_before <= ?1 ORDER BY queued_at LIMIT ?3",
                row => new LaunchId(row.Text(0), row.Text(1)), now, controller, most + _atWork.Count);
            found = [.. found.Where(id => !_atWork.ContainsKey(id)).Take(most)];
            if (found.Count < most)
                found.AddRange(await InLineAsync(sql, most - found.Count, next));
            var claims = new List<LaunchRecord>();
            foreach (var id in found)
            {
                // Found without a lock: the job may have been dropped or refused since, which stands.
                if (await sql.ExecuteAsync(
                    $"UPDATE launch SET state = CASE state WHEN 'Waiting' THEN 'Launching' ELSE state END, owner = ?2, tries = tries + 1, changed_at = ?1 WHERE repository = ?3 AND key = ?4 AND (state = 'Waiting' OR {begun})",
                    now, controller, id.Repository, id.Key) == 1)
                    claims.Add((await LaunchReader.FindAsync(sql, id))!);
            }

            return claims;
        });
        foreach (var launch in claimed)
            _atWork[launch.Id] = true;
        return claimed;
    }

    /// <summary>This controller is no longer at a launch that it claimed. If that has not come to an end, any may claim it, this one too.</summary>
    public void Left(LaunchId id) => _atWork.TryRemove(id, out _);

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

    /// <summary>Takes a job that still waits for a machine out of the queue.</summary>
    public static async ValueTask DropAsync(ISql sql, WorkflowJob job, string reason) => await sql.ExecuteAsync(
        "UPDATE launch SET state = ?4, reason = ?5, changed_at = ?6 WHERE repository = ?1 AND job_id = ?2 AND attempt = ?3 AND state = 'Waiting'",
        job.Repository, job.Id, job.Attempt, nameof(LaunchState.Dropped), reason, sql.Now.ToText());

    /// <summary>Takes a launch that nobody has claimed yet out of the queue for good.</summary>
    /// <returns>False if somebody has claimed it.</returns>
    public Task<bool> RefuseWaitingAsync(LaunchId id, string reason) => database.TransactAsync(async sql => await sql.ExecuteAsync(
        "UPDATE launch SET state = 'Refused', reason = ?3, tell = ?3, changed_at = ?4 WHERE repository = ?1 AND key = ?2 AND state = 'Waiting'", id.Repository, id.Key, reason, sql.Now.ToText()) == 1);

    /// <summary>When the oldest job that waits was queued; null if none waits.</summary>
    public static async ValueTask<DateTimeOffset?> WaitingSinceAsync(ISql sql) =>
        (await sql.QueryAsync($"SELECT min(queued_at) FROM launch WHERE {LaunchReader.IsOpen} AND state = 'Waiting'", row => row.TextOrNull(0) is null ? (DateTimeOffset?)null : row.Time(0)))[0];

    /// <returns>False if the job was known; one of before <see cref="Schema"/>'s second step is told what it lacked.</returns>
    public static async ValueTask<bool> InsertAsync(ISql sql, WorkflowJob job, Order order, LaunchState state, string? reason)
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

    private static string KeyOf(long job, long attempt, int machine) => machine == 1 ? $"{job}-{attempt}" : $"{job}-{attempt}-{machine}";

    private static async ValueTask<List<LaunchId>> InLineAsync(ISql sql, int most, NextInLine next)
    {
        var waiting = await FirstOfEachAsync(sql, most);
        if (waiting.Count == 0)
            return [];
        var alive = (await sql.QueryAsync(
            $"SELECT repository, count(*), sum(vcpus) FROM launch WHERE {LaunchReader.IsAlive} GROUP BY repository",
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

    private static async ValueTask<bool> WasInterruptedAsync(ISql sql, WorkflowJob job) => (await sql.QueryAsync(
        "SELECT 1 FROM launch WHERE repository = ?1 AND run_id = ?2 AND attempt = ?3 AND name = ?4 AND rerun IS NOT NULL LIMIT 1",
        row => row.Integer(0), job.Repository, job.RunId, job.Attempt - 1, job.Name)).Count > 0;

    private static async ValueTask<LaunchRecord?> NewestAsync(ISql sql, WorkflowJob job) =>
        await new LaunchReader().ReadAsync(sql, "repository = ?1 AND job_id = ?2 AND attempt = ?3 ORDER BY machine DESC LIMIT 1", job.Repository, job.Id, job.Attempt) is [var found] ? found : null;
}
