using System.Globalization;
using System.Net;
using System.Text;
using System.Xml;
using System.Xml.Linq;

namespace Mayfly.Aws;

/// <summary>An instance as DescribeInstances tells of it.</summary>
/// <param name="State"><c>pending</c>, <c>running</c>, <c>shutting-down</c>, <c>terminated</c>, <c>stopping</c> or <c>stopped</c>.</param>
/// <param name="StateReason">Why, once it ends; empty before.</param>
public sealed record InstanceDescription(
    string InstanceId, string InstanceType, string State, string StateReason, DateTimeOffset LaunchTime, IReadOnlyDictionary<string, string> Tags)
{
    public string AvailabilityZone { get; init; } = "";

    public bool IsSpot { get; init; }

    /// <summary>When it was asked to end, to the second; null while it runs, and of one that switched itself off, where EC2 does not say.</summary>
    public DateTimeOffset? Ended { get; init; }
}

/// <summary>What a spot instance of a type costs in a zone from a moment on.</summary>
/// <param name="Usd">An hour.</param>
public sealed record SpotPrice(DateTimeOffset Since, decimal Usd);

/// <summary>The calls to EC2 that Mayfly makes, in its query protocol: a form in, XML out.
/// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/</summary>
public sealed class Ec2Client(AwsConnection connection)
{
    private const string ApiVersion = "2016-11-15";

    /// <summary>Launches one instance with a fleet of type <c>instant</c>: synchronous, no fleet left behind.</summary>
    /// <exception cref="AwsException">The whole request was refused.</exception>
    public async Task<FleetResponse> CreateInstantFleetAsync(FleetRequest request, CancellationToken cancel)
    {
        var form = new Form
        {
            ["Type"] = "instant",
            ["ClientToken"] = request.ClientToken,
            ["LaunchTemplateConfigs.1.LaunchTemplateSpecification.LaunchTemplateName"] = request.Template,
            ["LaunchTemplateConfigs.1.LaunchTemplateSpecification.Version"] = "$Default",
            ["TargetCapacitySpecification.TotalTargetCapacity"] = "1",
            ["TargetCapacitySpecification.DefaultTargetCapacityType"] = request.Spot ? "spot" : "on-demand",
            ["TagSpecification.1.ResourceType"] = "instance",
        };
        for (var i = 0; i < request.Overrides.Count; i++)
            Write(form, $"LaunchTemplateConfigs.1.Overrides.{i + 1}.", request.Overrides[i], request.Spot);
        if (request.Spot)
            form["SpotOptions.AllocationStrategy"] = "price-capacity-optimized";
        else
            form["OnDemandOptions.AllocationStrategy"] = request.Overrides.Any(o => o.Priority is not null) ? "prioritized" : "lowest-price";
        var tag = 0;
        foreach (var (key, value) in request.Tags)
        {
            tag++;
            form[$"TagSpecification.1.Tag.{tag}.Key"] = key;
            form[$"TagSpecification.1.Tag.{tag}.Value"] = value;
        }

        var root = await CallAsync("CreateFleet", form, cancel);
        return new FleetResponse(
            [
                .. Items(root, "fleetInstanceSet").SelectMany(set => Items(set, "instanceIds").Select(id => new LaunchedInstance(
                    id.Value, Text(set, "instanceType") ?? "", Text(set, "launchTemplateAndOverrides", "overrides", "availabilityZone") ?? ""))),
            ],
            [
                .. Items(root, "errorSet").Select(error => new FleetError(
                    Text(error, "errorCode") ?? "Unknown", Text(error, "errorMessage") ?? "",
                    Text(error, "launchTemplateAndOverrides", "overrides", "instanceType"),
                    Text(error, "launchTemplateAndOverrides", "overrides", "availabilityZone"))),
            ]);
    }

    /// <summary>Of a page of DescribeInstances: at about 2 KB an instance, its answer and what is read from it stay small beside the
    /// program, however many instances there are.</summary>
    private const string PageSize = "250";

