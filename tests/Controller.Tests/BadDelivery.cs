using System.Text;
using Mayfly.Lab.GitHub;

namespace Mayfly.Controller.Tests;

/// <summary>A delivery that is not to be taken: what GitHub, or someone else, sends, and the answer to it.</summary>
internal sealed record BadDelivery(int Status, string Code)
{
    public byte[] Body { get; init; } = Some.Event();

    public string Event { get; init; } = "workflow_job";

    public string? Id { get; init; } = "72d3162e-cc78-11e3-81ab-4c9367dc0958";

    /// <summary>Makes X-Hub-Signature-256 from the secret and the body.</summary>
    public Func<string, byte[], string?> Sign { get; init; } = Webhooks.Sign;

    /// <summary>Most bytes that a body may have where these are sent.</summary>
    public const int MaxBody = 64 * 1024;

    /// <summary>By what is wrong.</summary>
    public static readonly Dictionary<string, BadDelivery> All = new()
    {
        ["no signature"] = new(401, "missing-signature") { Sign = (_, _) => null },
        ["signed with another secret"] = new(401, "wrong-signature") { Sign = (_, body) => Webhooks.Sign("another secret", body) },
        ["signed with an empty secret"] = new(401, "wrong-signature") { Sign = (_, body) => Webhooks.Sign("", body) },
        ["signature of another body"] = new(401, "wrong-signature") { Sign = (secret, _) => Webhooks.Sign(secret, "{}"u8.ToArray()) },
        ["signature cut short"] = new(401, "wrong-signature") { Sign = (secret, body) => Webhooks.Sign(secret, body)[..^1] },
        ["signature by SHA-1"] = new(401, "wrong-signature") { Sign = (_, _) => "sha1=" + new string('a', 40) },
        ["no delivery id"] = new(400, "missing-id") { Id = null },
        ["a delivery id that is none"] = new(400, "missing-id") { Id = "'; DROP TABLE delivery; --" },
        ["ping"] = new(200, "ping") { Event = "ping", Body = "{\"zen\":\"Design for failure.\"}"u8.ToArray() },
        ["another event"] = new(200, "wrong-event") { Event = "push" },
        ["no event"] = new(200, "wrong-event") { Event = "" },
        ["no JSON"] = new(400, "malformed") { Body = "queued"u8.ToArray() },
        ["JSON cut short"] = new(400, "malformed") { Body = Some.Event()[..^10] },
        ["an empty body"] = new(400, "malformed") { Body = [] },
        ["JSON that is no object"] = new(400, "malformed") { Body = "[1]"u8.ToArray() },
        ["JSON null"] = new(400, "malformed") { Body = "null"u8.ToArray() },
        ["JSON too deep"] = new(400, "malformed") { Body = Encoding.UTF8.GetBytes($"{{\"action\":{new string('[', 10_000)}") },
        ["no action"] = new(400, "malformed") { Body = Some.Event(e => e.Remove("action")) },
        ["no repository"] = new(400, "malformed") { Body = Some.Event(e => e.Remove("repository")) },
        ["an installation id that is text"] = new(400, "malformed") { Body = Some.Event(e => e["installation"]!["id"] = "87654321") },
        ["no installation"] = new(403, "foreign-installation") { Body = Some.Event(e => e.Remove("installation")) },
        ["another installation"] = new(403, "foreign-installation") { Body = Some.Event(e => e["installation"]!["id"] = 1) },
        ["another repository"] = new(403, "unlisted-repository") { Body = Some.Event(e => e["repository"]!["full_name"] = "octo-org/octo-repo-2") },
        ["a repository of another owner"] = new(403, "unlisted-repository") { Body = Some.Event(e => e["repository"]!["full_name"] = "evil-octo-org/octo-repo") },
        ["a body of a byte too many"] = new(413, "oversize") { Body = new byte[MaxBody + 1] },
        ["a body of many megabytes"] = new(413, "oversize") { Body = new byte[8 << 20] },
    };

    public static TheoryData<string> Names => [.. All.Keys];
}
