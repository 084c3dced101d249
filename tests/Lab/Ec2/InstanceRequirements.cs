using System.Globalization;
using Mayfly.Lab.Aws;

namespace Mayfly.Lab.Ec2;

/// <summary>
/// Attribute-based selection: which types of the catalogue a fleet may take.
/// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_InstanceRequirementsRequest.html
/// </summary>
internal static class InstanceRequirements
{
    /// <summary>A type may cost so many percent more than the cheapest that matches, unless the request says otherwise.</summary>
    private const int SpotPriceProtection = 100;

    private const int OnDemandPriceProtection = 20;

    /// <summary>The types that match, from the parameters below a prefix.</summary>
    /// <param name="architecture">Of the image.</param>
    /// <param name="spot">Whether spot is asked for at all: the price protection goes by it.</param>
    /// <exception cref="AwsFault">What CreateFleet refuses, and what nothing matches.</exception>
    public static IReadOnlyList<string> Match(QueryInput input, string at, string architecture, bool spot)
    {
        _ = input.Require(at + "VCpuCount.Min");
        _ = input.Require(at + "MemoryMiB.Min");
        var vcpus = Range(input, at + "VCpuCount", 0);
        var memory = Range(input, at + "MemoryMiB", 0);
        var perVCpu = Range(input, at + "MemoryGiBPerVCpu", 0);
        var accelerators = Range(input, at + "AcceleratorCount", 0);
        var (allowed, excluded) = (Patterns(input, at + "AllowedInstanceType"), Patterns(input, at + "ExcludedInstanceType"));
        if (allowed.Count > 0 && excluded.Count > 0)
            throw new AwsFault("InvalidParameterCombination", "AllowedInstanceTypes and ExcludedInstanceTypes cannot both be specified");
        var (generations, makers) = (input.List(at + "InstanceGeneration"), input.List(at + "CpuManufacturer"));
        var metal = Choice(input, at + "BareMetal", "excluded");
        var burstable = Choice(input, at + "BurstablePerformance", "excluded");
        var storage = Choice(input, at + "LocalStorage", "included");
        var protection = (Spot: input.Integer(at + "SpotMaxPricePercentageOverLowestPrice", SpotPriceProtection, 0, 999_999),
            OnDemand: input.Integer(at + "OnDemandMaxPricePercentageOverLowestPrice", OnDemandPriceProtection, 0, 999_999));
        var matching = InstanceType.Catalogue.Values.Where(t => t.Architecture == architecture
            && vcpus.Holds(t.VCpus) && memory.Holds(t.MemoryMiB) && perVCpu.Holds(t.MemoryMiB / 1024m / t.VCpus) && accelerators.Holds(t.HasAccelerator ? 1 : 0)
            && (allowed.Count == 0 || Any(allowed, t.Name)) && !Any(excluded, t.Name)
            && (generations.Count == 0 || generations.Contains(t.IsCurrent ? "current" : "previous")) && (makers.Count == 0 || makers.Contains(t.CpuManufacturer))
            && IsChosen(metal, t.IsBareMetal) && IsChosen(burstable, t.IsBurstable) && IsChosen(storage, t.HasInstanceStore)).ToList();
        if (matching.Count == 0)
            throw new AwsFault("InvalidParameterValue", "No instance type satisfies the specified instance requirements.");
        // The cheapest current one of the general families is the measure, or the cheapest of all where there is none.
        var measure = matching.Where(t => t.IsCurrent && t.Name[0] is 'c' or 'm' or 'r').DefaultIfEmpty(matching.MinBy(t => t.OnDemand)!).Min(t => t!.OnDemand);
        var most = measure * (100 + (spot ? protection.Spot : protection.OnDemand)) / 100;
        return [.. matching.Where(t => t.OnDemand <= most).OrderBy(t => t.Name, StringComparer.Ordinal).Select(t => t.Name)];
    }

    private static (decimal Least, decimal Most, Func<decimal, bool> Holds) Range(QueryInput input, string at, decimal least)
    {
        var (min, max) = (Number(input, at + ".Min") ?? least, Number(input, at + ".Max") ?? decimal.MaxValue);
        if (min > max)
            throw new AwsFault("InvalidParameterValue", $"{at}: Min may not exceed Max");
        return (min, max, value => value >= min && value <= max);
    }

    private static decimal? Number(QueryInput input, string name) => input.Get(name) switch
    {
        null => null,
        var text when decimal.TryParse(text, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var value) => value,
        var text => throw new AwsFault("InvalidParameterValue", $"Value ({text}) for parameter {name} is invalid."),
    };

    private static string Choice(QueryInput input, string name, string byDefault) => input.OneOf(name, byDefault, "included", "excluded", "required");

    private static bool IsChosen(string choice, bool has) => choice switch { "required" => has, "excluded" => !has, _ => true };

    /// <summary>Types, or families such as <c>c7*</c>; at most 400.</summary>
    private static IReadOnlyList<string> Patterns(QueryInput input, string name) => input.List(name) is { Count: <= 400 } patterns
        ? patterns
        : throw new AwsFault("InvalidParameterValue", $"At most 400 values of {name}");

    private static bool Any(IReadOnlyList<string> patterns, string name) => patterns.Any(p => System.IO.Enumeration.FileSystemName.MatchesSimpleExpression(p, name, ignoreCase: false));
}
