using System.Globalization;
using System.Text;
using System.Text.Json;
using Mayfly.Aws;

namespace Mayfly.Agent;

/// <summary>
/// The role of this instance's profile. Its keys come from the metadata service by version 2 and from nowhere else: no
/// file, no environment and no other provider is looked at, as AWSSDK.Core's own chain would.
/// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-security-credentials.html
/// </summary>
internal sealed class InstanceRole(Imds imds, TimeProvider time)
{
    private const string Path = "latest/meta-data/iam/security-credentials/";

    /// <summary>Right after a launch, and in the moment in which it renews them, the service may have no keys to show:
    /// 404 or a code other than Success. AWS asks for retries; half a minute outlives both.</summary>
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(30);

    private static readonly TimeSpan Pause = TimeSpan.FromSeconds(1);

    /// <summary>The service shows new keys five minutes before the old ones end: from then on it is asked.</summary>
    private static readonly TimeSpan RenewBefore = TimeSpan.FromMinutes(5);

    /// <summary>End of one try of a call to AWS.</summary>
    private static readonly TimeSpan CallLimit = TimeSpan.FromSeconds(10);

    private RoleKeys? _keys;
    private Task<RoleKeys>? _ahead;

    /// <summary>Begins to read the keys before they are asked for. Whether that fails is told when they are.</summary>
    public void ReadAhead(CancellationToken cancel) => _ahead = ReadAsync(cancel);

    /// <summary>A connection to a service, signed with this role's keys, that neither the closed door nor an egress policy
    /// keeps from its way.</summary>
    /// <param name="service">Signing name, such as <c>ec2</c>.</param>
    public AwsConnection ConnectTo(string service, string region) => AwsConnection.To(service, region, KeysAsync, CallLimit, time, MarkedSocket.ConnectAsync);

    /// <summary>Keys that hold now: an <see cref="AwsKeySource"/>. Hours later, as when the machine terminates itself, they
    /// are others than at the start.</summary>
    /// <exception cref="RoleException">There are none that hold.</exception>
    /// <exception cref="HttpRequestException">The metadata service cannot be reached.</exception>
    public async ValueTask<AwsKeys> KeysAsync(CancellationToken cancel)
    {
        if (Interlocked.Exchange(ref _ahead, null) is { } ahead)
            _keys = await ahead;
        if (_keys is not { } keys || keys.Expiration - time.GetUtcNow() < RenewBefore)
            _keys = keys = await ReadAsync(cancel);
        return keys.Keys;
    }

    private async Task<RoleKeys> ReadAsync(CancellationToken cancel)
    {
        var start = time.GetTimestamp();
        while (true)
        {
            var (keys, why) = await TryReadAsync(cancel);
            if (keys is not null)
                return keys;
            if (time.GetElapsedTime(start) >= Limit)
                throw new RoleException($"{why}, for {Limit.TotalSeconds:F0} s; look at the launch template's instance profile and at its role");
            await Task.Delay(Pause, time, cancel);
        }
    }

    private async Task<(RoleKeys? Keys, string Why)> TryReadAsync(CancellationToken cancel)
    {
        // One name a line; a profile holds one role.
        var role = (await imds.GetAsync(Path, cancel))?.Split('\n')[0].Trim();
        if (string.IsNullOrEmpty(role))
            return (null, "the instance has no role");
        if (await imds.GetAsync(Path + Uri.EscapeDataString(role), cancel) is not { } text)
            return (null, $"the metadata service has no keys of role {role}");
        IReadOnlyDictionary<string, string> members;
        try
        {
            members = JsonMembers.Strings(Encoding.UTF8.GetBytes(text));
        }
        catch (JsonException)
        {
            return (null, $"the keys of role {role} are not JSON"); // the reader's message could quote them
        }

        if (members.GetValueOrDefault("Code") is not "Success" and var code)
            return (null, $"the metadata service shows no keys of role {role}: its code is {code ?? "missing"}");
        if (!members.TryGetValue("AccessKeyId", out var id) || !members.TryGetValue("SecretAccessKey", out var secret) || !members.TryGetValue("Token", out var token)
            || !DateTimeOffset.TryParse(members.GetValueOrDefault("Expiration"), CultureInfo.InvariantCulture, out var expiration))
            return (null, $"the keys of role {role} are incomplete");
        return expiration > time.GetUtcNow()
            ? (new RoleKeys(new AwsKeys(id, secret, token), expiration), "")
            : (null, $"the keys of role {role} ended at {expiration:u}");
    }

    private sealed record RoleKeys(AwsKeys Keys, DateTimeOffset Expiration);
}

/// <summary>This instance has no keys to sign with. Names the role, never a key.</summary>
internal sealed class RoleException(string message) : Exception(message);
