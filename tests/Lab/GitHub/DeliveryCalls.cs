using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;

namespace Mayfly.Lab.GitHub;

/// <summary>The App's delivery log, newest first, page by page by a cursor; and another attempt.
/// https://docs.github.com/rest/apps/webhooks</summary>
internal sealed class DeliveryCalls(GitHubServer server, TimeProvider time)
{
    /// <summary>GitHub keeps deliveries, and lets them be tried again, for so long.</summary>
    private static readonly TimeSpan Kept = TimeSpan.FromDays(3);

    private const string CursorMark = "v1_";

    public JsonArray List(RestCall call)
    {
        var cursor = call.Query("cursor");
        var below = long.MaxValue;
        if (cursor.Length > 0 && !(cursor.StartsWith(CursorMark, StringComparison.Ordinal) && long.TryParse(cursor[CursorMark.Length..], NumberStyles.None, CultureInfo.InvariantCulture, out below)))
            throw new GitHubFault(422, "Invalid cursor");
        var wanted = call.Query("status");
        if (wanted is not ("" or "success" or "failure"))
            throw new GitHubFault(422, "Invalid request.\n\nInvalid property /status");
        var found = Log.Reverse().Where(d => d.Id < below && (wanted.Length == 0 || d.Succeeded == (wanted == "success"))).Take(call.PerPage + 1).ToList();
        if (found.Count > call.PerPage)
            call.Context.Response.Headers.Link = call.Link("next", "cursor", $"{CursorMark}{found[call.PerPage - 1].Id}");
        return new JsonArray([.. found.Take(call.PerPage).Select(Json)]);
    }

    public JsonObject Show(RestCall call)
    {
        var delivery = Find(call);
        var json = Json(delivery);
        json["url"] = $"{server.Webhooks.Target}";
        json["request"] = new JsonObject { ["headers"] = Headers(server.Webhooks.HeadersOf(delivery.Guid, delivery.Event, delivery.Body)), ["payload"] = JsonNode.Parse(Encoding.UTF8.GetString(delivery.Body)) };
        json["response"] = new JsonObject { ["headers"] = new JsonObject(), ["payload"] = "" };
        return json;
    }

    public async Task<(int Status, JsonNode? Body)> AttemptAsync(RestCall call)
    {
        await server.Webhooks.RedeliverAsync(Find(call));
        return (202, new JsonObject());
    }

    private IEnumerable<Delivery> Log => server.Webhooks.Log.Where(d => d.At > time.GetUtcNow() - Kept);

    private Delivery Find(RestCall call) => Log.FirstOrDefault(d => d.Id == call.Id) ?? throw new GitHubFault(404, "Not Found");

    private JsonObject Json(Delivery delivery)
    {
        var body = JsonNode.Parse(delivery.Body)!;
        return new JsonObject
        {
            ["id"] = delivery.Id, ["guid"] = $"{delivery.Guid}", ["delivered_at"] = delivery.At.UtcDateTime.ToString("O", CultureInfo.InvariantCulture), ["redelivery"] = delivery.IsRedelivery,
            ["duration"] = 0.1, ["status"] = delivery.Succeeded ? "OK" : delivery.Status == 0 ? "failed to connect to host" : $"Invalid HTTP Response: {delivery.Status}",
            ["status_code"] = delivery.Status, ["event"] = delivery.Event, ["action"] = delivery.Action.Length == 0 ? null : delivery.Action,
            ["installation_id"] = (long?)body["installation"]?["id"], ["repository_id"] = (long?)body["repository"]?["id"], ["throttled_at"] = null,
        };
    }

    private static JsonObject Headers(IReadOnlyDictionary<string, string> headers) => new([.. headers.Select(h => KeyValuePair.Create(h.Key, (JsonNode?)JsonValue.Create(h.Value)))]);
}
