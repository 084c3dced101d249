using System.Text.Json.Serialization;

namespace Mayfly.Controller.Policies;

/// <summary>What a machine has to be like, for EC2 to choose the type (attribute-based selection).
/// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_InstanceRequirementsRequest.html</summary>
/// <param name="MemoryMiBMost">Null: no limit.</param>
/// <param name="AllowedInstanceTypes">Patterns such as <c>m7i.*</c>; empty: any type.</param>
internal sealed record Requirements(int VCpuLeast, int VCpuMost, int MemoryMiBLeast, int? MemoryMiBMost, IReadOnlyList<string> AllowedInstanceTypes);

/// <summary>
/// All that a launch needs to know of its job, decided once: plain data that is kept with the job, so that neither a restart
/// nor another policy changes what was promised.
/// </summary>
/// <param name="Account">The account's name in the policy.</param>
/// <param name="Role">Its role to assume; null for the controller's own credentials.</param>
/// <param name="Image">An AMI's id, or <c>resolve:ssm:NAME</c>, which EC2 looks up; null for the launch template's own.</param>
/// <param name="InstanceTypes">In order of preference; empty where <paramref name="Requirements"/> say, and where the launch
/// template does.</param>
/// <param name="Zones">Empty: any. Not for EC2 where there are <paramref name="Subnets"/>, which lie in these zones.</param>
/// <param name="VolumeGiB">Of the volume for scratch and swap; null for the launch template's own.</param>
/// <param name="Tags">For the agent, see <see cref="Contract.Tags"/>; the launch adds its own.</param>
/// <param name="Vcpus">What it counts for under a cap: at least as many as the machine will have.</param>
internal sealed record Order(
    string Account, string Region, string? Role, string? ExternalId, string LaunchTemplate, string? Image, IReadOnlyList<string> InstanceTypes,
    Requirements? Requirements, IReadOnlyList<string> Zones, IReadOnlyList<string> Subnets, SpotMode Spot, int? VolumeGiB,
    IReadOnlyDictionary<string, string> Tags, int Vcpus)
{
    /// <summary>Where the machine is launched.</summary>
    [JsonIgnore]
    public Site Site => new(Region, Role, ExternalId);

    [JsonIgnore]
    public ImageSource Source => new(Site, LaunchTemplate, Image);

    /// <summary>For a job that is given no machine.</summary>
    public static readonly Order Nothing = new("", "", null, null, "", null, [], null, [], [], SpotMode.OnDemand, null, new Dictionary<string, string>(), 0);

    /// <summary>The same, of what EC2 does not take back.</summary>
    public Order OnDemand() => this with { Spot = SpotMode.OnDemand };
}

/// <summary>How an order is kept.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, UseStringEnumConverter = true)]
[JsonSerializable(typeof(Order))]
[JsonSerializable(typeof(IReadOnlyList<string>))]
internal sealed partial class OrderJson : JsonSerializerContext;
