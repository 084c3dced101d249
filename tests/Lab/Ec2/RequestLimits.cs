using Mayfly.Lab.Aws;

namespace Mayfly.Lab.Ec2;

/// <summary>
/// How often EC2 lets an account call. An action has a bucket of its own, of its kind's size; what launches or terminates
/// also takes a token for each instance from a bucket of resources.
/// https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html
/// </summary>
internal static class RequestLimits
{
    /// <summary>Tokens for instances launched, by whichever action.</summary>
    public const string LaunchedInstances = "launched instances";

    public const string TerminatedInstances = "terminated instances";

    /// <summary>What a <c>Describe…</c> without a filter, an id or a page takes from instead of its own.</summary>
    public const string UnfilteredSuffix = " unfiltered";

    private static readonly string[] Mutating = ["CreateLaunchTemplate", "DeleteLaunchTemplate", "CreateTags", "DeleteTags"];

    private static readonly string[] Reading =
        ["DescribeInstances", "DescribeTags", "DescribeImages", "DescribeLaunchTemplates", "DescribeLaunchTemplateVersions", "DescribeSpotPriceHistory", "GetConsoleOutput"];

    public static Rates Of(TimeProvider time)
    {
        var rates = new Rates(time, () => new AwsFault("RequestLimitExceeded", "Request limit exceeded.", 503));
        rates.Set("RunInstances", 2, burst: 5);
        // Not in the documentation's list of its own; it launches as RunInstances does, so the lab holds it to the same.
        rates.Set("CreateFleet", 2, burst: 5);
        rates.Set("TerminateInstances", 5, burst: 100);
        rates.Set(LaunchedInstances, 2, burst: 1000);
        rates.Set(TerminatedInstances, 20, burst: 1000);
        foreach (var action in Mutating)
            rates.Set(action, 5, burst: 50);
        foreach (var action in Reading)
        {
            rates.Set(action, 20, burst: 100);
            rates.Set(action + UnfilteredSuffix, 10, burst: 50);
        }

        return rates;
    }

    /// <summary>The bucket that a call takes from.</summary>
    public static string BucketOf(string action, QueryInput input) =>
        action.StartsWith("Describe", StringComparison.Ordinal) && !input.HasAny("Filter.", "InstanceId.", "ImageId.", "LaunchTemplate", "InstanceType.", "MaxResults")
            ? action + UnfilteredSuffix
            : action;
}
