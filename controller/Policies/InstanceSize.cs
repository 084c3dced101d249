using System.Globalization;

namespace Mayfly.Controller.Policies;

/// <summary>What an instance type's name tells of its size.</summary>
internal static class InstanceSize
{
    /// <summary>
    /// vCPUs of a type, or more than it has: the sizes of the HPC types and of the oldest small ones have fewer. An
    /// <c>xlarge</c> has four, and <c>Nxlarge</c> N times as many.
    /// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/cpu-options-supported-instances-values.html
    /// </summary>
    /// <returns>Null for <c>metal</c> without a size, and for what is no type.</returns>
    public static int? Vcpus(string type)
    {
        var size = type[(type.IndexOf('.', StringComparison.Ordinal) + 1)..].Replace("metal-", "", StringComparison.Ordinal);
        if (size == type)
            return null;
        if (size is "nano" or "micro" or "small" or "medium" or "large")
            return 2;
        foreach (var unit in (ReadOnlySpan<string>)["xlarge", "xl"])
        {
            if (size.EndsWith(unit, StringComparison.Ordinal))
                return size == unit ? 4 : int.TryParse(size[..^unit.Length], NumberStyles.None, CultureInfo.InvariantCulture, out var times) && times is > 0 and <= Ask.MostVcpus / 4 ? 4 * times : null;
        }

        return null;
    }
}
