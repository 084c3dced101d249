using System.Text.Json;
using System.Text.Json.Serialization;

namespace Mayfly.Bench;

/// <summary>One figure of docs/specification.md, as this run measured it.</summary>
/// <param name="Unit"><c>ms</c>, <c>s</c> or <c>bytes</c>: less is better in all of them.</param>
/// <param name="ComparedWith">What else was measured, or the limit promised; null where there is nothing to compare with.</param>
/// <param name="ComparedValue">Its value in the same unit, from the same run.</param>
internal sealed record Measurement(string Name, double Value, string Unit, string? ComparedWith = null, double? ComparedValue = null)
{
    /// <summary>What docs/specification.md promises at most; null where it promises nothing.</summary>
    [JsonIgnore]
    public double? Most { get; init; }

    /// <summary>How many times better than what it is compared with it promises to be at least.</summary>
    [JsonIgnore]
    public double? LeastRatio { get; init; }

    private static readonly JsonSerializerOptions Json = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        DefaultIgnoreCondition = JsonIgnoreCondition.Never,
        WriteIndented = true,
    };

    /// <summary>How many times better than what it is compared with.</summary>
    public double? Ratio => ComparedValue is { } other && Value > 0 ? Math.Round(other / Value, 2) : null;

    /// <summary>Whether all that is promised was measured; null where nothing is, or there was nothing to compare with.</summary>
    [JsonIgnore]
    public bool? IsMet => Value > Most || Ratio < LeastRatio ? false : (Most is null && LeastRatio is null) || (LeastRatio is not null && Ratio is null) ? null : true;

    public static string ToJson(IEnumerable<Measurement> measurements) => JsonSerializer.Serialize(measurements, Json);

    /// <summary>The middle one, or the lower of the two in the middle.</summary>
    public static double Median(IEnumerable<double> values)
    {
        var ordered = values.Order().ToList();
        return ordered[(ordered.Count - 1) / 2];
    }
}
