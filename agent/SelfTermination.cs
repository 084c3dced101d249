using System.Text;
using System.Text.Json;
using Mayfly.Aws;

namespace Mayfly.Agent;

/// <summary>
/// The machine ends itself through EC2's API: what is left where its power-off was refused or hangs. Everything is asked
/// anew, since the machine may have come here from any step.
/// </summary>
internal static class SelfTermination
{
    /// <summary>For all of it. The machine's other ends do not wait for this one longer.</summary>
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(30);

    /// <returns>Why it did not work; null if EC2 took the call.</returns>
    public static async Task<string?> TryAsync(TimeProvider time)
    {
        using var limit = new CancellationTokenSource(Limit, time);
        try
        {
            using var http = Imds.Connect(Imds.AddressFrom(Environment.GetEnvironmentVariable("AWS_EC2_METADATA_SERVICE_ENDPOINT")));
            var imds = new Imds(http, time);
            var document = JsonMembers.Strings(Encoding.UTF8.GetBytes(await imds.GetAsync("latest/dynamic/instance-identity/document", limit.Token) ?? "{}"));
            if (!document.TryGetValue("instanceId", out var id) || !document.TryGetValue("region", out var region))
                return "the identity document has no instanceId or region";
            using var connection = new InstanceRole(imds, time).ConnectTo("ec2", region);
            await new Ec2Client(connection).TerminateAsync(id, limit.Token);
            return null;
        }
        catch (Exception e) when (e is HttpRequestException or TimeoutException or OperationCanceledException or AwsException or RoleException or JsonException or FormatException)
        {
            return e.Message;
        }
    }
}
