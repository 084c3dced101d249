using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Mayfly.Lab.Aws;
using Mayfly.Lab.Ec2;
using Mayfly.Lab.Ssm;

namespace Mayfly.Lab.Pricing;

/// <summary>
/// The AWS Price List's GetProducts for AmazonEC2, in its JSON 1.1 protocol: each product a JSON document in a string. As AWS it has
/// several products for one type, told apart by attributes, of which the reserved capacity's cost nothing.
/// https://docs.aws.amazon.com/aws-cost-management/latest/APIReference/API_pricing_GetProducts.html
/// </summary>
internal sealed partial class PriceList(Journal journal, TimeProvider time)
{
    /// <summary>The regions that answer, each for all regions.</summary>
    public static readonly IReadOnlyList<string> Endpoints = ["us-east-1", "eu-central-1", "ap-south-1"];

    private static readonly HashSet<string> Regions = ["us-east-1", "us-east-2", "us-west-1", "us-west-2", "eu-central-1", "eu-west-1", "eu-west-2", "eu-west-3", "eu-north-1", "ap-south-1", "ap-southeast-1", "ap-southeast-2", "ap-northeast-1"];

    /// <summary>What AmazonEC2's products can be filtered by, as DescribeServices names it.</summary>
    private static readonly HashSet<string> Attributes =
    [
        "availabilityzone", "capacitystatus", "classicnetworkingsupport", "clockSpeed", "currentGeneration", "dedicatedEbsThroughput", "ecu", "enhancedNetworkingSupported", "gpuMemory", "instanceFamily", "instanceSKU",
        "instanceType", "intelAvxAvailable", "intelAvx2Available", "intelTurboAvailable", "licenseModel", "location", "locationType", "marketoption", "maxIopsvolume", "memory", "networkPerformance", "normalizationSizeFactor",
        "operatingSystem", "operation", "physicalProcessor", "preInstalledSw", "processorArchitecture", "processorFeatures", "productFamily", "regionCode", "servicecode", "servicename", "storage", "storageMedia", "tenancy",
        "termType", "usagetype", "vcpu", "volumeApiName", "volumeType", "vpcnetworkingsupport",
    ];

    /// <summary>What a type is sold as, and for how many times its price.</summary>
    private static readonly (string System, string Software, string Tenancy, string Capacity, decimal Factor)[] Kinds =
    [
        ("Linux", "NA", "Shared", "Used", 1), ("Linux", "NA", "Shared", "UnusedCapacityReservation", 1), ("Linux", "NA", "Shared", "AllocatedCapacityReservation", 0), ("Linux", "SQL Web", "Shared", "Used", 1.7m),
        ("Linux", "NA", "Dedicated", "Used", 1.1m), ("Windows", "NA", "Shared", "Used", 1.9m), ("RHEL", "NA", "Shared", "Used", 1.3m),
    ];

    /// <summary>Calls a second. What AWS allows it does not tell; this is low.</summary>
    public Rates Rates { get; } = Limited(time);

    /// <summary>Called before each call; throws the fault that a test wants. Null by default.</summary>
    public Action<string, Principal>? Disturb { get; set; }

    public JsonObject Call(HttpRequest request, byte[] body, Principal caller)
    {
        var target = request.Headers["X-Amz-Target"].ToString();
        if (request.ContentType?.StartsWith("application/x-amz-json-1.1", StringComparison.Ordinal) != true || target != "AWSPriceListService.GetProducts")
            throw new AwsFault("UnknownOperationException", "");
        Disturb?.Invoke("GetProducts", caller);
        Rates.Take("GetProducts");
        if (caller.InstanceArn is not null)
            throw new AwsFault("AccessDeniedException", $"User: {caller.Arn} is not authorized to perform: pricing:GetProducts because no identity-based policy allows the pricing:GetProducts action");
        return GetProducts(new JsonInput(JsonInput.Parse(body), "ServiceCode", "Filters", "FormatVersion", "NextToken", "MaxResults"));
    }

