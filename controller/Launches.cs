using System.Text.Json;
using Mayfly.Controller.Database;

namespace Mayfly.Controller;

/// <summary>This controller was taken for gone, and another has taken the launch up.</summary>
internal sealed class ClaimLostException(LaunchId id) : Exception($"another controller has taken up the launch of {id}");

/// <summary>What becomes of every launch. What only the controller that claimed one may write throws <see cref="ClaimLostException"/>
/// for any other, however late it comes.</summary>
internal sealed class Launches(IDatabase database, string controller)
{
    /// <summary>Which runner took the job, and how it came out; known in any order. One that still waits for a machine needs none.</summary>
    public static async ValueTask RecordAsync(ISql sql, WorkflowJob job)
    {
        await LaunchQueue.InsertAsync(sql, job, Order.Nothing, LaunchState.Dropped, "the job had a runner or an end before it was seen to be queued");
        await sql.ExecuteAsync(
            "UPDATE launch SET runner_name = coalesce(?4, runner_name), conclusion = coalesce(?5, conclusion), changed_at = ?6, started_at = coalesce(?7, started_at) WHERE repository = ?1 AND job_id = ?2 AND attempt = ?3",
            job.Repository, job.Id, job.Attempt, job.RunnerName, job.Conclusion, sql.Now.ToText(), job.StartedAt?.ToText());
        if (job.RunnerName is { } runner && runner.StartsWith(LaunchRecord.RunnerPrefix, StringComparison.Ordinal))
            await sql.ExecuteAsync("UPDATE launch SET took_job = ?3 WHERE repository = ?1 AND key = ?2", job.Repository, runner[LaunchRecord.RunnerPrefix.Length..], job.Id);
        await LaunchQueue.DropAsync(sql, job, job.RunnerName is null ? $"the job is {job.Conclusion ?? "under way"}" : $"the job runs on {job.RunnerName}");
    }

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
        return (await LaunchReader.FindAsync(sql, id))!.Spent;
    });

    public Task LaunchedAsync(LaunchId id, string instanceId) => SetMineAsync(id, LaunchState.Launched, "instance_id", instanceId);

    /// <summary>The launch failed for good. Its user is told that and mostly no more: a reason that names accounts and roles is not for a check, which
    /// can be seen by whoever sees the repository.</summary>
    public Task RefusedAsync(LaunchId id, string reason, bool isForUser = false) => database.TransactAsync(async sql =>
    {
        await SetMineAsync(sql, id, LaunchState.Refused, "reason", reason);
        return await sql.ExecuteAsync("UPDATE launch SET tell = ?3 WHERE repository = ?1 AND key = ?2", id.Repository, id.Key, isForUser ? reason : $"The machine could not be launched. The controller's log says why, by {id}.");
    });

    /// <summary>Refusals whose users are to be told now, oldest first; so many as can be told in one go.</summary>
    public Task<List<UntoldRefusal>> UntoldAsync() => database.TransactAsync(sql => sql.QueryAsync(
        "SELECT repository, key, installation, job_id, run_id, name, head_sha, tell, changed_at FROM launch WHERE tell IS NOT NULL AND not_before <= ?1 ORDER BY changed_at LIMIT 20",
        row => new UntoldRefusal(new LaunchId(row.Text(0), row.Text(1)), new Repo(row.Integer(2), row.Text(0)), row.Integer(3), row.Integer(4), row.Text(5), row.Text(6), row.Text(7), row.Time(8)), sql.Now.ToText()));

    public Task TellAfterAsync(LaunchId id, TimeSpan pause) => database.TransactAsync(async sql => await sql.ExecuteAsync(
        "UPDATE launch SET not_before = ?3 WHERE repository = ?1 AND key = ?2", id.Repository, id.Key, (sql.Now + pause).ToText()));

    public Task ToldAsync(LaunchId id) => database.TransactAsync(async sql => await sql.ExecuteAsync("UPDATE launch SET tell = NULL WHERE repository = ?1 AND key = ?2", id.Repository, id.Key));

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
    public Task<List<LaunchRecord>> AliveAsync() => database.TransactAsync(sql => new LaunchReader().ReadAsync(sql, $"{LaunchReader.IsAlive} AND state = 'Launched'"));

    /// <summary>Launches that reconciliation has something to do with: machines, those that are being launched, jobs that were not seen
    /// to end though their machine has, and jobs to be run again. A job that waits for its first machine has nothing yet that could be
    /// lost, and the queue may be long; one that waits for another is told of, since its last one is of no use to it.</summary>
    /// <param name="since">What ended earlier is past help.</param>
    /// <param name="named">These too, whatever has become of them.</param>
    public Task<List<LaunchRecord>> UnsettledAsync(TimeSpan since, IEnumerable<LaunchId> named) => database.TransactAsync(async sql =>
    {
        var from = (sql.Now - since).ToText();
        var reader = new LaunchReader();
        var launches = await reader.ReadAsync(sql, LaunchReader.IsAlive);
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
            if (known.Add(id) && await LaunchReader.FindAsync(sql, id) is { } launch)
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
              WHERE state IN {LaunchReader.Settled} AND changed_at < ?1 AND tell IS NULL AND (rerun IS NULL OR rerun <> 'Wanted') AND (bill IS NULL OR bill <> 'Due') AND NOT EXISTS (
                SELECT 1 FROM launch AS other
                WHERE other.repository = old.repository AND other.job_id = old.job_id AND other.attempt = old.attempt
                AND (other.state NOT IN {LaunchReader.Settled} OR other.changed_at >= ?1 OR other.tell IS NOT NULL OR other.rerun = 'Wanted' OR other.bill = 'Due'))
              ORDER BY changed_at LIMIT ?2{sql.SkipLocked})
            """, before, most);
    });

    /// <summary>Every repository that a job came from.</summary>
    public Task<List<Repo>> RepositoriesAsync() => database.TransactAsync(sql => sql.QueryAsync(
        "SELECT repository, max(installation) FROM launch WHERE installation <> 0 GROUP BY repository ORDER BY repository", row => new Repo(row.Integer(1), row.Text(0))));

    public Task<LaunchRecord?> FindAsync(LaunchId id) => database.TransactAsync(sql => LaunchReader.FindAsync(sql, id));

    /// <summary>How many launches stand in each state that is not an end.</summary>
    public static ValueTask<List<(LaunchState State, long Count)>> CountAsync(ISql sql) => sql.QueryAsync(
        $"SELECT state, count(*) FROM launch WHERE {LaunchReader.IsOpen} GROUP BY state", row => (Enum.Parse<LaunchState>(row.Text(0)), row.Integer(1)));

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
}
