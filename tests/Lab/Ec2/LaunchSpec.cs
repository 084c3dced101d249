using System.Globalization;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using System.Xml.Linq;
using Mayfly.Lab.Aws;
using static Mayfly.Lab.Ec2.Ec2Service;

namespace Mayfly.Lab.Ec2;

/// <summary>A volume to attach. The root's stands under the image's root device name.</summary>
internal sealed record BlockDevice(string DeviceName, int SizeGiB, string VolumeType, bool Encrypted, bool DeleteOnTermination);

/// <summary>What a launch template or a request says of an instance; null where it says nothing.</summary>
internal sealed partial record LaunchSpec(
    string? ImageId, string? InstanceType, string? ShutdownBehavior, IReadOnlyList<BlockDevice> BlockDevices, bool? HttpEnabled, bool? HttpTokensRequired,
    int? HopLimit, bool? TagsInMetadata, string? InstanceProfile, string? UserData, string? SubnetId, string? AvailabilityZone,
    IReadOnlyDictionary<string, string> Tags)
{
    private const int MostUserDataBytes = 16 * 1024;

    public static readonly LaunchSpec Empty = new(null, null, null, [], null, null, null, null, null, null, null, null, new Dictionary<string, string>());

    /// <summary>Reads the parameters below a prefix (empty for RunInstances, <c>LaunchTemplateData.</c> for a template).</summary>
    public static LaunchSpec From(QueryInput input, string prefix)
    {
        var userData = input.Get(prefix + "UserData");
        if (userData is not null && DecodedLength(userData) > MostUserDataBytes)
            throw new AwsFault("InvalidUserData.Malformed", "User data is limited to 16384 bytes");
        foreach (var group in input.List(prefix + "SecurityGroupId"))
        {
            if (!group.StartsWith("sg-", StringComparison.Ordinal))
                throw new AwsFault("InvalidGroup.NotFound", $"The security group '{group}' does not exist");
        }

        _ = input.Boolean(prefix + "EbsOptimized", false);
        _ = input.Boolean(prefix + "Monitoring.Enabled", false);
        var endpoint = input.Get(prefix + "MetadataOptions.HttpEndpoint");
        if (endpoint is not (null or "enabled" or "disabled"))
            throw new AwsFault("InvalidParameterValue", $"Value ({endpoint}) for parameter HttpEndpoint is invalid.");
        var tokens = input.Get(prefix + "MetadataOptions.HttpTokens");
        if (tokens is not (null or "required" or "optional"))
            throw new AwsFault("InvalidParameterValue", $"Value ({tokens}) for parameter HttpTokens is invalid.");
        var inMetadata = input.Get(prefix + "MetadataOptions.InstanceMetadataTags");
        if (inMetadata is not (null or "enabled" or "disabled"))
            throw new AwsFault("InvalidParameterValue", $"Value ({inMetadata}) for parameter InstanceMetadataTags is invalid.");
        var hops = input.Integer(prefix + "MetadataOptions.HttpPutResponseHopLimit", 0, 1, 64);
        var shutdown = input.Get(prefix + "InstanceInitiatedShutdownBehavior");
        if (shutdown is not (null or "stop" or "terminate"))
            throw new AwsFault("InvalidParameterValue", $"Value ({shutdown}) for parameter InstanceInitiatedShutdownBehavior is invalid.");
        // A template has a subnet only in its network interfaces.
        var subnet = prefix.Length == 0 ? input.Get("SubnetId") : null;
        CheckSubnet(subnet);
        return new LaunchSpec(
            input.Get(prefix + "ImageId"), input.Get(prefix + "InstanceType"), shutdown,
            BlockDevicesFrom(input, prefix + "BlockDeviceMapping"),
            endpoint is null ? null : endpoint == "enabled", tokens is null ? null : tokens == "required", hops == 0 ? null : hops, inMetadata is null ? null : inMetadata == "enabled",
            input.Get(prefix + "IamInstanceProfile.Name") ?? input.Get(prefix + "IamInstanceProfile.Arn"), userData,
            subnet, input.Get(prefix + "Placement.AvailabilityZone"), TagsFrom(input, prefix + "TagSpecification", "instance", "volume", "network-interface", "spot-instances-request"));
    }

    /// <summary>Reads the <c>LaunchTemplateData</c> of the CLI's JSON input: the same parameters under other names.</summary>
    public static LaunchSpec FromJson(JsonObject data)
    {
        var parameters = new Dictionary<string, string>();
        Flatten(data, "LaunchTemplateData", parameters);
        var input = new QueryInput(parameters);
        var spec = From(input, "LaunchTemplateData.");
        input.RejectUnread();
        return spec;
    }

    /// <summary>What the request says goes before what the template says; tags are joined.</summary>
    public LaunchSpec Over(LaunchSpec template) => new(
        ImageId ?? template.ImageId, InstanceType ?? template.InstanceType, ShutdownBehavior ?? template.ShutdownBehavior,
        BlockDevices.Count > 0 ? BlockDevices : template.BlockDevices, HttpEnabled ?? template.HttpEnabled, HttpTokensRequired ?? template.HttpTokensRequired,
        HopLimit ?? template.HopLimit, TagsInMetadata ?? template.TagsInMetadata, InstanceProfile ?? template.InstanceProfile,
        UserData ?? template.UserData, SubnetId ?? template.SubnetId, AvailabilityZone ?? template.AvailabilityZone,
        new Dictionary<string, string>(template.Tags.Where(t => !Tags.ContainsKey(t.Key)).Concat(Tags)));

    /// <exception cref="AwsFault">What RunInstances refuses.</exception>
    public void Check()
    {
        if (ImageId is null)
            throw new AwsFault("MissingParameter", "The request must contain the parameter ImageId");
        if (!ImagePattern().IsMatch(ImageId))
            throw new AwsFault("InvalidAMIID.Malformed", $"Invalid id: \"{ImageId}\"");
        if (InstanceType is not null)
            CheckType(InstanceType);
        CheckTags(Tags, TagsInMetadata == true);
    }

    public static void CheckType(string type)
    {
        if (!TypePattern().IsMatch(type))
            throw new AwsFault("InvalidParameterValue", $"Invalid value '{type}' for InstanceType.");
    }

    public static void CheckSubnet(string? subnet)
    {
        if (subnet is not null && !SubnetPattern().IsMatch(subnet))
            throw new AwsFault("InvalidSubnetID.NotFound", $"The subnet ID '{subnet}' does not exist");
    }

    public XElement[] MetadataXml() =>
    [
        E("httpTokens", HttpTokensRequired == true ? "required" : "optional"), E("httpPutResponseHopLimit", HopLimit ?? 1),
        E("httpEndpoint", HttpEnabled == false ? "disabled" : "enabled"), E("instanceMetadataTags", TagsInMetadata == true ? "enabled" : "disabled"),
    ];

    public static void CheckTags(IReadOnlyDictionary<string, string> tags, bool inMetadata)
    {
        if (tags.Count > 50)
            throw new AwsFault("TagLimitExceeded", "You have reached the maximum of 50 tags");
        foreach (var (key, value) in tags)
        {
            if (key.Length is 0 or > 127 || key.StartsWith("aws:", StringComparison.OrdinalIgnoreCase))
                throw new AwsFault("InvalidParameterValue", $"Tag key '{key}' must have 1 to 127 characters and not begin with aws:");
            if (value.Length > 256)
                throw new AwsFault("InvalidParameterValue", $"Tag value exceeds the maximum length of 256 characters for key '{key}'");
            if (inMetadata && !MetadataKeyPattern().IsMatch(key))
                throw new AwsFault("InvalidParameterValue", $"'{key}' is not a valid tag key. Tag keys must match pattern ([0-9a-zA-Z\\-_+=,.@:]{{1,255}}), and must not be a reserved name ('.', '..', '_index')");
        }
    }

    public static Dictionary<string, string> TagsFrom(QueryInput input, string name, params string[] types)
    {
        var tags = new Dictionary<string, string>();
        foreach (var prefix in input.Structures(name))
        {
            var type = input.Require(prefix + "ResourceType");
            if (!types.Contains(type))
                throw new AwsFault("InvalidParameterValue", $"'{type}' is not a valid taggable resource type for this operation.");
            foreach (var tag in input.Structures(prefix + "Tag"))
            {
                var (key, value) = (input.Require(tag + "Key"), input.Get(tag + "Value") ?? "");
                if (type == types.FirstOrDefault(t => t == "instance", types[0]) && !tags.TryAdd(key, value))
                    throw new AwsFault("InvalidParameterValue", $"Duplicate tag key '{key}' specified.");
            }
        }

        return tags;
    }

    public static IReadOnlyList<BlockDevice> BlockDevicesFrom(QueryInput input, string name) => [.. input.Structures(name).Select(p => BlockDeviceFrom(input, p))];

    public static XElement BlockDevicesXml(IEnumerable<BlockDevice> devices) =>
        E("blockDeviceMappingSet", devices.Select(d => E("item", E("deviceName", d.DeviceName),
            E("ebs", E("encrypted", d.Encrypted), E("deleteOnTermination", d.DeleteOnTermination),
                d.SizeGiB > 0 ? E("volumeSize", d.SizeGiB) : null, E("volumeType", d.VolumeType)))));

    private static BlockDevice BlockDeviceFrom(QueryInput input, string prefix)
    {
        _ = input.Integer(prefix + "Ebs.Throughput", 125, 125, 2000);
        // MiB/s at which blocks come from the snapshot: https://docs.aws.amazon.com/ebs/latest/userguide/initalize-volume.html
        _ = input.Integer(prefix + "Ebs.VolumeInitializationRate", 100, 100, 300);
        _ = input.Get(prefix + "Ebs.Iops");
        return new BlockDevice(
            input.Require(prefix + "DeviceName"),
            input.Integer(prefix + "Ebs.VolumeSize", 0, 1, 65536),
            input.OneOf(prefix + "Ebs.VolumeType", "gp3", "gp2", "gp3", "io1", "io2", "st1", "sc1", "standard"),
            input.Boolean(prefix + "Ebs.Encrypted", false),
            input.Boolean(prefix + "Ebs.DeleteOnTermination", true));
    }

    private static int DecodedLength(string base64)
    {
        try
        {
            return Convert.FromBase64String(base64).Length;
        }
        catch (FormatException)
        {
            throw new AwsFault("InvalidUserData.Malformed", "Invalid BASE64 encoding of user data");
        }
    }

    private static void Flatten(JsonNode? node, string name, Dictionary<string, string> into)
    {
        switch (node)
        {
            case JsonObject members:
                foreach (var (key, value) in members)
                    Flatten(value, $"{name}.{QueryName(key)}", into);
                break;
            case JsonArray items:
                for (var i = 0; i < items.Count; i++)
                    Flatten(items[i], string.Create(CultureInfo.InvariantCulture, $"{name}.{i + 1}"), into);
                break;
            case { } value:
                into[name] = value.ToString();
                break;
        }
    }

    /// <summary>The query protocol names lists in the singular.</summary>
    private static string QueryName(string member) => member switch
    {
        "BlockDeviceMappings" => "BlockDeviceMapping",
        "TagSpecifications" => "TagSpecification",
        "Tags" => "Tag",
        "SecurityGroupIds" => "SecurityGroupId",
        _ => member,
    };

    [GeneratedRegex("^[a-z][a-z0-9-]*\\.[a-z0-9-]+$")]
    private static partial Regex TypePattern();

    [GeneratedRegex("^ami-[0-9a-f]{8,17}$")]
    private static partial Regex ImagePattern();

    [GeneratedRegex("^subnet-[0-9a-f]{8,17}$")]
    private static partial Regex SubnetPattern();

    [GeneratedRegex("^(?!(\\.|\\.\\.|_index)$)[0-9a-zA-Z\\-_+=,.@:]{1,255}$")]
    private static partial Regex MetadataKeyPattern();
}
