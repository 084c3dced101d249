namespace Mayfly.Controller.Reconciliation;

/// <summary>
/// Finds deliveries that failed in the App's log and has GitHub send them again: by itself it never does.
/// https://docs.github.com/webhooks/using-webhooks/automatically-redelivering-failed-deliveries-for-a-github-app-webhook
/// </summary>
internal sealed partial class Redelivery(Store store, GitHubView github, Settings settings, TimeProvider time, ILogger<Redelivery> log)
{
    /// <summary>Pages of one look. The App's own limit is 5,000 calls an hour.</summary>
    private const int MostPages = 30;

    /// <summary>Requests of one look.</summary>
    private const int MostAsked = 50;

    /// <summary>A delivery stands in the log some time after it was made.</summary>
    private static readonly TimeSpan Overlap = TimeSpan.FromMinutes(5);

    public async Task LookAsync(CancellationToken cancel)
    {
        var now = time.GetUtcNow();
        var since = (await store.Redeliveries.ReadUntilAsync() is { } until && until > now - Plan.Past ? until : now - Plan.Past) - Overlap;
        var seen = new List<DeliverySeen>();
        string? cursor = null;
        for (var pages = 0; pages < MostPages; pages++)
        {
            var (page, next) = await github.DeliveriesAsync(cursor, cancel);
            seen.AddRange(page);
            cursor = next;
            if (next is null || page.Count == 0 || page[^1].DeliveredAt < since)
                break;
            if (pages == MostPages - 1)
                LogTooMany(seen.Count, page[^1].DeliveredAt);
        }

        await store.Redeliveries.NoteAsync(Failed(seen, settings), now);
        foreach (var (delivery, attempt) in await store.Redeliveries.TakeAsync(MostAsked))
        {
            try
            {
                await github.RedeliverAsync(attempt, cancel);
                LogAsked(delivery, attempt);
            }
            catch (GitHubException e)
            {
                LogNotAsked(delivery, attempt, e.Message);
            }
        }
    }

    /// <summary>Deliveries of which no attempt was taken, by their newest. What was refused for what it is would be refused again:
    /// 400, 403 and 413. A wrong signature is not of these, since the secret may have been put right.</summary>
    public static IReadOnlyCollection<(string Guid, long Delivery)> Failed(IEnumerable<DeliverySeen> deliveries, Settings settings) =>
    [
        .. deliveries.Where(d => d.Event == "workflow_job" && d.InstallationId is { } installation && settings.Installations.Contains(installation))
            .GroupBy(d => d.Guid)
            .Where(attempts => !attempts.Any(d => d.StatusCode is (>= 200 and < 300) or 400 or 403 or 413))
            .Select(attempts => (attempts.Key, attempts.Max(d => d.Id))),
    ];

    [LoggerMessage(Level = LogLevel.Warning, Message = "delivery {Delivery}, in GitHub's log {GitHubId}, had failed; GitHub sends it again")]
    private partial void LogAsked(string delivery, long gitHubId);

    [LoggerMessage(Level = LogLevel.Warning, Message = "delivery {Delivery}, in GitHub's log {GitHubId}, had failed, and GitHub does not send it again: {Reason}")]
    private partial void LogNotAsked(string delivery, long gitHubId, string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "the delivery log was read only back to {Until}, after {Count} deliveries; what failed earlier is found by its job")]
    private partial void LogTooMany(int count, DateTimeOffset until);
}
