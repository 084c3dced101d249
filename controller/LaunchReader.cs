using System.Text.Json;
using Mayfly.Controller.Database;

namespace Mayfly.Controller;

/// <summary>Reads launches from the store. What many of them have in common is kept in memory once: thousands of jobs are of a few
/// repositories, bear the same labels and have the same order.</summary>
internal sealed class LaunchReader
{
    public const string Settled = "('Ended', 'Refused', 'Dropped')";

    // Conditions in the words of Schema's indices: SQLite takes an index of some rows only where a query repeats its condition.
    public const string IsOpen = $"state NOT IN {Settled}";
    public const string IsAlive = "state IN ('Launching', 'Storing', 'Undoing', 'Launched')";

    private readonly Dictionary<string, string> _names = [];
    private readonly Dictionary<string, IReadOnlyList<string>> _labels = [];
    private readonly Dictionary<string, Order> _orders = [];

    /// <param name="condition">SQL: which, and in which order.</param>
    public ValueTask<List<LaunchRecord>> ReadAsync(ISql sql, string condition, params object?[] values) => sql.QueryAsync(
        $"""
        SELECT repository, key, state, changed_at, installation, job_id, run_id, attempt, machine, name, labels, wanted, queued_at,
               tries, spent, instance_id, runner_name, took_job, conclusion, reason, ending, timeline, rerun, started_at,
               usage, bill, micro_usd FROM launch
        WHERE {condition}
        """, Read, values);

    public static async ValueTask<LaunchRecord?> FindAsync(ISql sql, LaunchId id) =>
        await new LaunchReader().ReadAsync(sql, "repository = ?1 AND key = ?2", id.Repository, id.Key) is [var found] ? found : null;

    private LaunchRecord Read(IRow row)
    {
        var repository = Once(_names, row.Text(0), name => name);
        return new LaunchRecord
        {
            Id = new LaunchId(repository, row.Text(1)),
            State = Enum.Parse<LaunchState>(row.Text(2)),
            ChangedAt = row.Time(3),
            Repo = new Repo(row.Integer(4), repository),
            JobId = row.Integer(5),
            RunId = row.Integer(6),
            Attempt = row.Integer(7),
            Machine = (int)row.Integer(8),
            Name = Once(_names, row.Text(9), name => name),
            Labels = Once(_labels, row.Text(10), json => JsonSerializer.Deserialize(json, OrderJson.Default.IReadOnlyListString)!),
            Order = Once(_orders, row.Text(11), json => JsonSerializer.Deserialize(json, OrderJson.Default.Order)!),
            QueuedAt = row.Text(12).Length == 0 ? row.Time(3) : row.Time(12),
            Tries = (int)row.Integer(13),
            Spent = (int)row.Integer(14),
            InstanceId = row.TextOrNull(15),
            RunnerName = row.TextOrNull(16),
            TookJob = row.IntegerOrNull(17),
            Conclusion = row.TextOrNull(18),
            Reason = row.TextOrNull(19),
            Ending = row.TextOrNull(20),
            Timeline = row.TextOrNull(21),
            Rerun = row.TextOrNull(22) is { } rerun ? Enum.Parse<Rerun>(rerun) : null,
            StartedAt = row.TextOrNull(23) is null ? null : row.Time(23),
            Usage = row.TextOrNull(24) is { } usage ? JsonSerializer.Deserialize(usage, UsageJson.Default.Usage) : null,
            Bill = row.TextOrNull(25) is { } bill ? Enum.Parse<Bill>(bill) : null,
            MicroUsd = row.IntegerOrNull(26),
        };
    }

    private static T Once<T>(Dictionary<string, T> known, string text, Func<string, T> read)
    {
        if (!known.TryGetValue(text, out var value))
            known[text] = value = read(text);
        return value;
    }
}
