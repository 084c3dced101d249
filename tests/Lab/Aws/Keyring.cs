using System.Collections.Concurrent;
using System.Security.Cryptography;

namespace Mayfly.Lab.Aws;

/// <summary>Who a request was signed by.</summary>
/// <param name="Arn">As GetCallerIdentity answers it.</param>
/// <param name="InstanceArn">Set for an instance's role: it may touch nothing but its own.</param>
internal sealed record Principal(string UserId, string Arn, string? InstanceArn);

/// <summary>A key pair that signs requests.</summary>
/// <param name="SessionToken">Null for a user's lasting keys.</param>
internal sealed record AccessKey(string Id, string Secret, string? SessionToken, DateTimeOffset? Expires, Principal Principal);

/// <summary>All access keys that the lab knows.</summary>
internal sealed class Keyring
{
    private readonly ConcurrentDictionary<string, AccessKey> _keys = new();

    public AccessKey? Find(string id) => _keys.GetValueOrDefault(id);

    public AccessKey IssueLasting(Principal principal) => Add(new AccessKey("AKIA" + RandomId(16), RandomSecret(), null, null, principal));

    public AccessKey IssueTemporary(Principal principal, DateTimeOffset expires) =>
        Add(new AccessKey("ASIA" + RandomId(16), RandomSecret(), Convert.ToBase64String(RandomNumberGenerator.GetBytes(96)), expires, principal));

    private AccessKey Add(AccessKey key) => _keys[key.Id] = key;

    private static string RandomId(int length) => RandomNumberGenerator.GetString("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", length);

    private static string RandomSecret() => Convert.ToBase64String(RandomNumberGenerator.GetBytes(30));
}
