using System.Text.Json.Serialization;

namespace Mayfly.Controller;

/// <summary>What to launch for a job: kept with the job as JSON, so that a later policy does not change it half-way.</summary>
/// <param name="Vcpus">What it counts for where vCPUs are capped.</param>
internal sealed record Order(bool Spot, int Vcpus = 0);

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase)]
[JsonSerializable(typeof(Order))]
[JsonSerializable(typeof(IReadOnlyList<string>))]
internal sealed partial class OrderJson : JsonSerializerContext;