    /// <summary>Instances that bear a tag, whatever its value. Lags behind a launch by seconds.</summary>
    public async Task<IReadOnlyList<InstanceDescription>> DescribeTaggedAsync(string tagKey, CancellationToken cancel)
    {
        var (found, known) = (new List<InstanceDescription>(), new HashSet<string>());
        string? page = null;
        do
        {
            var form = new Form { ["Filter.1.Name"] = "tag-key", ["Filter.1.Value.1"] = tagKey, ["MaxResults"] = PageSize };
            if (page is not null)
                form["NextToken"] = page;
            page = ReadInstances(await SendAsync("DescribeInstances", form, cancel), found, known);
        }
        while (!string.IsNullOrEmpty(page));
        return found;
    }

    /// <summary>What Linux on spot instances of a type cost in a zone: the price at the beginning of a time, and each change in it.</summary>
    /// <param name="from">Up to 90 days ago.</param>
    public async Task<IReadOnlyList<SpotPrice>> DescribeSpotPricesAsync(string instanceType, string zone, DateTimeOffset from, DateTimeOffset to, CancellationToken cancel)
    {
        var found = new List<SpotPrice>();
        string? page = null;
        do
        {
            var form = new Form
            {
                ["InstanceType.1"] = instanceType,
                ["ProductDescription.1"] = "Linux/UNIX",
                ["AvailabilityZone"] = zone,
                ["StartTime"] = Stamp(from),
                ["EndTime"] = Stamp(to),
            };
            if (!string.IsNullOrEmpty(page))
                form["NextToken"] = page;
            var root = await CallAsync("DescribeSpotPriceHistory", form, cancel);
            found.AddRange(Items(root, "spotPriceHistorySet").Select(price => new SpotPrice(
                DateTimeOffset.Parse(Text(price, "timestamp") ?? "", CultureInfo.InvariantCulture),
                decimal.Parse(Text(price, "spotPrice") ?? "", NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture))));
            page = Text(root, "nextToken");
        }
        while (!string.IsNullOrEmpty(page));
        return found;
    }

    /// <summary>The AMI that a launch template's default version launches; null if it names none.</summary>
    public async Task<string?> FindTemplateImageAsync(string template, CancellationToken cancel)
    {
        var root = await CallAsync("DescribeLaunchTemplateVersions", new Form
        {
            ["LaunchTemplateName"] = template,
            ["LaunchTemplateVersion.1"] = "$Default",
            ["ResolveAlias"] = "true", // an image by SSM parameter is answered by its id
        }, cancel);
        return Items(root, "launchTemplateVersionSet").Select(version => Text(version, "launchTemplateData", "imageId")).FirstOrDefault();
    }

    /// <summary>An AMI's tags; null if there is no such image, or it is not ours to see.</summary>
    public async Task<IReadOnlyDictionary<string, string>?> FindImageTagsAsync(string image, CancellationToken cancel)
    {
        try
        {
            var root = await CallAsync("DescribeImages", new Form { ["ImageId.1"] = image }, cancel);
            return Items(root, "imagesSet").Select(tagged => Tags(tagged, [])).FirstOrDefault();
        }
        catch (AwsException e) when (e.Code is "InvalidAMIID.NotFound" or "InvalidAMIID.Unavailable")
        {
            return null;
        }
    }

    /// <summary>Ends an instance; one that has already ended is no error.</summary>
    public Task TerminateAsync(string instanceId, CancellationToken cancel) =>
        SendAsync("TerminateInstances", new Form { ["InstanceId.1"] = instanceId }, cancel);

    /// <summary>Sets tags on an instance, all of them or none.</summary>
    /// <exception cref="AwsException"><c>InvalidInstanceID.NotFound</c> for seconds after a launch; <c>TagLimitExceeded</c>.</exception>
    public Task CreateTagsAsync(string instanceId, IReadOnlyDictionary<string, string> tags, CancellationToken cancel)
    {
        var form = new Form { ["ResourceId.1"] = instanceId };
        var tag = 0;
        foreach (var (key, value) in tags)
        {
            tag++;
            form[$"Tag.{tag}.Key"] = key;
            form[$"Tag.{tag}.Value"] = value;
        }

        return SendAsync("CreateTags", form, cancel);
    }

