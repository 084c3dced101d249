using System.Collections.Concurrent;
using System.Text.Json.Nodes;
using System.Xml.Linq;
using Mayfly.Lab.Aws;
using Mayfly.Lab.Ssm;
using static Mayfly.Lab.Ec2.Ec2Service;

namespace Mayfly.Lab.Ec2;

/// <summary>An AMI.</summary>
internal sealed record Image(string Id, string Name, string Architecture, IReadOnlyDictionary<string, string> Tags, DateTimeOffset Created);

/// <summary>The account's images. A launch template that is loaded brings its own, without tags; tests set more with
/// <see cref="Add"/>. https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeImages.html</summary>
internal sealed class Images(string account, SsmService ssm, TimeProvider time)
{
    private const string ByParameter = "resolve:ssm:";

    /// <summary>EC2 reads parameters in the name of whoever calls it.</summary>
    private readonly Principal _caller = new("AIDALAB", $"arn:aws:iam::{account}:user/mayfly", null);

    private readonly ConcurrentDictionary<string, Image> _images = new();

    /// <summary>Puts an image in, in place of the one with its id if there is one.</summary>
    public Image Add(string id, IReadOnlyDictionary<string, string>? tags = null, string architecture = "x86_64", string? name = null, DateTimeOffset? created = null) =>
        _images[id] = new Image(id, name ?? $"mayfly-{id}", architecture, tags ?? new Dictionary<string, string>(), created ?? time.GetUtcNow());

    public bool Contains(string id) => _images.ContainsKey(id);

    /// <summary>The AMI that an id, or <c>resolve:ssm:NAME</c>, stands for. Parameters' versions and labels the lab does not have.
    /// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/using-systems-manager-parameter-to-find-AMI.html</summary>
    /// <exception cref="AwsFault">There is no such parameter, or it may not be read.</exception>
    public string? Resolve(string? image)
    {
        if (image?.StartsWith(ByParameter, StringComparison.Ordinal) != true)
            return image;
        var name = image[ByParameter.Length..];
        try
        {
            var answer = ssm.Call("GetParameters", new JsonObject { ["Names"] = new JsonArray(name) }, _caller);
            return answer["Parameters"]!.AsArray() is [var found, ..]
                ? (string)found!["Value"]!
                : throw new AwsFault("InvalidParameterValue", $"Invalid Systems Manager parameter specified for image ID: {image}");
        }
        catch (AwsFault refused) when (refused.Code == "AccessDeniedException")
        {
            throw new AwsFault("UnauthorizedOperation", $"You are not authorized to use the Systems Manager parameter '{name}': {refused.Message}", 403);
        }
    }

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
