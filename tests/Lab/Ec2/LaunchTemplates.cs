using System.Collections.Concurrent;
using System.Globalization;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using System.Xml.Linq;
using Mayfly.Lab.Aws;
using static Mayfly.Lab.Ec2.Ec2Service;

namespace Mayfly.Lab.Ec2;

internal sealed record LaunchTemplate(string Id, string Name, LaunchSpec Spec, DateTimeOffset Created, string CreatedBy)
{
    public IReadOnlyDictionary<string, string> Tags { get; init; } = new Dictionary<string, string>();
}

/// <summary>Launch templates, each with one version.</summary>
internal sealed partial class LaunchTemplates(Images images, TimeProvider time)
{
    private readonly ConcurrentDictionary<string, LaunchTemplate> _byName = new();

    /// <summary>Loads the file that <c>aws ec2 create-launch-template --cli-input-json</c> takes, for another image: an id, or <c>resolve:ssm:NAME</c>.</summary>
    public LaunchTemplate Load(string json, string imageId)
    {
        var file = JsonNode.Parse(json)!.AsObject();
        if (imageId.StartsWith("ami-", StringComparison.Ordinal) && !images.Contains(imageId))
            images.Add(imageId);
        var spec = LaunchSpec.FromJson(file["LaunchTemplateData"]!.AsObject()) with { ImageId = imageId };
        return Add((string)file["LaunchTemplateName"]!, spec, "lab", new Dictionary<string, string>());
    }

    /// <exception cref="AwsFault">No such template or version.</exception>
    public LaunchTemplate Find(string? id, string? name, string? version)
    {
        if (id is null == (name is null))
            throw new AwsFault("InvalidParameterCombination", "Either LaunchTemplateId or LaunchTemplateName, not both, must be given");
        var found = _byName.Values.FirstOrDefault(t => t.Id == id || t.Name == name)
            ?? throw new AwsFault(id is null ? "InvalidLaunchTemplateName.NotFoundException" : "InvalidLaunchTemplateId.NotFound", $"The specified launch template, with template {(id is null ? $"name {name}" : $"ID {id}")}, does not exist.");
        return version is null or "1" or "$Default" or "$Latest"
            ? found
            : throw new AwsFault("InvalidLaunchTemplateId.VersionNotFound", $"Could not find the specified version {version} for the launch template with ID {found.Id}.");
    }

    public IEnumerable<XElement> Create(QueryInput input, Principal caller)
    {
        var name = input.Require("LaunchTemplateName");
        if (!NamePattern().IsMatch(name))
            throw new AwsFault("InvalidLaunchTemplateName.MalformedException", $"'{name}' must have 3 to 128 characters among a-zA-Z0-9().-/_");
        _ = input.Get("ClientToken");
        _ = input.Get("VersionDescription");
        var tags = LaunchSpec.TagsFrom(input, "TagSpecification", "launch-template");
        LaunchSpec.CheckTags(tags, false);
        if (!input.Has("LaunchTemplateData."))
            throw new AwsFault("MissingParameter", "The request must contain the parameter LaunchTemplateData");
        var spec = LaunchSpec.From(input, "LaunchTemplateData.");
        Ready(input);
        return [Xml("launchTemplate", Add(name, spec, caller.Arn, tags))];
    }

    public IEnumerable<XElement> Describe(QueryInput input)
    {
        var names = input.List("LaunchTemplateName");
        var ids = input.List("LaunchTemplateId");
        var page = Page.From(input, 1);
        Ready(input);
        foreach (var name in names)
            _ = Find(null, name, null);
        foreach (var id in ids)
            _ = Find(id, null, null);
        var found = _byName.Values.Where(t => (names.Count == 0 || names.Contains(t.Name)) && (ids.Count == 0 || ids.Contains(t.Id)))
            .OrderBy(t => t.Name, StringComparer.Ordinal).ToList();
        return page.Of("launchTemplates", found, t => Xml("item", t));
    }

    public IEnumerable<XElement> DescribeVersions(QueryInput input)
    {
        var template = Find(input.Get("LaunchTemplateId"), input.Get("LaunchTemplateName"), input.List("LaunchTemplateVersion") is [var version] ? version : null);
        var resolve = input.Boolean("ResolveAlias", false);
        Ready(input);
        var spec = template.Spec;
        if (resolve)
            spec = spec with { ImageId = images.Resolve(spec.ImageId) };
        var data = E("launchTemplateData",
            spec.ImageId is { } image ? E("imageId", image) : null,
            spec.InstanceType is { } type ? E("instanceType", type) : null,
            spec.ShutdownBehavior is { } behavior ? E("instanceInitiatedShutdownBehavior", behavior) : null,
            spec.InstanceProfile is { } profile ? E("iamInstanceProfile", E("name", profile)) : null,
            LaunchSpec.BlockDevicesXml(spec.BlockDevices),
            spec.UserData is { } userData ? E("userData", userData) : null,
            spec.AvailabilityZone is { } zone ? E("placement", E("availabilityZone", zone)) : null,
            spec.Tags.Count > 0 ? E("tagSpecificationSet", E("item", E("resourceType", "instance"), TagSet(spec.Tags))) : null,
            E("metadataOptions", spec.MetadataXml()));
        return [E("launchTemplateVersionSet", E("item", E("launchTemplateId", template.Id), E("launchTemplateName", template.Name), E("versionNumber", 1),
            E("createTime", AwsServer.Stamp(template.Created)), E("createdBy", template.CreatedBy), E("defaultVersion", true), data))];
    }

    public IEnumerable<XElement> Delete(QueryInput input)
    {
        var template = Find(input.Get("LaunchTemplateId"), input.Get("LaunchTemplateName"), null);
        Ready(input);
        _byName.TryRemove(template.Name, out _);
        return [Xml("launchTemplate", template)];
    }

    private LaunchTemplate Add(string name, LaunchSpec spec, string by, IReadOnlyDictionary<string, string> tags)
    {
        var template = new LaunchTemplate("lt-" + Fleet.RandomHex(), name, spec, time.GetUtcNow(), by) { Tags = tags };
        return _byName.TryAdd(name, template) ? template : throw new AwsFault("InvalidLaunchTemplateName.AlreadyExistsException", $"Launch template name already in use: {name}");
    }

    private static XElement Xml(string name, LaunchTemplate template) => E(name,
        E("launchTemplateId", template.Id), E("launchTemplateName", template.Name), E("createTime", AwsServer.Stamp(template.Created)),
        E("createdBy", template.CreatedBy), E("defaultVersionNumber", 1.ToString(CultureInfo.InvariantCulture)), E("latestVersionNumber", "1"), TagSet(template.Tags));

    [GeneratedRegex("^[a-zA-Z0-9().\\-/_]{3,128}$")]
    private static partial Regex NamePattern();
}
