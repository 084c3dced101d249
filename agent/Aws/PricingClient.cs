using System.Buffers;
using System.Globalization;
using System.Text.Json;

namespace Mayfly.Aws;

/// <summary>The call to the AWS Price List that Mayfly makes, in its JSON 1.1 protocol.
/// https://docs.aws.amazon.com/aws-cost-management/latest/APIReference/API_pricing_GetProducts.html</summary>
public sealed class PricingClient(AwsConnection connection)
{
    /// <summary>The endpoint's name; the service is <c>pricing</c> in signatures.</summary>
    private const string Endpoint = "api.pricing";

    /// <summary>An instance's time on demand: Linux, without anything that is paid for beside it, on shared hardware, while it runs.
    /// Without one of these there are several products, some of which cost nothing.</summary>
    private static readonly (string Field, string Value)[] Filters =
    [
        ("operatingSystem", "Linux"), ("preInstalledSw", "NA"), ("tenancy", "Shared"), ("capacitystatus", "Used"),
    ];

    /// <summary>Connects to the price list that is nearest to a region: it answers for all of its partition's regions from a few.
    /// https://docs.aws.amazon.com/general/latest/gr/billing.html</summary>
    /// <param name="limit">End of one try.</param>
    public static AwsConnection Connect(string region, AwsKeySource keys, TimeSpan limit, TimeProvider time, CallPace? pace = null) =>
        AwsConnection.ToEndpoint(Endpoint, "pricing", RegionFor(region), keys, limit, time, pace);

    public static string RegionFor(string region) => region.Split('-')[0] switch
    {
        "eu" => "eu-central-1",
        "ap" => "ap-south-1",
        "cn" => "cn-northwest-1",
        _ => "us-east-1",
    };

    /// <summary>What the price list holds for a type of instance, on demand, in a region: US dollars an hour, of each product that fits.
    /// One is expected; none where there is no such type there, or it is sold in another currency.</summary>
    /// <exception cref="AwsException"><c>AccessDeniedException</c> without <c>pricing:GetProducts</c>.</exception>
    public async Task<IReadOnlyList<decimal>> GetOnDemandAsync(string region, string instanceType, CancellationToken cancel)
    {
        var body = new ArrayBufferWriter<byte>();
        using (var input = new Utf8JsonWriter(body))
        {
            input.WriteStartObject();
            input.WriteString("ServiceCode", "AmazonEC2");
            input.WriteString("FormatVersion", "aws_v1");
            input.WriteStartArray("Filters");
            foreach (var (field, value) in (ReadOnlySpan<(string, string)>)[("regionCode", region), ("instanceType", instanceType), .. Filters])
            {
                input.WriteStartObject();
                input.WriteString("Type", "TERM_MATCH");
                input.WriteString("Field", field);
                input.WriteString("Value", value);
                input.WriteEndObject();
            }

            input.WriteEndArray();
            input.WriteEndObject();
        }

        var answer = await connection.SendAsync("GetProducts", new AwsRequest(body.WrittenSpan.ToArray(), "application/x-amz-json-1.1", "AWSPriceListService.GetProducts"),
            (response, error) => JsonError.Read("GetProducts", response, error), cancel);
        try
        {
            using var products = JsonDocument.Parse(answer);
            return [.. products.RootElement.GetProperty("PriceList").EnumerateArray().SelectMany(product => HourlyOf(product.GetString()!))];
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException or FormatException)
        {
            throw new InvalidDataException("GetProducts: the answer is not the price list's");
        }
    }

    /// <summary>A product is a JSON document of its own, in a string: <c>terms.OnDemand.*.priceDimensions.*</c>.</summary>
    private static List<decimal> HourlyOf(string product)
    {
        using var document = JsonDocument.Parse(product);
        var prices = new List<decimal>();
        if (!document.RootElement.GetProperty("terms").TryGetProperty("OnDemand", out var terms))
            return prices;
        foreach (var dimension in terms.EnumerateObject().SelectMany(term => term.Value.GetProperty("priceDimensions").EnumerateObject()))
        {
            if (dimension.Value.GetProperty("unit").GetString() == "Hrs" && dimension.Value.GetProperty("pricePerUnit").TryGetProperty("USD", out var usd))
                prices.Add(decimal.Parse(usd.GetString()!, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture));
        }

        return prices;
    }
}
