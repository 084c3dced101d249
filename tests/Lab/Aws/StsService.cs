using System.Xml.Linq;

namespace Mayfly.Lab.Aws;

/// <summary>AWS STS: who am I, and another role's keys. https://docs.aws.amazon.com/STS/latest/APIReference/</summary>
internal sealed class StsService(Keyring keys, string account, TimeProvider time)
{
    private static readonly XNamespace Space = "https://sts.amazonaws.com/doc/2011-06-15/";

    public XElement Call(Dictionary<string, string> parameters, AccessKey caller, string requestId)
    {
        var input = new QueryInput(parameters);
        return parameters.GetValueOrDefault("Action") switch
        {
            "GetCallerIdentity" => GetCallerIdentity(input, caller.Principal, requestId),
            "AssumeRole" => AssumeRole(input, requestId),
            var other => throw new AwsFault("InvalidAction", $"Could not find operation {other} for version 2011-06-15"),
        };
    }

    private XElement GetCallerIdentity(QueryInput input, Principal caller, string requestId)
    {
        input.RejectUnread();
        return Response("GetCallerIdentity", requestId,
            new XElement(Space + "Arn", caller.Arn), new XElement(Space + "UserId", caller.UserId), new XElement(Space + "Account", account));
    }

    private XElement AssumeRole(QueryInput input, string requestId)
    {
        var role = input.Require("RoleArn");
        var session = input.Require("RoleSessionName");
        var seconds = input.Integer("DurationSeconds", 3600, 900, 43200);
        _ = input.Get("ExternalId");
        input.RejectUnread();
        var arn = $"arn:aws:sts::{account}:assumed-role/{role.Split('/')[^1]}/{session}";
        var expires = time.GetUtcNow().AddSeconds(seconds);
        var key = keys.IssueTemporary(new Principal($"AROALAB:{session}", arn, null), expires);
        return Response("AssumeRole", requestId,
            new XElement(Space + "Credentials", new XElement(Space + "AccessKeyId", key.Id), new XElement(Space + "SecretAccessKey", key.Secret),
                new XElement(Space + "SessionToken", key.SessionToken), new XElement(Space + "Expiration", AwsServer.Stamp(expires))),
            new XElement(Space + "AssumedRoleUser", new XElement(Space + "AssumedRoleId", key.Principal.UserId), new XElement(Space + "Arn", arn)));
    }

    private static XElement Response(string action, string requestId, params ReadOnlySpan<XElement> result)
    {
        var body = new XElement(Space + $"{action}Result");
        foreach (var element in result)
            body.Add(element);
        return new XElement(Space + $"{action}Response", body,
            new XElement(Space + "ResponseMetadata", new XElement(Space + "RequestId", requestId)));
    }
}
