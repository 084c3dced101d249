namespace Mayfly.Controller.Policies;

/// <summary>How a machine is bought.</summary>
internal enum SpotMode
{
    /// <summary>On demand; the label's word is <c>false</c>.</summary>
    OnDemand,

    /// <summary>Spot, and on demand where EC2 has no spot capacity.</summary>
    Auto,

    /// <summary>Spot and nothing else; <c>true</c>.</summary>
    Spot,

    /// <summary>As <see cref="Auto"/>, and a job that EC2 interrupted is run again, on demand.</summary>
    Rerun,
}

/// <summary>One thing that can be asked for: how it is read, printed and taken over from what lies beneath.</summary>
/// <param name="Wanted">For messages and docs/policy.md: what a value may be.</param>
/// <param name="Read">Null if the value, in lower case, is none.</param>
/// <param name="Print">As <paramref name="Read"/> reads it; null if it is not asked for.</param>
/// <param name="Copy">The first with this one thing of the second.</param>
internal sealed record AskKey(string Name, string Wanted, Func<Ask, string, Ask?> Read, Func<Ask, string?> Print, Func<Ask, Ask, Ask> Copy);

/// <summary>What a job's labels ask for, or a policy's defaults; null where they say nothing.</summary>
internal sealed record Ask
{
    public static readonly Ask Nothing = new();

    /// <summary>The most vCPUs and memory of any instance type: u7inh-32tb.480xlarge.
    /// https://docs.aws.amazon.com/ec2/latest/instancetypes/mo.html</summary>
    public const int MostVcpus = 1920;

    public const int MostRamGiB = 32_768;

    /// <summary>The largest EBS volume, 64 TiB, as the agent's tag has it.</summary>
    public const int MostDiskGiB = 65_536;

    public static readonly IReadOnlyList<AskKey> Keys =
    [
        new("cpu", $"vCPUs from 1 to {MostVcpus}, or a range such as 4-8",
            (ask, text) => Amount.Parse(text, MostVcpus, exact: true) is { } amount ? ask with { Cpu = amount } : null,
            ask => ask.Cpu?.Print(exact: true), (to, from) => to with { Cpu = from.Cpu }),
        // Memory of instance types comes in odd sizes: 15.25 GiB is what an exact 15 or 16 would miss.
        new("ram", $"GiB of memory from 1 to {MostRamGiB}, at least; or a range such as 16-32",
            (ask, text) => Amount.Parse(text, MostRamGiB, exact: false) is { } amount ? ask with { Ram = amount } : null,
            ask => ask.Ram?.Print(exact: false), (to, from) => to with { Ram = from.Ram }),
        new("family", "instance families such as m7i, with + between",
            (ask, text) => List(text, IsFamily) is { } families ? ask with { Families = families } : null,
            ask => Join(ask.Families), (to, from) => to with { Families = from.Families }),
        new("spot", "auto, true, false or rerun",
            (ask, text) => SpotOf(text) is { } mode ? ask with { Spot = mode } : null,
            ask => ask.Spot is { } mode ? Word(mode) : null, (to, from) => to with { Spot = from.Spot }),
        new("disk", $"GiB of scratch from 1 to {MostDiskGiB}, at least",
            (ask, text) => Amount.Number(text, MostDiskGiB) is { } number ? ask with { Disk = number } : null,
            ask => ask.Disk is { } number ? new Amount(number, null).Print(exact: false) : null, (to, from) => to with { Disk = from.Disk }),
        new("image", "the name of one of the policy's images",
            (ask, text) => IsImageName(text) ? ask with { Image = text } : null,
            ask => ask.Image, (to, from) => to with { Image = from.Image }),
        new("zone", "availability zones such as eu-west-1a, with + between",
            (ask, text) => List(text, IsZone) is { } zones ? ask with { Zones = zones } : null,
            ask => Join(ask.Zones), (to, from) => to with { Zones = from.Zones }),
        new("sudo", "true or false",
            (ask, text) => text is "true" or "false" ? ask with { Sudo = text == "true" } : null,
            ask => ask.Sudo is { } sudo ? (sudo ? "true" : "false") : null, (to, from) => to with { Sudo = from.Sudo }),
        new("egress", "open, audit, allow, or host names such as *.example.com with + between",
            (ask, text) => Policies.Egress.Parse(text) is { } egress ? ask with { Egress = egress } : null,
            ask => ask.Egress?.Print(), (to, from) => to with { Egress = from.Egress }),
        new(RunKey, "anything that no other job bears, such as ${{ github.run_id }}",
            (ask, text) => text.Length > 0 ? ask with { Run = text } : null,
            ask => ask.Run, (to, from) => to with { Run = from.Run }),
    ];

    /// <summary>Asks for nothing, and makes the label unlike any other: a runner that bears it takes no other's job.</summary>
    public const string RunKey = "run";

    /// <summary>vCPUs; a single number is exact.</summary>
    public Amount? Cpu { get; init; }

    /// <summary>GiB; a single number is the least.</summary>
    public Amount? Ram { get; init; }

    public IReadOnlyList<string>? Families { get; init; }

    public SpotMode? Spot { get; init; }

    /// <summary>GiB of scratch.</summary>
    public int? Disk { get; init; }

    /// <summary>By its name in the policy.</summary>
    public string? Image { get; init; }

    public IReadOnlyList<string>? Zones { get; init; }

    public bool? Sudo { get; init; }

    public Egress? Egress { get; init; }

    public string? Run { get; init; }

    /// <summary>Whether the machine's shape is asked for.</summary>
    public bool HasShape => Cpu is not null || Ram is not null || Families is not null;

