namespace Mayfly.Controller.Launching;

/// <summary>What to do about a service's refusal of a launch, told by its code.
/// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html</summary>
internal enum LaunchTrouble
{
    /// <summary>Nothing to be had in this pool now: another pool, or later.</summary>
    NoCapacity,

    /// <summary>It passes: later. A call that was made too often has slowed its <see cref="Pace"/> by then.</summary>
    Passing,

    /// <summary>The account may have no more of it: waiting does not mend it, people do.</summary>
    Quota,

    /// <summary>Permissions, or what the operator set wrongly.</summary>
    Final,
}

internal static class LaunchTroubles
{
    public static LaunchTrouble Of(string code) => code switch
    {
        // Of a subnet without addresses, a type that a zone does not have, and spot's own count of vCPUs, another pool is free.
        "InsufficientInstanceCapacity" or "InsufficientHostCapacity" or "InsufficientCapacity" or "UnfulfillableCapacity" or "SpotMaxPriceTooLow"
            or "MaxSpotInstanceCountExceeded" or "InsufficientFreeAddressesInSubnet" or "Unsupported" => LaunchTrouble.NoCapacity,
        "VcpuLimitExceeded" or "InstanceLimitExceeded" or "VolumeLimitExceeded" or "MaxIOPSLimitExceeded" or "ParameterLimitExceeded" or "TagLimitExceeded" => LaunchTrouble.Quota,
        "UnauthorizedOperation" or "AuthFailure" or "AccessDenied" or "AccessDeniedException" or "OptInRequired" or "Blocked" or "MissingParameter" or "UnknownParameter"
            or "ValidationException" => LaunchTrouble.Final,
        "InvalidInstanceID.NotFound" => LaunchTrouble.Passing, // of an instance that not all of EC2 knows yet
        _ when code.StartsWith("Invalid", StringComparison.Ordinal) => LaunchTrouble.Final,
        _ => LaunchTrouble.Passing,
    };

    public static bool IsLasting(string code) => Of(code) is LaunchTrouble.Quota or LaunchTrouble.Final;
}
