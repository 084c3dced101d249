using System.Globalization;
using Mayfly.Contract;

namespace Mayfly.Controller.Policies;

/// <summary>Where machines are launched: an account in a region, and the role that may.</summary>
/// <param name="Role">Its ARN, to assume; null for the controller's own credentials.</param>
/// <param name="ExternalId">What the role's trust wants to hear, against the confused deputy; no secret.</param>
/// <param name="Subnets">By zone; empty takes the launch template's own.</param>
internal sealed record Account(
    string Name, string Region, string? Role, string? ExternalId, string LaunchTemplate, IReadOnlyDictionary<string, string> Subnets)
{
    public Site Site => new(Region, Role, ExternalId);
}

/// <summary>An image by name: an AMI or a parameter that holds one, or a launch template that stands for it.</summary>
internal sealed record Image(string? Id, string? LaunchTemplate);

/// <summary>What machines are launched from at one site.</summary>
/// <param name="Image">As in <see cref="Order"/>: null for the launch template's own.</param>
internal sealed record ImageSource(Site Site, string LaunchTemplate, string? Image)
{
    /// <summary>For people.</summary>
    public override string ToString() => $"{Image ?? $"launch template {LaunchTemplate}"} in {Site}";
}

/// <summary>The most that may be alive at once; null for no limit.</summary>
internal sealed record Caps(int? Machines, int? Vcpus)
{
    public static readonly Caps None = new(null, null);
}

/// <summary>How a refused job's reason reaches its user.</summary>
internal enum RefusalWay
{
    /// <summary>A failed check on the job's commit.</summary>
    Check,

    /// <summary>The check, and the run is cancelled: the job would wait for a day otherwise.</summary>
    Cancel,

    /// <summary>The controller's log alone.</summary>
    Log,
}

/// <summary>What labels may ask for, and defaults may give.</summary>
/// <param name="Cpu">The most vCPUs; null: no choice. Likewise the others.</param>
/// <param name="Families">Patterns such as <c>m7i</c> and <c>c7*</c>; empty: no choice, and no restriction either.</param>
/// <param name="Zones">Empty: no choice, and no restriction either.</param>
/// <param name="Egress">Modes by their words, and host names.</param>
internal sealed record Allowed(
    int? Cpu, int? Ram, int? Disk, IReadOnlyList<string> Families, IReadOnlyList<string> Images, IReadOnlyList<string> Zones,
    IReadOnlyList<SpotMode> Spot, bool Sudo, IReadOnlyList<string> Egress)
{
    public bool Permits(EgressMode mode) => Egress.Contains(Policies.Egress.Word(mode)) || (mode == EgressMode.Allow && Egress.Any(Policies.Egress.IsHost));

    /// <summary>Who may connect anywhere may also name what to connect to.</summary>
    public bool Permits(string host) => Permits(EgressMode.Open) || Permits(EgressMode.Audit) || Egress.Any(pattern => Policies.Egress.Covers(pattern, host));

    public bool PermitsFamily(string family) => Families.Any(p => p == family || (p.EndsWith('*') && family.StartsWith(p[..^1], StringComparison.Ordinal)));
}