    /// <summary>Deletes tags by their keys, whatever their values; a key that is not there is no error.</summary>
    public Task DeleteTagsAsync(string instanceId, IReadOnlyList<string> keys, CancellationToken cancel)
    {
        var form = new Form { ["ResourceId.1"] = instanceId };
        for (var i = 0; i < keys.Count; i++)
            form[$"Tag.{i + 1}.Key"] = keys[i];
        return SendAsync("DeleteTags", form, cancel);
    }

    /// <summary>The last 64 KB that the instance wrote to its serial console; empty while EC2 has none yet.</summary>
    public async Task<string> GetConsoleOutputAsync(string instanceId, CancellationToken cancel)
    {
        var root = await CallAsync("GetConsoleOutput", new Form { ["InstanceId"] = instanceId }, cancel);
        return Encoding.UTF8.GetString(Convert.FromBase64String(Text(root, "output") ?? ""));
    }

    private static void Write(Form form, string at, FleetOverride pool, bool isSpot)
    {
        foreach (var (name, value) in (ReadOnlySpan<(string, string?)>)[
            ("InstanceType", pool.InstanceType), ("ImageId", pool.ImageId), ("AvailabilityZone", pool.AvailabilityZone), ("SubnetId", pool.SubnetId)])
        {
            if (value is not null)
                form[at + name] = value;
        }

        if (!isSpot && pool.Priority is { } priority)
            form[at + "Priority"] = Number(priority);
        if (pool.Requirements is { } wanted)
        {
            form[at + "InstanceRequirements.VCpuCount.Min"] = Number(wanted.VcpusLeast);
            form[at + "InstanceRequirements.VCpuCount.Max"] = Number(wanted.VcpusMost);
            form[at + "InstanceRequirements.MemoryMiB.Min"] = Number(wanted.MemoryMiBLeast);
            if (wanted.MemoryMiBMost is { } most)
                form[at + "InstanceRequirements.MemoryMiB.Max"] = Number(most);
            for (var i = 0; i < wanted.AllowedInstanceTypes.Count; i++)
                form[$"{at}InstanceRequirements.AllowedInstanceType.{i + 1}"] = wanted.AllowedInstanceTypes[i];
        }

        if (pool.Volume is { } volume)
        {
            form[at + "BlockDeviceMapping.1.DeviceName"] = volume.Device;
            form[at + "BlockDeviceMapping.1.Ebs.VolumeSize"] = Number(volume.GiB);
            form[at + "BlockDeviceMapping.1.Ebs.VolumeType"] = "gp3";
            form[at + "BlockDeviceMapping.1.Ebs.Encrypted"] = "true";
            form[at + "BlockDeviceMapping.1.Ebs.DeleteOnTermination"] = "true";
        }
    }

    private static string Number(int number) => number.ToString(CultureInfo.InvariantCulture);

    /// <summary>Reads instance by instance: a page as one document would take twenty times its size.</summary>
    /// <param name="known">Texts that many instances have in common, each kept once.</param>
    /// <returns>The next page's token; null or empty on the last.</returns>
    private static string? ReadInstances(byte[] answer, List<InstanceDescription> into, HashSet<string> known)
    {
        string? page = null;
        try
        {
            using var reader = XmlReader.Create(new MemoryStream(answer));
            reader.MoveToContent();
            for (var isInSet = false; !reader.EOF;)
            {
                if (reader.NodeType == XmlNodeType.Element && isInSet && reader.LocalName == "item")
                {
                    into.Add(Describe((XElement)XNode.ReadFrom(reader), known)); // which moves on behind it
                    continue;
                }

                if (reader.NodeType == XmlNodeType.Element && reader.LocalName == "nextToken")
                {
                    page = reader.ReadElementContentAsString();
                    continue;
                }

                if (reader.LocalName == "instancesSet")
                    isInSet = reader.NodeType == XmlNodeType.Element && !reader.IsEmptyElement;
                reader.Read();
            }
        }
        catch (XmlException)
        {
            throw new InvalidDataException("DescribeInstances: the answer is not XML");
        }

        return page;
    }

