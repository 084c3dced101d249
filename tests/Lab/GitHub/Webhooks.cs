using System.Collections.Immutable;
using System.Globalization;
using System.Net.Http.Headers;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;

namespace Mayfly.Lab.GitHub;

/// <summary>One delivery of an event. Ids pass 2^53.</summary>
internal sealed record Delivery(long Id, Guid Guid, string Event, string Action, byte[] Body, int Status, DateTimeOffset At, bool IsRedelivery);

/// <summary>Sends webhooks as GitHub does: signed, with its headers, once. A failed delivery stays failed until someone asks
/// for another attempt.</summary>
internal sealed class Webhooks(GitHubOptions options, Journal journal, TimeProvider time) : IDisposable
{
    /// <summary>GitHub waits this long for an answer.</summary>
    private readonly HttpClient _http = new() { Timeout = TimeSpan.FromSeconds(10) };

    private readonly Lock _lock = new();
    private Task[] _lanes = [Task.CompletedTask];
    private ImmutableList<Delivery> _log = [];
    private long _lastId = (1L << 53) + 1_000;

    /// <summary>Where deliveries go; null keeps them undelivered.</summary>
    public Uri? Target { get; set; }

    public IReadOnlyList<Delivery> Log => _log;

    /// <summary>Deliveries under way at a time; those of one job still come one after the other. 1 by default: then all do.</summary>
    public int Lanes
    {
        get => _lanes.Length;
        set
        {
            lock (_lock)
                _lanes = [.. Enumerable.Repeat(Task.WhenAll(_lanes), value)];
        }
    }

    /// <summary>Completes when everything that was to be sent so far has been sent, or has failed.</summary>
    public Task Settled
    {
        get
        {
            lock (_lock)
                return Task.WhenAll(_lanes);
        }
    }

    /// <summary>Sends an event after those before it. The body tells of the job as it is now.</summary>
    public Task<int> SendAsync(Job job, string action) =>
        EnqueueAsync(Guid.NewGuid(), "workflow_job", action, JsonSerializer.SerializeToUtf8Bytes(WebhookPayload.Of(action, job, options)), $"{job.Id}", isRedelivery: false);

    /// <summary>Sends a body again under the same delivery id.</summary>
    public Task<int> RedeliverAsync(Delivery delivery) => EnqueueAsync(delivery.Guid, delivery.Event, delivery.Action, delivery.Body, "redelivery", isRedelivery: true);

    public static string Sign(string secret, byte[] body) => "sha256=" + Convert.ToHexStringLower(HMACSHA256.HashData(Encoding.UTF8.GetBytes(secret), body));

    public void Dispose() => _http.Dispose();

    private Task<int> EnqueueAsync(Guid guid, string name, string action, byte[] body, string subject, bool isRedelivery)
    {
        lock (_lock)
        {
            var lane = (uint)subject.GetHashCode(StringComparison.Ordinal) % _lanes.Length;
            var before = _lanes[lane];
            var sending = Task.Run(async () =>
            {
                await before;
                return await SendAsync(guid, name, action, body, subject, isRedelivery);
            });
            _lanes[lane] = sending;
            return sending;
        }
    }

    private async Task<int> SendAsync(Guid guid, string name, string action, byte[] body, string subject, bool isRedelivery)
    {
        var status = 0;
        if (Target is not null)
        {
            using var request = new HttpRequestMessage(HttpMethod.Post, Target) { Content = new ByteArrayContent(body) };
            request.Content.Headers.ContentType = new MediaTypeHeaderValue("application/json");
            request.Headers.Add("User-Agent", "GitHub-Hookshot/lab0001");
            request.Headers.Add("X-GitHub-Delivery", $"{guid}");
            request.Headers.Add("X-GitHub-Event", name);
            request.Headers.Add("X-GitHub-Hook-ID", "412345678");
            request.Headers.Add("X-GitHub-Hook-Installation-Target-ID", options.AppId.ToString(CultureInfo.InvariantCulture));
            request.Headers.Add("X-GitHub-Hook-Installation-Target-Type", "integration");
            request.Headers.Add("X-Hub-Signature-256", Sign(options.WebhookSecret, body));
            try
            {
                using var response = await _http.SendAsync(request);
                status = (int)response.StatusCode;
            }
            catch (Exception e) when (e is HttpRequestException or TaskCanceledException)
            {
                // the delivery log tells
            }
        }

        lock (_lock)
            _log = _log.Add(new Delivery(++_lastId, guid, name, action, body, status, time.GetUtcNow(), isRedelivery));
        journal.Record("github", $"webhook {action}", subject, $"answered {status}");
        return status;
    }
}