/// <summary>What holds for one repository: <see cref="Allow"/> bounds what its labels ask for and what its defaults give alike.</summary>
/// <param name="Images">The policy's, by name.</param>
/// <param name="InAll">The caps of all repositories together.</param>
/// <param name="InstanceTypes">Launched where the labels ask for no shape; empty: by the defaults, or the launch template's own.</param>
/// <param name="Vcpus">What the operator says that such a machine counts for.</param>
internal sealed record Rules(
    Account Account, Allowed Allow, Ask Defaults, Caps Caps, Caps InAll, IReadOnlyDictionary<string, Image> Images, IReadOnlyList<string> InstanceTypes,
    int? Vcpus, TimeSpan IdleTimeout, TimeSpan JobTimeout, RefusalWay Refusals)
{
    private const int LongestTag = 256; // of EC2

    /// <summary>Of a machine that nothing tells the size of, where there are no caps: docs/controller.md's m7i.large.</summary>
    private const int UnknownVcpus = 2;

    /// <summary>The agent cuts swap out of the volume: an eighth of it, and no more than this.</summary>
    private const int MostSwapGiB = 4;

    /// <summary>No machine of this repository has more vCPUs, unless the operator names larger types.</summary>
    public int? MostVcpus => Allow.Cpu is { } cpu ? Math.Min(cpu, Math.Min(Caps.Vcpus ?? cpu, InAll.Vcpus ?? cpu)) : null;

    /// <summary>What a machine counts for whose shape is not asked for; null where only the launch template could tell.</summary>
    public int? Counted => Vcpus ?? (InstanceTypes.Count > 0 && InstanceTypes.All(type => InstanceSize.Vcpus(type) is not null) ? InstanceTypes.Max(InstanceSize.Vcpus) : null);

    /// <summary>Whatever a machine of this repository may be launched from.</summary>
    public IEnumerable<ImageSource> ImageSources => Allow.Images.Append(Defaults.Image).Distinct().Select(Source);

    /// <summary>Finds what is asked for and not allowed.</summary>
    /// <returns>The key, and why, with what is allowed; null if all is.</returns>
    public (string Key, string Why)? Forbids(Ask ask) =>
        TooMuch("cpu", ask.Cpu, MostVcpus, "vCPUs")
        ?? TooMuch("ram", ask.Ram, Allow.Ram, "GiB")
        ?? TooMuch("disk", ask.Disk is { } disk ? new Amount(disk, null) : null, Allow.Disk, "GiB")
        ?? NotAmong("family", ask.Families, Allow.PermitsFamily, Allow.Families)
        ?? NotAmong("image", ask.Image is { } image ? [image] : null, Allow.Images.Contains, Allow.Images)
        ?? NotAmong("zone", ask.Zones, Allow.Zones.Contains, Allow.Zones)
        ?? NotAmong("spot", ask.Spot is { } spot ? [Ask.Word(spot)] : null, word => Allow.Spot.Any(m => Ask.Word(m) == word), [.. Allow.Spot.Select(Ask.Word)])
        ?? NotAmong("sudo", ask.Sudo == true ? ["true"] : null, _ => Allow.Sudo, ["false"])
        ?? ForbidsEgress(ask.Egress);

    /// <summary>What is launched for an ask that nothing forbids.</summary>
    public Order OrderFor(Ask asked)
    {
        var ask = asked.Over(Defaults);
        var shape = asked.HasShape || (ask.HasShape && InstanceTypes.Count == 0) ? Shape(ask) : null;
        var source = Source(ask.Image);
        var zones = ask.Zones ?? Allow.Zones;
        return new Order(
            Account.Name, Account.Region, Account.Role, Account.ExternalId, source.LaunchTemplate, source.Image,
            shape is null ? InstanceTypes : [], shape, zones,
            [.. Account.Subnets.Where(s => zones.Count == 0 || zones.Contains(s.Key)).Select(s => s.Value)],
            ask.Spot ?? Enum.GetValues<SpotMode>().First(Allow.Spot.Contains),
            ask.Disk is { } disk ? disk + Math.Min(MostSwapGiB, (disk + 6) / 7) : null,
            AgentTags(ask), shape?.VCpuMost ?? Counted ?? UnknownVcpus);
    }

    private ImageSource Source(string? name)
    {
        var image = name is null ? null : Images[name];
        return new ImageSource(Account.Site, image?.LaunchTemplate ?? Account.LaunchTemplate, image?.Id);
    }

    private Requirements Shape(Ask ask)
    {
        // What is allowed and not asked for is bounded by the policy: EC2 takes the cheapest.
        var (cpu, ram) = (ask.Cpu ?? new Amount(1, MostVcpus), ask.Ram ?? new Amount(0, null));
        return new Requirements(cpu.Least, cpu.Most ?? Ask.MostVcpus, ram.Least * 1024, (ram.Most ?? Allow.Ram) * 1024,
            [.. (ask.Families ?? Allow.Families).Select(f => f.EndsWith('*') ? f : f + ".*")]);
    }

    private Dictionary<string, string> AgentTags(Ask ask)
    {
        var egress = ask.Egress ?? new Egress(Enum.GetValues<EgressMode>().First(Allow.Permits), []);
        var tags = new Dictionary<string, string>
        {
            [Tags.IdleTimeout] = IdleTimeout.TotalSeconds.ToString(CultureInfo.InvariantCulture),
            [Tags.JobTimeout] = JobTimeout.TotalSeconds.ToString(CultureInfo.InvariantCulture),
            [Tags.Sudo] = ask.Sudo == true ? "true" : "false",
            [Tags.Egress] = Egress.Word(egress.Mode),
        };
        if (egress.Hosts.Count > 0)
            tags[Tags.EgressAllow] = string.Join(' ', egress.Hosts);
        if (ask.Disk is { } disk)
            tags[Tags.ScratchGiB] = disk.ToString(CultureInfo.InvariantCulture);
        return tags;
    }

    private static (string, string)? TooMuch(string key, Amount? asked, int? most, string unit) => asked is not { } amount || Math.Max(amount.Least, amount.Most ?? 0) <= most
        ? null
        : (key, most is null ? $"{key} is not for labels to choose here" : $"at most {most} {unit} are allowed");

    private static (string, string)? NotAmong(string key, IReadOnlyList<string>? asked, Func<string, bool> isAllowed, IReadOnlyList<string> allowed) =>
        asked?.FirstOrDefault(one => !isAllowed(one)) is not { } first
            ? null
            : (key, allowed.Count == 0 ? $"{key} is not for labels to choose here" : $"'{Ask.Shown(first)}' is not allowed; allowed are {string.Join(", ", allowed)}");

    private (string, string)? ForbidsEgress(Egress? asked) => asked switch
    {
        null => default((string, string)?),
        _ when !Allow.Permits(asked.Mode) => NotAmong("egress", [Egress.Word(asked.Mode)], _ => false, Allow.Egress),
        _ when asked.Hosts.FirstOrDefault(host => !Allow.Permits(host)) is { } host => NotAmong("egress", [host], _ => false, Allow.Egress),
        _ when string.Join(' ', asked.Hosts).Length > LongestTag => ("egress", $"the names fill one tag of {LongestTag} characters at most; put a list into the image instead"),
        _ => null,
    };
}
