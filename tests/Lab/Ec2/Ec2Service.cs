using System.Text;
using System.Xml.Linq;
using Mayfly.Lab.Aws;

namespace Mayfly.Lab.Ec2;

/// <summary>EC2 in its query protocol: which action is asked for, and who may ask.
/// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/</summary>
internal sealed class Ec2Service(LaunchTemplates templates, Fleet fleet, Journal journal, TimeProvider time)
{
    public static readonly XNamespace Space = "http://ec2.amazonaws.com/doc/2016-11-15/";

    /// <summary>How often each action may be called. Lifted or set by tests.</summary>
    public Rates Rates => fleet.Rates;

    public InstanceQueries Queries { get; } = new(fleet, journal, time);

    /// <summary>Called before each call; throws the fault that a test wants. Null by default.</summary>
    public Action<string, QueryInput>? Disturb { get; set; }

    public XElement Call(Dictionary<string, string> parameters, Signed caller, string requestId)
    {
        var input = new QueryInput(parameters);
        var action = parameters.GetValueOrDefault("Action") ?? throw new AwsFault("MissingAction", "The request must contain the parameter Action");
        if (parameters.GetValueOrDefault("Version") is not "2016-11-15" and var version)
            throw new AwsFault("NoSuchVersion", $"The requested version ({version}) of service AmazonEC2 does not exist");
        Authorize(action, input, caller.Key.Principal);
        Rates.Take(RequestLimits.BucketOf(action, input));
        Disturb?.Invoke(action, input);
        IEnumerable<XElement> Answer() => action switch
        {
            "CreateLaunchTemplate" => templates.Create(input, caller.Key.Principal),
            "DescribeLaunchTemplates" => templates.Describe(input),
            "DescribeLaunchTemplateVersions" => templates.DescribeVersions(input),
            "DeleteLaunchTemplate" => templates.Delete(input),
            "RunInstances" => fleet.RunInstances(input),
            "CreateFleet" => fleet.CreateFleet(input),
            "DescribeInstances" => Queries.Describe(input),
            "TerminateInstances" => fleet.Terminate(input),
            "GetConsoleOutput" => Queries.GetConsoleOutput(input),
            "CreateTags" => Queries.CreateTags(input),
            "DeleteTags" => Queries.DeleteTags(input),
            "DescribeImages" => fleet.Images.Describe(input),
            "DescribeSpotPriceHistory" => new SpotPrices(fleet).Describe(input),
            "DescribeTags" => Queries.DescribeTags(input),
            _ => throw new AwsFault("InvalidAction", $"The action {action} is not valid for this web service."),
        };
        var response = new XElement(Space + (action + "Response"), new XElement(Space + "requestId", requestId));
        foreach (var element in Answer())
            response.Add(element);
        return response;
    }

    /// <summary>When all parameters are read and before anything is done.</summary>
    public static void Ready(QueryInput input)
    {
        var dryRun = input.Boolean("DryRun", false);
        input.RejectUnread();
        if (dryRun)
            throw new AwsFault("DryRunOperation", "Request would have succeeded, but DryRun flag is set.", 412);
    }

    public static XElement E(string name, params ReadOnlySpan<object?> content)
    {
        var element = new XElement(Space + name);
        foreach (var each in content)
        {
            if (each is string text)
                element.Add(Printable(text));
            else
                element.Add(each);
        }

        return element;
    }

    public static XElement TagSet(IEnumerable<KeyValuePair<string, string>> tags) =>
        E("tagSet", tags.Select(t => E("item", E("key", t.Key), E("value", t.Value))));

    /// <summary>XML cannot hold most control characters, which a console may print.</summary>
    private static string Printable(string text) =>
        text.All(System.Xml.XmlConvert.IsXmlChar) ? text : new StringBuilder().AppendJoin("", text.Where(System.Xml.XmlConvert.IsXmlChar)).ToString();

    /// <summary>An instance's role may end itself and delete those of its own tags that hold its configuration.</summary>
    private static void Authorize(string action, QueryInput input, Principal caller)
    {
        if (caller.InstanceArn is not { } own)
            return;
        var targets = action switch
        {
            "TerminateInstances" => input.List("InstanceId"),
            "DeleteTags" when input.Structures("Tag") is { Count: > 0 } tags
                && tags.All(t => input.Get(t + "Key")?.StartsWith("mayfly:config-", StringComparison.Ordinal) == true) => input.List("ResourceId"),
            _ => [],
        };
        if (targets.Count == 0 || targets.Any(id => !own.EndsWith("/" + id, StringComparison.Ordinal)))
            throw new AwsFault("UnauthorizedOperation", $"You are not authorized to perform this operation. User: {caller.Arn} is not authorized to perform: ec2:{action}", 403);
    }
}
