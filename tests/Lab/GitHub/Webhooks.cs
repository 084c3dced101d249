using System.Collections.Immutable;
using System.Globalization;
using System.Net.Http.Headers;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Mayfly.Lab.GitHub;

/// <summary>One delivery of an event. Ids pass 2^53.</summary>
/// <param name="Status">What it was answered with; 0 if nobody answered.</param>
internal sealed record Delivery(long Id, Guid Guid, string Event, string Action, byte[] Body, int Status, DateTimeOffset At, bool IsRedelivery)
{
    public bool Succeeded => Status is >= 200 and < 300;
}

/// <summary>Sends webhooks as GitHub does: signed, with its headers, once. A failed delivery stays failed until someone asks
/// for another attempt. For tests: <see cref="Target"/>, <see cref="Misdeliver"/>, <see cref="SendAsync(Job, string)"/>,
/// <see cref="RedeliverAsync"/>, <see cref="Log"/> and <see cref="Settled"/>.</summary>
internal sealed class Webhooks(GitHubOptions options, Journal journal, TimeProvider time) : IDisposable
{
    /// <summary>GitHub waits for an answer for 10 s. https://docs.github.com/webhooks/using-webhooks/handling-webhook-deliveries</summary>
    private readonly HttpClient _http = new() { Timeout = TimeSpan.FromSeconds(10) };

    private readonly Lock _lock = new();
    private Task[] _lanes = [Task.CompletedTask];
    private ImmutableList<Delivery> _log = [];
    private Func<Task<int>>? _overtaken;
    private long _lastId = (1L << 53) + 1_000;

    /// <summary>How long an answer is waited for; to be set before the first delivery.</summary>
    public TimeSpan Patience
    {
        set => _http.Timeout = value;
    }

    /// <summary>Where deliveries go; null keeps them undelivered.</summary>
    public Uri? Target { get; set; }

    /// <summary>Asked for each job's event that is about to be sent, with its action; null lets it pass. Redeliveries always do.</summary>
    public Func<Job, string, Misdelivery?>? Misdeliver { get; set; }

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
    /// <returns>What it was answered with; 0 if it was not delivered, or comes later.</returns>
    public Task<int> SendAsync(Job job, string action)
    {
        var (guid, subject, body) = (Guid.NewGuid(), $"{job.Id}", JsonSerializer.SerializeToUtf8Bytes(WebhookPayload.Of(action, job, options)));
        var misdelivery = Misdeliver?.Invoke(job, action);
        switch (misdelivery?.Kind)
        {
            case MisdeliveryKind.Lost:
                journal.Record("github", $"webhook {action}", subject, "lost");
                return Task.FromResult(0);
            case MisdeliveryKind.Failed:
                return Task.FromResult(Keep(guid, "workflow_job", action, body, subject, 0, isRedelivery: false));
            case MisdeliveryKind.Late:
                _ = LaterAsync(misdelivery.By);
                return Task.FromResult(0);
            case MisdeliveryKind.Overtaken:
                lock (_lock)
                    _overtaken = SendItAsync;
                return Task.FromResult(0);
        }

        var sent = SendItAsync();
        if (misdelivery?.Kind == MisdeliveryKind.Twice)
            _ = SendItAsync();
        lock (_lock)
        {
            _ = _overtaken?.Invoke();
            _overtaken = null;
        }

        return sent;

        Task<int> SendItAsync() => EnqueueAsync(guid, "workflow_job", action, body, subject, isRedelivery: false);

        async Task LaterAsync(TimeSpan by)
        {
            await Task.Delay(by, time);
            await SendItAsync();
        }
    }

    /// <summary>Sends an event of any kind, such as one that the receiver does not want.</summary>
    public Task<int> SendAsync(string name, JsonObject body) =>
        EnqueueAsync(Guid.NewGuid(), name, (string?)body["action"] ?? "", JsonSerializer.SerializeToUtf8Bytes(body), name, isRedelivery: false);

    /// <summary>Sends a body again under the same delivery id.</summary>
    public Task<int> RedeliverAsync(Delivery delivery) => EnqueueAsync(delivery.Guid, delivery.Event, delivery.Action, delivery.Body, "redelivery", isRedelivery: true);

    public static string Sign(string secret, byte[] body) => "sha256=" + Convert.ToHexStringLower(HMACSHA256.HashData(Encoding.UTF8.GetBytes(secret), body));

    /// <summary>The headers of a delivery, in the order that its log shows them.</summary>
    public IReadOnlyDictionary<string, string> HeadersOf(Guid guid, string name, byte[] body) => new Dictionary<string, string>
    {
        ["User-Agent"] = "GitHub-Hookshot/lab0001",
        ["X-GitHub-Delivery"] = $"{guid}",
        ["X-GitHub-Event"] = name,
        ["X-GitHub-Hook-ID"] = "412345678",
        ["X-GitHub-Hook-Installation-Target-ID"] = options.AppId.ToString(CultureInfo.InvariantCulture),
        ["X-GitHub-Hook-Installation-Target-Type"] = "integration",
        ["X-Hub-Signature-256"] = Sign(options.WebhookSecret, body),
    };

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
                return Keep(guid, name, action, body, subject, await PostAsync(guid, name, body), isRedelivery);
            });
            _lanes[lane] = sending;
            return sending;
        }
    }

    private async Task<int> PostAsync(Guid guid, string name, byte[] body)
    {
        if (Target is null)
            return 0;
        using var request = new HttpRequestMessage(HttpMethod.Post, Target) { Content = new ByteArrayContent(body) };
        request.Content.Headers.ContentType = new MediaTypeHeaderValue("application/json");
        foreach (var (header, value) in HeadersOf(guid, name, body))
            request.Headers.Add(header, value);
        try
        {
            using var response = await _http.SendAsync(request);
            return (int)response.StatusCode;
        }
        catch (Exception e) when (e is HttpRequestException or TaskCanceledException)
        {
            return 0; // the delivery log tells
        }
    }

    private int Keep(Guid guid, string name, string action, byte[] body, string subject, int status, bool isRedelivery)
    {
        lock (_lock)
            _log = _log.Add(new Delivery(++_lastId, guid, name, action, body, status, time.GetUtcNow(), isRedelivery));
        journal.Record("github", $"webhook {action}", subject, $"answered {status}");
        return status;
    }
}
