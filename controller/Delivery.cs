using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Mayfly.Controller;

/// <summary>Why a delivery is not taken: the status it is answered with, a word for the counter, and a sentence for people.</summary>
internal sealed record Refusal(int Status, string Code, string Reason);

/// <summary>
/// A webhook delivery that GitHub signed, from an installation and a repository that the operator listed. There is no
/// other way to one than <see cref="Verify"/>: nothing unverified goes any further.
/// </summary>
internal sealed class Delivery
{
    private const string Scheme = "sha256=";

    private Delivery(string id, byte[] body) => (Id, Body) = (id, body);

    /// <summary>GitHub's X-GitHub-Delivery: the same when it is sent again.</summary>
    public string Id { get; }

    public byte[] Body { get; }

    /// <summary>Checks a delivery; the signature first, before a byte of the body is understood.
    /// https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries</summary>
    public static (Delivery? Delivery, Refusal? Refusal) Verify(IHeaderDictionary headers, byte[] body, IReadOnlyList<byte[]> secrets, Settings settings)
    {
        var signature = headers["X-Hub-Signature-256"].ToString();
        if (signature.Length == 0)
            return Refuse(401, "missing-signature", "X-Hub-Signature-256 is missing: set a secret for the App's webhook");
        if (!IsRight(signature, body, secrets))
            return Refuse(401, "wrong-signature", "X-Hub-Signature-256 does not match the body: the App and this controller have different secrets");

        var id = headers["X-GitHub-Delivery"].ToString();
        if (!Guid.TryParse(id, out _))
            return Refuse(400, "missing-id", "X-GitHub-Delivery is not a delivery's id");
        var name = headers["X-GitHub-Event"].ToString();
        if (name != "workflow_job")
            return Refuse(200, name == "ping" ? "ping" : "wrong-event", $"nothing to do for event '{name}': this controller takes workflow_job");

        EventHead? head;
        try
        {
            head = JsonSerializer.Deserialize(body, EventJson.Default.EventHead);
        }
        catch (JsonException)
        {
            return Refuse(400, "malformed", "the body is not the JSON of an event");
        }

        if (head?.Action is null || head.Repository?.FullName is not { } repository)
            return Refuse(400, "malformed", "the event has no action or no repository");
        if (head.Installation is null || !settings.Installations.Contains(head.Installation.Id))
            return Refuse(403, "foreign-installation", $"installation {head.Installation?.Id} is not in Mayfly:GitHub:Installations");
        if (!settings.Lists(repository))
            return Refuse(403, "unlisted-repository", $"repository {repository} is not in Mayfly:GitHub:Repositories");
        return (new Delivery(id, body), null);
    }

    /// <summary>All are tried, whichever is right: the time tells nothing.</summary>
    private static bool IsRight(string signature, byte[] body, IReadOnlyList<byte[]> secrets)
    {
        Span<byte> right = stackalloc byte[Scheme.Length + (2 * SHA256.HashSizeInBytes)];
        var (given, isRight) = (Encoding.UTF8.GetBytes(signature), false);
        foreach (var secret in secrets)
        {
            Encoding.ASCII.GetBytes(Scheme + Convert.ToHexStringLower(HMACSHA256.HashData(secret, body)), right);
            isRight |= CryptographicOperations.FixedTimeEquals(right, given);
        }

        return isRight;
    }

    private static (Delivery?, Refusal?) Refuse(int status, string code, string reason) => (null, new Refusal(status, code, reason));
}

internal sealed record EventHead(string? Action, EventInstallation? Installation, EventRepository? Repository);

internal sealed record EventInstallation(long Id);

internal sealed record EventRepository(string? FullName);

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(EventHead))]
[JsonSerializable(typeof(WorkflowJobEvent))]
internal sealed partial class EventJson : JsonSerializerContext;
