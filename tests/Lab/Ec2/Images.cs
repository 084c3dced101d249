using System.Collections.Concurrent;
using System.Xml.Linq;
using Mayfly.Lab.Aws;
using static Mayfly.Lab.Ec2.Ec2Service;

namespace Mayfly.Lab.Ec2;

/// <summary>An AMI.</summary>
internal sealed record Image(string Id, string Name, string Architecture, IReadOnlyDictionary<string, string> Tags, DateTimeOffset Created);

/// <summary>The account's images. A launch template that is loaded brings its own, without tags; tests set more with
/// <see cref="Add"/>. https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeImages.html</summary>
internal sealed class Images(string account, TimeProvider time)
{
    private readonly ConcurrentDictionary<string, Image> _images = new();

    /// <summary>Puts an image in, in place of the one with its id if there is one.</summary>
    public Image Add(string id, IReadOnlyDictionary<string, string>? tags = null, string architecture = "x86_64", string? name = null, DateTimeOffset? created = null) =>
        _images[id] = new Image(id, name ?? $"mayfly-{id}", architecture, tags ?? new Dictionary<string, string>(), created ?? time.GetUtcNow());

    public bool Contains(string id) => _images.ContainsKey(id);

    public void Remove(string id) => _images.TryRemove(id, out _);

    /// <summary>Of an image that only the machines know, x86_64.</summary>
    public string ArchitectureOf(string id) => _images.GetValueOrDefault(id)?.Architecture ?? "x86_64";

    public IEnumerable<XElement> Describe(QueryInput input)
    {
        var (ids, owners, executable) = (input.List("ImageId"), input.List("Owner"), input.List("ExecutableBy"));
        _ = input.Boolean("IncludeDeprecated", false);
        _ = input.Boolean("IncludeDisabled", false);
        var filters = Filters.From(input);
        var page = Page.From(input, 1);
        Ready(input);
        if (ids.FirstOrDefault(id => !_images.ContainsKey(id)) is { } unknown)
            throw new AwsFault(unknown.StartsWith("ami-", StringComparison.Ordinal) ? "InvalidAMIID.NotFound" : "InvalidAMIID.Malformed", $"The image id '[{unknown}]' does not exist");
        var found = _images.Values.Where(i => (ids.Count == 0 || ids.Contains(i.Id)) && (owners.Count == 0 || owners.Contains("self") || owners.Contains(account))
                && (executable.Count == 0 || executable.Contains("self")) && filters.All(f => Matches(i, f.Name, f.Values)))
            .OrderBy(i => i.Id, StringComparer.Ordinal).ToList();
        return page.Of("imagesSet", found, i => E("item",
            E("imageId", i.Id), E("imageLocation", $"{account}/{i.Name}"), E("imageState", "available"), E("imageOwnerId", account), E("creationDate", AwsServer.Stamp(i.Created)),
            E("isPublic", false), E("architecture", i.Architecture), E("imageType", "machine"), E("name", i.Name), E("rootDeviceType", "ebs"), E("rootDeviceName", "/dev/xvda"),
            E("virtualizationType", "hvm"), E("enaSupport", true), E("bootMode", "uefi"), TagSet(i.Tags)));
    }

    private static bool Matches(Image image, string filter, IReadOnlyList<string> values) => filter switch
    {
        "image-id" => Filters.IsAnyOf(image.Id, values),
        "name" => Filters.IsAnyOf(image.Name, values),
        "architecture" => Filters.IsAnyOf(image.Architecture, values),
        "state" => Filters.IsAnyOf("available", values),
        "tag-key" => image.Tags.Keys.Any(k => Filters.IsAnyOf(k, values)),
        _ when filter.StartsWith("tag:", StringComparison.Ordinal) => image.Tags.TryGetValue(filter[4..], out var value) && Filters.IsAnyOf(value, values),
        _ => throw new AwsFault("InvalidParameterValue", $"The filter '{filter}' is invalid"),
    };
}