    /// <summary>For messages: where each key was asked for, such as <c>label 'cpu=4'</c>.</summary>
    private Dictionary<string, string> Sources { get; init; } = [];

    /// <summary>Whether the job is for Mayfly: it bears the label itself, or one that begins with it and a slash.</summary>
    public static bool Concerns(IEnumerable<string?> labels, string routing) => labels.Any(label => label is not null
        && (label.Equals(routing, StringComparison.OrdinalIgnoreCase) || IsCompound(label, routing)));

    /// <summary>Reads <c>cpu=4</c>, <c>ram=16</c> or <c>mayfly/cpu=4/ram=16</c>. Labels without <c>=</c>, such as
    /// <c>self-hosted</c>, ask for nothing. Case makes no difference, as to GitHub.</summary>
    /// <returns>What is asked for, or why the labels cannot be understood: names the label, the value and what is wanted.</returns>
    public static (Ask Ask, string? Reason) Parse(IEnumerable<string?> labels, string routing)
    {
        var ask = Nothing;
        foreach (var label in labels.OfType<string>())
        {
            var isCompound = IsCompound(label, routing);
            if (label.Equals(routing, StringComparison.OrdinalIgnoreCase) || (!isCompound && !label.Contains('=', StringComparison.Ordinal)))
                continue;
            foreach (var part in isCompound ? label[(routing.Length + 1)..].Split('/') : [label])
            {
                var where = isCompound ? $"label '{Shown(label)}', '{Shown(part)}'" : $"label '{Shown(label)}'";
                if (part.Split('=', 2) is not [var key, var value])
                    return (Nothing, $"{where}: KEY=VALUE is wanted");
                key = key.Equals($"{routing}-{RunKey}", StringComparison.OrdinalIgnoreCase) ? RunKey : key.ToLowerInvariant();
                (ask, var reason) = ask.With(key, value, where);
                if (reason is not null)
                    return (Nothing, reason);
            }
        }

        return (ask, null);
    }

    /// <summary>Adds one thing.</summary>
    /// <param name="where">Where it stands, for messages.</param>
    public (Ask Ask, string? Reason) With(string key, string value, string where)
    {
        if (Keys.FirstOrDefault(k => k.Name == key) is not { } known)
            return (this, $"{where}: {Nearest.Unknown(Shown(key), [.. Keys.Select(k => k.Name)])}");
        if (Sources.TryGetValue(key, out var before))
            return (this, $"{where}: {key} is asked for already, by {before}; once is wanted");
        return known.Read(this, value.ToLowerInvariant()) is { } ask
            ? (ask with { Sources = new Dictionary<string, string>(Sources) { [key] = where } }, null)
            : (this, $"{where}: {key} takes {known.Wanted}");
    }

    /// <summary>This, and what lies beneath where this says nothing.</summary>
    public Ask Over(Ask beneath) => Keys.Aggregate(this, (ask, key) => key.Print(ask) is null ? key.Copy(ask, beneath) : ask);

    /// <summary>Where a key was asked for.</summary>
    public string Source(string key) => Sources.GetValueOrDefault(key, key);

    /// <summary>What is asked for as labels, one for each thing.</summary>
    public IEnumerable<string> Labels() => Keys.Select(key => (key.Name, Value: key.Print(this))).Where(item => item.Value is not null).Select(item => $"{item.Name}={item.Value}");

    public static string Word(SpotMode mode) => mode switch
    {
        SpotMode.OnDemand => "false",
        SpotMode.Spot => "true",
        SpotMode.Auto => "auto",
        _ => "rerun",
    };

    public static SpotMode? SpotOf(string word) => Enum.GetValues<SpotMode>().Cast<SpotMode?>().FirstOrDefault(mode => Word(mode!.Value) == word);

    /// <summary>Begins with a letter; a digit stands in it: m7i, c8gd, u7in-16tb.</summary>
    public static bool IsFamily(string text) => text.Length is > 1 and <= 32 && char.IsAsciiLetterLower(text[0]) && text.Any(char.IsAsciiDigit) && text.All(IsPlain);

    /// <summary><c>eu-west-1a</c>, or a local zone's <c>us-west-2-lax-1a</c>.</summary>
    public static bool IsZone(string text) => text.Length is > 5 and <= 48 && text.All(IsPlain) && text.Count(c => c == '-') >= 2 && char.IsAsciiLetterLower(text[0])
        && char.IsAsciiDigit(text[^2]) && char.IsAsciiLetterLower(text[^1]);

    public static bool IsImageName(string text) => text.Length is > 0 and <= 64 && text.All(c => IsPlain(c) || c is '.' or '_') && text != None;

    /// <summary>In a policy's defaults: nothing, whatever lies beneath.</summary>
    public const string None = "none";

    /// <summary>For one line of a log: no control characters, and no longer than anyone reads.</summary>
    public static string Shown(string text) => string.Concat((text.Length > 100 ? text[..100] + "…" : text).Select(c => char.IsControl(c) ? '?' : c));

    private static bool IsCompound(string label, string routing) => label.Length > routing.Length && label[routing.Length] == '/' && label.StartsWith(routing, StringComparison.OrdinalIgnoreCase);

    private static bool IsPlain(char c) => char.IsAsciiLetterLower(c) || char.IsAsciiDigit(c) || c == '-';

    private static string[]? List(string text, Func<string, bool> isOne) => text.Split('+') is var items && items.All(isOne) && items.Distinct().Count() == items.Length ? items : null;

    private static string? Join(IReadOnlyList<string>? items) => items is null ? null : string.Join('+', items);
}