    private static InstanceDescription Describe(XElement instance, HashSet<string> known) => new(
        Text(instance, "instanceId") ?? throw new InvalidDataException("DescribeInstances: an instance without an id"),
        Once(known, Text(instance, "instanceType")),
        Once(known, Text(instance, "instanceState", "name")),
        Once(known, Text(instance, "stateReason", "message") ?? Text(instance, "reason")),
        DateTimeOffset.Parse(Text(instance, "launchTime") ?? "", CultureInfo.InvariantCulture),
        Tags(instance, known))
    {
        AvailabilityZone = Once(known, Text(instance, "placement", "availabilityZone")),
        IsSpot = Text(instance, "instanceLifecycle") == "spot",
        Ended = ReadEnd(Text(instance, "reason") ?? ""),
    };

    /// <summary>The moment stands in the text of why the state changed, as <c>User initiated (2026-11-21 12:00:00 GMT)</c>, if somebody ended the
    /// instance; of one that switched itself off there is only <c>User initiated</c>.
    /// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_Instance.html</summary>
    private static DateTimeOffset? ReadEnd(string reason) =>
        reason.LastIndexOf('(') is >= 0 and var open && DateTimeOffset.TryParseExact(reason[(open + 1)..].TrimEnd(')'), "yyyy-MM-dd HH:mm:ss 'GMT'", CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var end)
            ? end
            : null;

    private static string Stamp(DateTimeOffset moment) => moment.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture);

    private static Dictionary<string, string> Tags(XElement resource, HashSet<string> known) => Items(resource, "tagSet").ToDictionary(t => Once(known, Text(t, "key")), t => Text(t, "value") ?? "");

    private static string Once(HashSet<string> known, string? text)
    {
        text ??= "";
        if (known.TryGetValue(text, out var same))
            return same;
        known.Add(text);
        return text;
    }

    private async Task<XElement> CallAsync(string action, Form form, CancellationToken cancel) =>
        Parse(await SendAsync(action, form, cancel)) ?? throw new InvalidDataException($"{action}: the answer is not XML");

    private async Task<byte[]> SendAsync(string action, Form form, CancellationToken cancel)
    {
        form["Action"] = action;
        form["Version"] = ApiVersion;
        using var content = new FormUrlEncodedContent(form);
        return await connection.SendAsync(action,
            new AwsRequest(await content.ReadAsByteArrayAsync(cancel), "application/x-www-form-urlencoded", null),
            (response, bytes) => ReadError(action, response, Encoding.UTF8.GetString(bytes)), cancel);
    }

    /// <summary>An error's code and message stand in the first elements of these names. Without an XML library: the agent
    /// makes only calls whose answer tells nothing, and the library would be the largest part of it.</summary>
    private static AwsException ReadError(string action, HttpResponseMessage response, string body)
    {
        return new AwsException(action, Element("Code") ?? "Unknown", Element("Message") ?? "no message", response.StatusCode);

        string? Element(string name)
        {
            var start = body.IndexOf($"<{name}>", StringComparison.Ordinal);
            var end = body.IndexOf($"</{name}>", StringComparison.Ordinal);
            return start < 0 || end < start ? null : WebUtility.HtmlDecode(body[(start + name.Length + 2)..end]);
        }
    }

    private static XElement? Parse(byte[] body)
    {
        try
        {
            return XDocument.Load(new MemoryStream(body)).Root;
        }
        catch (XmlException)
        {
            return null;
        }
    }

    /// <summary>Elements by local name: the namespace carries the API version and tells nothing else.</summary>
    private static XElement? Child(XElement parent, string name) => parent.Elements().FirstOrDefault(e => e.Name.LocalName == name);

    private static string? Text(XElement parent, params ReadOnlySpan<string> path)
    {
        XElement? at = parent;
        foreach (var name in path)
            at = at is null ? null : Child(at, name);
        return at?.Value;
    }

    private static IEnumerable<XElement> Items(XElement parent, string list) =>
        Child(parent, list)?.Elements().Where(e => e.Name.LocalName == "item") ?? [];

    private sealed class Form : Dictionary<string, string>;
}
