using System.Collections.Concurrent;
using System.Globalization;
using System.Text.RegularExpressions;
using System.Xml.Linq;

namespace Mayfly.Lab.Aws;

/// <summary>A role that only whoever knows its external id may assume. It may stand in another account.</summary>
/// <param name="ExternalId">Null for a role that wants none.</param>
internal sealed record Role(string Arn, string? ExternalId);

/// <summary>AWS STS: who am I, and another role's keys. Any role of the account can be assumed, and those that tests put into
/// <see cref="Roles"/> as they say. https://docs.aws.amazon.com/STS/latest/APIReference/</summary>
internal sealed partial class StsService(Keyring keys, string account, TimeProvider time)
{
    public const string Version = "2011-06-15";

    private readonly ConcurrentDictionary<string, Role> _roles = new();

    public static readonly XNamespace Space = $"https://sts.amazonaws.com/doc/{Version}/";

    public IReadOnlyCollection<Role> Roles => [.. _roles.Values];

    public void Add(Role role) => _roles[role.Arn] = role;

    public XElement Call(Dictionary<string, string> parameters, AccessKey caller, string requestId)
    {
        var input = new QueryInput(parameters);
        var action = parameters.GetValueOrDefault("Action") ?? throw new AwsFault("MissingAction", "The request must contain the parameter Action");
        return (action, parameters.GetValueOrDefault("Version")) switch
        {
            ("GetCallerIdentity", Version) => GetCallerIdentity(input, caller.Principal, requestId),
            ("AssumeRole", Version) => AssumeRole(input, caller.Principal, requestId),
            var (_, version) => throw new AwsFault("InvalidAction", $"Could not find operation {action} for version {version}"),
        };
    }

    private static XElement GetCallerIdentity(QueryInput input, Principal caller, string requestId)
    {
        input.RejectUnread();
        return Response("GetCallerIdentity", requestId,
            new XElement(Space + "Arn", caller.Arn), new XElement(Space + "UserId", caller.UserId), new XElement(Space + "Account", caller.Arn.Split(':')[4]));
    }

    private XElement AssumeRole(QueryInput input, Principal caller, string requestId)
    {
        var role = Matching(input, "RoleArn", RolePattern());
        var session = Matching(input, "RoleSessionName", SessionPattern());
        var seconds = 3600;
        if (input.Get("DurationSeconds") is { } text && !(int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out seconds) && seconds is >= 900 and <= 43200))
            throw Invalid("DurationSeconds", text);
        var external = input.Get("ExternalId");
        if (external is not null && !ExternalPattern().IsMatch(external))
            throw Invalid("ExternalId", external);
        input.RejectUnread();
        var known = _roles.GetValueOrDefault(role);
        // A trust policy without the condition does not look at an external id that is sent.
        if (caller.InstanceArn is not null || (known is null ? role.Split(':')[4] != account : known.ExternalId is { } wanted && wanted != external))
            throw new AwsFault("AccessDenied", $"User: {caller.Arn} is not authorized to perform: sts:AssumeRole on resource: {role}", 403);
        var arn = $"arn:aws:sts::{role.Split(':')[4]}:assumed-role/{role.Split('/')[^1]}/{session}";
        var expires = time.GetUtcNow().AddSeconds(seconds);
        var key = keys.IssueTemporary(new Principal($"AROALAB:{session}", arn, null), expires);
        return Response("AssumeRole", requestId,
            new XElement(Space + "Credentials", new XElement(Space + "AccessKeyId", key.Id), new XElement(Space + "SecretAccessKey", key.Secret),
                new XElement(Space + "SessionToken", key.SessionToken), new XElement(Space + "Expiration", AwsServer.Stamp(expires))),
            new XElement(Space + "AssumedRoleUser", new XElement(Space + "AssumedRoleId", key.Principal.UserId), new XElement(Space + "Arn", arn)));
    }

    private static string Matching(QueryInput input, string name, Regex pattern)
    {
        var value = input.Get(name) ?? throw new AwsFault("ValidationError", $"1 validation error detected: Value null at '{name}' failed to satisfy constraint: Member must not be null");
        return pattern.IsMatch(value) ? value : throw Invalid(name, value);
    }

    private static AwsFault Invalid(string name, string value) => new("ValidationError", $"1 validation error detected: Value '{value}' at '{name}' failed to satisfy constraint");

    private static XElement Response(string action, string requestId, params ReadOnlySpan<XElement> result)
    {
        var body = new XElement(Space + $"{action}Result");
        foreach (var element in result)
            body.Add(element);
        return new XElement(Space + $"{action}Response", body,
            new XElement(Space + "ResponseMetadata", new XElement(Space + "RequestId", requestId)));
    }

    [GeneratedRegex("^arn:aws:iam::[0-9]{12}:role/[a-zA-Z0-9+=,.@_/-]{1,512}$")]
    private static partial Regex RolePattern();

    [GeneratedRegex("^[a-zA-Z0-9_+=,.@-]{2,64}$")]
    private static partial Regex SessionPattern();

    [GeneratedRegex("^[a-zA-Z0-9_+=,.@:/-]{2,1224}$")]
    private static partial Regex ExternalPattern();
}
