using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Mayfly.Controller.Seen;
using Mayfly.Lab.GitHub;
using Microsoft.Extensions.Hosting.Internal;
using Microsoft.Extensions.Logging.Abstractions;

namespace Mayfly.Controller.Tests;

/// <summary>Values that a test needs and does not care about.</summary>
internal static class Some
{
    public static readonly byte[] Secret = Encoding.UTF8.GetBytes("a secret of the webhook");

    public static readonly TimeSpan Lease = TimeSpan.FromSeconds(30);

    public static Settings Settings(int maxBody = 1 << 20) => Controller.Settings.Defaults with
    {
        GitHubApi = new Uri("http://127.0.0.1/"), AppId = 1_234_567, Installations = [87_654_321], Repositories = ["octo-org/octo-repo", "other-org/*"], Region = "eu-central-1", MaxBody = maxBody,
    };

    public static Health Health(Store store, TimeProvider time) => new(store, new ApplicationLifetime(NullLogger<ApplicationLifetime>.Instance), time);

    public static WorkflowJob Job(JobAction action = JobAction.Queued, params string[] labels) =>
        new(action, 87_654_321, "octo-org/octo-repo", 43_000_000_001, 13_000_000_001, 1, "build", labels, null, null);

    public static Order Order(int vcpus) => Policies.Order.Nothing with { Region = "eu-central-1", InstanceTypes = ["m7i.xlarge"], Spot = SpotMode.Auto, Vcpus = vcpus };

    /// <summary>An order as it is kept, which is also how two are compared.</summary>
    public static string Text(Order order) => JsonSerializer.Serialize(order, OrderJson.Default.Order);

    /// <summary>A delivery as it passes <see cref="Controller.Delivery.Verify"/>.</summary>
    public static Delivery Delivery(Action<JsonObject>? change = null)
    {
        var body = Event(change);
        var headers = new Microsoft.AspNetCore.Http.HeaderDictionary
        {
            ["X-Hub-Signature-256"] = Webhooks.Sign(Encoding.UTF8.GetString(Secret), body), ["X-GitHub-Delivery"] = $"{Guid.NewGuid()}", ["X-GitHub-Event"] = "workflow_job",
        };
        return Controller.Delivery.Verify(headers, body, [Secret], Settings()).Delivery!;
    }

    /// <summary>An event in the official shape, with what <paramref name="change"/> makes of it.</summary>
    public static byte[] Event(Action<JsonObject>? change = null, string action = "queued")
    {
        var body = WebhookPayload.Of(action, new Job(43_000_000_001, 13_000_000_001, "build", ["mayfly"], [], DateTimeOffset.UnixEpoch), new GitHubOptions());
        change?.Invoke(body);
        return JsonSerializer.SerializeToUtf8Bytes(body);
    }
}
