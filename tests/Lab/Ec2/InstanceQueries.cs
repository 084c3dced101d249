using System.Globalization;
using System.Text;
using System.Xml.Linq;
using Mayfly.Lab.Aws;
using static Mayfly.Lab.Ec2.Ec2Service;

namespace Mayfly.Lab.Ec2;

/// <summary>What can be asked of instances, and their tags.</summary>
internal sealed class InstanceQueries(Fleet fleet, Journal journal, TimeProvider time)
{
    private const int ConsoleBytes = 64 * 1024;

    /// <summary>For so long after its launch an instance is known neither to DescribeInstances nor to CreateTags, as happens on EC2.</summary>
    public TimeSpan Lag { get; set; }

    /// <summary>A terminated instance is still described for so long.</summary>
    private static readonly TimeSpan Remembered = TimeSpan.FromHours(1);

    public IEnumerable<XElement> Describe(QueryInput input)
    {
        var ids = input.List("InstanceId");
        if (ids.Count > 0 && input.Get("MaxResults") is not null)
            throw new AwsFault("InvalidParameterCombination", "The parameter instancesSet cannot be used with the parameter maxResults");
        var filters = Filters.From(input);
        var page = Page.From(input, 5);
        Ready(input);
        var visible = fleet.Instances.Where(i => i.Launched + Lag <= time.GetUtcNow() && !(i.Terminated + Remembered < time.GetUtcNow())).ToDictionary(i => i.Id);
        var asked = ids.Count == 0 ? visible.Values : ids.Select(id => visible.GetValueOrDefault(fleet.Find(id).Id)
            ?? throw new AwsFault("InvalidInstanceID.NotFound", $"The instance ID '{id}' does not exist"));
        var found = asked.Where(i => filters.All(f => Matches(i, f.Name, f.Values)))
            .OrderBy(i => i.Launched).ThenBy(i => i.ReservationId, StringComparer.Ordinal).ThenBy(i => i.Id, StringComparer.Ordinal).ToList();
        return page.Of("reservationSet", found, i =>
            E("item", E("reservationId", i.ReservationId), E("ownerId", fleet.Account), E("groupSet"), E("instancesSet", i.Xml())));
    }

    public IEnumerable<XElement> DescribeTags(QueryInput input)
    {
        var filters = Filters.From(input);
        var page = Page.From(input, 5);
        Ready(input);
        var tags = fleet.Instances.SelectMany(i => i.Tags.Select(t => (i.Id, t.Key, t.Value)))
            .Where(t => filters.All(f => f.Name switch
            {
                "resource-id" => Filters.IsAnyOf(t.Id, f.Values),
                "resource-type" => Filters.IsAnyOf("instance", f.Values),
                "key" => Filters.IsAnyOf(t.Key, f.Values),
                "value" => Filters.IsAnyOf(t.Value, f.Values),
                _ when f.Name.StartsWith("tag:", StringComparison.Ordinal) => t.Key == f.Name[4..] && Filters.IsAnyOf(t.Value, f.Values),
                _ => throw new AwsFault("InvalidParameterValue", $"The filter '{f.Name}' is invalid"),
            }))
            .OrderBy(t => t.Id, StringComparer.Ordinal).ThenBy(t => t.Key, StringComparer.Ordinal).ToList();
        return page.Of("tagSet", tags, t => E("item", E("resourceId", t.Id), E("resourceType", "instance"), E("key", t.Key), E("value", t.Value)));
    }

    public IEnumerable<XElement> GetConsoleOutput(QueryInput input)
    {
        var instance = fleet.Find(input.Require("InstanceId"));
        _ = input.Boolean("Latest", false);
        Ready(input);
        var output = Encoding.UTF8.GetBytes(instance.Machine?.ReadConsole() ?? "");
        return [E("instanceId", instance.Id), E("timestamp", AwsServer.Stamp(time.GetUtcNow())), E("output", Convert.ToBase64String(output.AsSpan(Math.Max(0, output.Length - ConsoleBytes))))];
    }

    public IEnumerable<XElement> CreateTags(QueryInput input)
    {
        var resources = Resources(input);
        var tags = new Dictionary<string, string>();
        foreach (var prefix in input.Structures("Tag"))
        {
            if (!tags.TryAdd(input.Require(prefix + "Key"), input.Get(prefix + "Value") ?? ""))
                throw new AwsFault("InvalidParameterValue", "Duplicate tag key specified.");
        }

        if (tags.Count == 0)
            throw new AwsFault("MissingParameter", "The request must contain the parameter Tag");
        Ready(input);
        var changes = resources.Select(i => (Instance: i, Tags: i.Tags.SetItems(tags))).ToList();
        foreach (var (instance, all) in changes)
            LaunchSpec.CheckTags(all, instance.Spec.TagsInMetadata == true);
        foreach (var (instance, all) in changes)
        {
            instance.Retag(all, time.GetUtcNow());
            journal.Record("ec2", "tags set", instance.Id, string.Join(' ', tags.Keys));
        }

        return [E("return", true)];
    }

    public IEnumerable<XElement> DeleteTags(QueryInput input)
    {
        var resources = Resources(input);
        var tags = input.Structures("Tag").Select(p => (Key: input.Require(p + "Key"), Value: input.Get(p + "Value"))).ToList();
        Ready(input);
        foreach (var instance in resources)
        {
            var gone = tags.Count == 0 ? instance.Tags.Keys : tags.Where(t => t.Value is null || instance.Tags.GetValueOrDefault(t.Key) == t.Value).Select(t => t.Key);
            instance.Retag(instance.Tags.RemoveRange(gone), time.GetUtcNow());
            journal.Record("ec2", "tags deleted", instance.Id);
        }

        return [E("return", true)];
    }

    private List<Instance> Resources(QueryInput input) => input.List("ResourceId") is { Count: > 0 } ids
        ? [.. ids.Select(id => fleet.Find(id) is var found && found.Launched + Lag <= time.GetUtcNow() ? found : throw Fleet.NotFound(id))]
        : throw new AwsFault("MissingParameter", "The request must contain the parameter ResourceId");

    private static bool Matches(Instance i, string filter, IReadOnlyList<string> values) => filter switch
    {
        "tag-key" => i.Tags.Keys.Any(k => Filters.IsAnyOf(k, values)),
        "instance-state-name" => Filters.IsAnyOf(i.StateName, values),
        "instance-state-code" => Filters.IsAnyOf(((int)i.State).ToString(CultureInfo.InvariantCulture), values),
        "instance-id" => Filters.IsAnyOf(i.Id, values),
        "instance-type" => Filters.IsAnyOf(i.Type, values),
        "instance-lifecycle" => i.Spot && Filters.IsAnyOf("spot", values),
        "image-id" => Filters.IsAnyOf(i.Spec.ImageId ?? "", values),
        "availability-zone" => Filters.IsAnyOf(i.Zone, values),
        "private-ip-address" => Filters.IsAnyOf(i.Address, values),
        "reservation-id" => Filters.IsAnyOf(i.ReservationId, values),
        "client-token" => Filters.IsAnyOf(i.ClientToken, values),
        _ when filter.StartsWith("tag:", StringComparison.Ordinal) => i.Tags.TryGetValue(filter[4..], out var value) && Filters.IsAnyOf(value, values),
        _ => throw new AwsFault("InvalidParameterValue", $"The filter '{filter}' is invalid"),
    };
}
