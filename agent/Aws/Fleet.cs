namespace Mayfly.Aws;

/// <summary>What to launch: one instance from a launch template.</summary>
/// <param name="Template">The launch template's name; its default version is taken.</param>
/// <param name="ClientToken">1 to 64 ASCII characters. The same token and parameters never launch twice.</param>
/// <param name="Overrides">Pools to choose from; empty takes the template's own. EC2 takes at most 300.</param>
/// <param name="Tags">On the instance, from its first moment.</param>
public sealed record FleetRequest(
    string Template, string ClientToken, bool Spot, IReadOnlyList<FleetOverride> Overrides, IReadOnlyDictionary<string, string> Tags);

/// <summary>One pool: what of the launch template is replaced. Null where the template's own is taken.
/// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_FleetLaunchTemplateOverridesRequest.html</summary>
public sealed record FleetOverride
{
    public string? InstanceType { get; init; }

    /// <summary>On demand, the lowest first; null: the lowest price first.</summary>
    public int? Priority { get; init; }

    /// <summary>Instead of a type: EC2 chooses among all that are so.</summary>
    public InstanceRequirements? Requirements { get; init; }

    /// <summary>An AMI's id, or <c>resolve:ssm:NAME</c>.</summary>
    public string? ImageId { get; init; }

    public string? AvailabilityZone { get; init; }

    /// <summary>Instead of a zone.</summary>
    public string? SubnetId { get; init; }

    /// <summary>A volume beside the root's.</summary>
    public FleetVolume? Volume { get; init; }
}

/// <summary>What a type has to be like.
/// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_InstanceRequirementsRequest.html</summary>
/// <param name="MemoryMiBMost">Null: no limit.</param>
/// <param name="AllowedInstanceTypes">Patterns such as <c>m7i.*</c>; empty: any type.</param>
public sealed record InstanceRequirements(int VcpusLeast, int VcpusMost, int MemoryMiBLeast, int? MemoryMiBMost, IReadOnlyList<string> AllowedInstanceTypes);

/// <summary>An empty volume of type gp3, encrypted, that ends with its instance.</summary>
/// <param name="Device">As the launch template names it.</param>
public sealed record FleetVolume(string Device, int GiB);

/// <summary>An instance that was launched.</summary>
public sealed record LaunchedInstance(string InstanceId, string InstanceType, string AvailabilityZone);

/// <summary>A pool that refused, by the service's code.</summary>
public sealed record FleetError(string Code, string Message, string? InstanceType, string? AvailabilityZone);

/// <summary>A fleet can succeed in part: both lists may hold something.</summary>
public sealed record FleetResponse(IReadOnlyList<LaunchedInstance> Instances, IReadOnlyList<FleetError> Errors);