    private JsonObject GetProducts(JsonInput input)
    {
        var service = input.Text("ServiceCode") is { Length: > 0 } code ? code : throw Wrong("Input Parameters are invalid. serviceCode cannot be null or empty");
        if (!ServiceCode().IsMatch(service))
            throw Wrong("ServiceCode can only contain a-z, A-Z, 0-9");
        if (service != "AmazonEC2")
            throw new AwsFault("NotFoundException", $"The lab has no prices of {service}");
        if (input.Text("FormatVersion") is { } version && version != "aws_v1")
            throw Wrong($"Unsupported format version {version}");
        var filters = input.Structures("Filters", "Type", "Field", "Value").Select(f => (Type: f.Require("Type"), Field: f.Require("Field"), Value: f.Require("Value"))).ToList();
        foreach (var (type, field, _) in filters)
        {
            if (type is not ("TERM_MATCH" or "EQUALS"))
                throw type is "CONTAINS" or "ANY_OF" or "NONE_OF" ? Wrong($"The lab has no filter {type}") : Wrong($"1 validation error detected: Value '{type}' at 'filters' failed to satisfy constraint: Member must satisfy enum value set");
            if (!Attributes.Contains(field) && field != "ServiceCode")
                throw Wrong($"Input Parameters are invalid. '{field}' is not an attribute of {service}");
        }

        var start = 0;
        if (input.Text("NextToken") is { } token && !int.TryParse(token, NumberStyles.None, CultureInfo.InvariantCulture, out start))
            throw new AwsFault("InvalidNextTokenException", "The pagination token is invalid. Try again without a pagination token.");
        var most = input.Integer("MaxResults", 100, 1, 100);
        var found = Products().Where(p => filters.All(f => f.Field == "ServiceCode" ? f.Value == service : p.Attributes.GetValueOrDefault(f.Field) == f.Value)).Skip(start).Take(most + 1).ToList();
        journal.Record("pricing", "products listed", "", string.Join(" ", filters.Select(f => f.Value)));
        var answer = new JsonObject { ["FormatVersion"] = "aws_v1", ["PriceList"] = new JsonArray([.. found.Take(most).Select(p => JsonValue.Create(Document(p)))]) };
        if (found.Count > most)
            answer["NextToken"] = (start + most).ToString(CultureInfo.InvariantCulture);
        return answer;
    }

    private static IEnumerable<Product> Products() =>
        from region in Regions
        from type in InstanceType.Catalogue.Values
        from kind in Kinds
        select new Product(new Dictionary<string, string>
        {
            ["servicecode"] = "AmazonEC2", ["productFamily"] = type.IsBareMetal ? "Compute Instance (bare metal)" : "Compute Instance", ["regionCode"] = region, ["locationType"] = "AWS Region", ["instanceType"] = type.Name,
            ["vcpu"] = $"{type.VCpus}", ["memory"] = $"{type.MemoryMiB / 1024} GiB", ["operatingSystem"] = kind.System, ["preInstalledSw"] = kind.Software, ["tenancy"] = kind.Tenancy, ["capacitystatus"] = kind.Capacity,
            ["marketoption"] = "OnDemand", ["licenseModel"] = "No License required",
        }, type.OnDemand * kind.Factor);

    private static string Document(Product product)
    {
        var sku = Convert.ToHexString(System.Security.Cryptography.SHA256.HashData(System.Text.Encoding.UTF8.GetBytes(string.Join('/', product.Attributes.Values))))[..16];
        const string Term = "JRTCKXETXF"; // the offer on demand has this code in all of AWS's list
        return new JsonObject
        {
            ["product"] = new JsonObject
            {
                ["productFamily"] = product.Attributes["productFamily"],
                ["attributes"] = new JsonObject(product.Attributes.Where(a => a.Key != "productFamily").Select(a => KeyValuePair.Create(a.Key, (JsonNode?)a.Value))),
                ["sku"] = sku,
            },
            ["serviceCode"] = "AmazonEC2",
            ["terms"] = new JsonObject
            {
                ["OnDemand"] = new JsonObject
                {
                    [$"{sku}.{Term}"] = new JsonObject
                    {
                        ["priceDimensions"] = new JsonObject
                        {
                            [$"{sku}.{Term}.6YS6EN2CT7"] = new JsonObject
                            {
                                ["unit"] = "Hrs", ["endRange"] = "Inf", ["beginRange"] = "0", ["appliesTo"] = new JsonArray(),
                                ["pricePerUnit"] = new JsonObject { ["USD"] = product.Usd.ToString("F10", CultureInfo.InvariantCulture) },
                            },
                        },
                        ["sku"] = sku, ["offerTermCode"] = Term, ["termAttributes"] = new JsonObject(),
                    },
                },
            },
            ["version"] = "20261101000000",
        }.ToJsonString(JsonSerializerOptions.Default);
    }

    private static Rates Limited(TimeProvider time)
    {
        var rates = new Rates(time, () => new AwsFault("ThrottlingException", "Rate exceeded"));
        rates.Set("GetProducts", 5);
        return rates;
    }

    private static AwsFault Wrong(string message) => new("InvalidParameterException", message);

    private sealed record Product(IReadOnlyDictionary<string, string> Attributes, decimal Usd);

    [GeneratedRegex("^[a-zA-Z0-9]+$")]
    private static partial Regex ServiceCode();
}
