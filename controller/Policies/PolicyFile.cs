using System.Text.RegularExpressions;

namespace Mayfly.Controller.Policies;

/// <summary>The policy file, read and checked as a whole: whatever it says is refused at once, with its line, or can be carried out.</summary>
internal static partial class PolicyFile
{
    private const string OwnAccount = "default";

    private static readonly Account Placeholder = new(OwnAccount, "", null, null, "", new Dictionary<string, string>());

    /// <summary>For whoever asks what can be set: the table in docs/policy.md.</summary>
    public static string ReferenceTable
    {
        get
        {
            var keys = new List<PolicyKey>();
            Read(PolicySection.Load("", "", keys), Settings.Defaults);
            return $"| key | default | wanted | what |\n|---|---|---|---|\n{string.Concat(keys.Select(k => k.Row + "\n"))}";
        }
    }

    /// <param name="file">For messages.</param>
    /// <exception cref="SettingsException">The first mistake: file, line, column, what is wrong and what is wanted.</exception>
    public static Policy Parse(string file, string text, Settings settings) => Read(PolicySection.Load(file, text), settings);

    private static Policy Read(PolicySection root, Settings settings)
    {
        var accounts = new Dictionary<string, Account> { [OwnAccount] = Placeholder with { Region = settings.Region, LaunchTemplate = settings.LaunchTemplate } };
        foreach (var (name, section) in root.Named("accounts", "NAME", "a name of letters, digits and hyphens", Ask.IsImageName))
            accounts[name] = ReadAccount(section, name, settings);
        var images = ReadImages(root);
        var caps = ReadCaps(root.Section("caps"), Caps.None, "of all repositories together");

        var builtIn = new Rules(
            accounts[OwnAccount],
            new Allowed(null, null, null, [], [], [], Enum.GetValues<SpotMode>(), Sudo: false, [.. Enum.GetValues<EgressMode>().Select(Egress.Word)]),
            Ask.Nothing, Caps.None, caps, images, settings.InstanceTypes, Vcpus: null, settings.IdleTimeout, settings.JobTimeout, RefusalWay.Check);
        var byDefault = ReadRules(root.Section("default"), builtIn, accounts);

        var rules = new Dictionary<string, Rules>(StringComparer.OrdinalIgnoreCase);
        var entries = root.Section("repositories");
        entries.Mention("OWNER/NAME", "`OWNER/*`, or else `default`", "the keys of `default`", "for one repository, or as `OWNER/*` for an owner's; what it does not say, the less specific says");
        // An owner's entry is what those of its repositories change: it is read first, wherever it stands.
        foreach (var name in entries.Names("repositories", "owner/name or owner/*", text => Repository().IsMatch(text)).OrderBy(name => !name.EndsWith("/*", StringComparison.Ordinal)))
            rules[name] = ReadRules(entries.Section(name), rules.GetValueOrDefault($"{name.Split('/')[0]}/*") ?? byDefault, accounts);
        root.Close();
        return new Policy(settings.Label, caps, byDefault, rules);
    }

    private static Account ReadAccount(PolicySection section, string name, Settings settings)
    {
        var region = section.Text("region", "`AWS_REGION`", "a region such as `eu-west-1`", "where its machines are", text => Region().IsMatch(text)) ?? settings.Region;
        var role = section.Text("role", "the controller's own credentials", "a role's ARN", "assumed for every call to EC2 and SSM", text => RoleArn().IsMatch(text));
        var externalId = section.Text("external-id", "none", "2 to 1,224 letters, digits and `+=,.@:/-`", "what the role's trust policy asks for", text => ExternalId().IsMatch(text));
        var template = section.Text("launch-template", "`Mayfly:LaunchTemplate`", "a launch template's name", "its default version is launched", text => TemplateName().IsMatch(text)) ?? settings.LaunchTemplate;
        var subnets = section.Section("subnets");
        var byZone = subnets.Names("subnets", "an availability zone", Ask.IsZone)
            .ToDictionary(zone => zone, zone => subnets.Text(zone, "", "a subnet's id", "", text => Subnet().IsMatch(text))!);
        subnets.Mention("ZONE", "the launch template's own", "a subnet's id", "machines in this zone are launched there; EC2 takes one of each zone in a request");
        section.Close();
        if (externalId is not null && role is null)
            throw section.Wrong("an external id is for a role, and none is set", "external-id");
        if (byZone.Keys.FirstOrDefault(zone => !zone.StartsWith(region, StringComparison.Ordinal)) is { } foreign)
            throw subnets.Wrong($"the zone is not in region '{region}'", foreign);
        return new Account(name, region, role, externalId, template, byZone);
    }

    private static Dictionary<string, Image> ReadImages(PolicySection root)
    {
        const string wanted = "`ami-…`, `resolve:ssm:PARAMETER` or `launch-template:NAME`";
        var section = root.Section("images");
        section.Mention("NAME", "none", wanted, "what `image=NAME` stands for");
        return section.Names("images", "a name of lower-case letters, digits and .-_", Ask.IsImageName)
            .ToDictionary(name => name, name => section.Text(name, "", wanted, "", text => ImageId().IsMatch(text))! is var text && text.StartsWith("launch-template:", StringComparison.Ordinal)
                ? new Image(null, text["launch-template:".Length..])
                : new Image(text, null));
    }

    private static Caps ReadCaps(PolicySection section, Caps beneath, string whose)
    {
        var caps = new Caps(
            section.Number("machines", "none", 1, 100_000, $"the most machines {whose} at once") ?? beneath.Machines,
            section.Number("vcpus", "none", 1, 1_000_000, $"the most vCPUs {whose} at once") ?? beneath.Vcpus);
        section.Close();
        return caps;
    }

    private static Rules ReadRules(PolicySection section, Rules beneath, Dictionary<string, Account> accounts)
    {
        var account = section.Text("account", "the controller's own", "a name from `accounts`", "where machines are launched", accounts.ContainsKey);
        var types = section.List("instance-types", "`Mayfly:InstanceTypes`", "an instance type", "in order of preference, where the labels ask for no cpu, ram or family; `[]` launches by `defaults`, or else the launch template's own",
            text => InstanceType().IsMatch(text)) ?? beneath.InstanceTypes;
        var own = section.Number("vcpus", "by the types' names", 1, Ask.MostVcpus, "what a machine counts for under a cap where the labels ask for no cpu, ram or family");
        var idle = section.Number("idle-timeout", "`Mayfly:IdleTimeout`", 1, 86_400, "seconds that a runner may wait for its job");
        var job = section.Number("job-timeout", "`Mayfly:JobTimeout`", 1, 432_000, "seconds that a job may run");
        var refusals = section.Text("refusals", "`check`", "`check`, `cancel` or `log`", "how a refused job's reason reaches its user: a failed check on the commit, that and a cancelled run, or the log alone",
            text => text is "check" or "cancel" or "log");
        var caps = ReadCaps(section.Section("caps"), beneath.Caps, "of each repository");
        var allow = section.Section("allow");
        var defaults = section.Section("defaults");
        var rules = beneath with
        {
            Account = account is null ? beneath.Account : accounts[account],
            Allow = ReadAllowed(allow, beneath.Allow, beneath.Images),
            Caps = caps,
            InstanceTypes = types,
            Vcpus = own ?? (section.Has("instance-types") ? null : beneath.Vcpus), // that was said of other types
            IdleTimeout = idle is { } idleSeconds ? TimeSpan.FromSeconds(idleSeconds) : beneath.IdleTimeout,
            JobTimeout = job is { } jobSeconds ? TimeSpan.FromSeconds(jobSeconds) : beneath.JobTimeout,
            Refusals = refusals is null ? beneath.Refusals : Enum.Parse<RefusalWay>(refusals, ignoreCase: true),
            Defaults = ReadDefaults(defaults, beneath.Defaults),
        };
        section.Close();
        Check(section, allow, defaults, rules);
        return rules;
    }

    private static Allowed ReadAllowed(PolicySection section, Allowed beneath, IReadOnlyDictionary<string, Image> images)
    {
        var allowed = new Allowed(
            Most("cpu", Ask.MostVcpus, "vCPUs") ?? beneath.Cpu, Most("ram", Ask.MostRamGiB, "GiB of memory") ?? beneath.Ram, Most("disk", Ask.MostDiskGiB, "GiB of scratch") ?? beneath.Disk,
            section.List("families", "labels may not choose", "a family such as `m7i` or `c7*`", "bounds EC2's choice also where labels name none", text => Ask.IsFamily(text.TrimEnd('*') + "0")) ?? beneath.Families,
            section.List("images", "labels may not choose", "a name from `images`", "which images labels may name", images.ContainsKey) ?? beneath.Images,
            section.List("zones", "labels may not choose", "an availability zone", "bounds EC2's choice also where labels name none", Ask.IsZone) ?? beneath.Zones,
            section.List("spot", "all", "`auto`, `true`, `false` or `rerun`", "how machines may be bought", text => Ask.SpotOf(text) is not null)?.Select(word => Ask.SpotOf(word)!.Value).ToList() ?? beneath.Spot,
            section.Truth("sudo", "`false`", "whether labels may ask for root inside the job's sandbox") ?? beneath.Sudo,
            section.List("egress", "`open`, `audit`, `allow`", "`open`, `audit`, `allow`, or a host name such as `*.example.com`", "what jobs may be let to connect to; a host name also allows `allow`",
                text => Enum.GetValues<EgressMode>().Any(m => Egress.Word(m) == text) || Egress.IsHost(text)) ?? beneath.Egress);
        section.Close();
        return allowed;

        int? Most(string key, int limit, string unit) => section.Number(key, "labels may not choose", 1, limit, $"the most {unit}");
    }

    private static Ask ReadDefaults(PolicySection section, Ask beneath)
    {
        var ask = Ask.Nothing;
        foreach (var key in Ask.Keys.Where(k => k.Name != Ask.RunKey))
        {
            var text = section.Text(key.Name, "none", $"{key.Wanted}; or none", "where no label asks for it", value => value == Ask.None || key.Read(Ask.Nothing, value) is not null);
            ask = text switch
            {
                null => key.Copy(ask, beneath),
                Ask.None => ask,
                _ => key.Read(ask, text)!,
            };
        }

        section.Close();
        return ask;
    }

    /// <summary>What shows only where keys meet, those beneath included.</summary>
    private static void Check(PolicySection section, PolicySection allow, PolicySection defaults, Rules rules)
    {
        if (rules.Allow.Cpu is null && (rules.Allow.Ram is not null || rules.Allow.Families.Count > 0))
            throw allow.Wrong("cpu is not limited: EC2 would choose among all sizes; set allow.cpu", "families", "ram");
        if (rules.Allow.Spot.Count == 0)
            throw allow.Wrong("at least one way to buy a machine is wanted", "spot");
        if (rules.Allow.Egress.Count == 0)
            throw allow.Wrong("at least one of open, audit and allow is wanted", "egress");
        if (rules.Allow.Zones.FirstOrDefault(zone => !zone.StartsWith(rules.Account.Region, StringComparison.Ordinal)) is { } foreign)
            throw allow.Wrong($"zone '{foreign}' is not in region '{rules.Account.Region}' of account '{rules.Account.Name}'", "zones");
        if (rules.Account.Subnets.Count > 0 && rules.Allow.Zones.FirstOrDefault(zone => !rules.Account.Subnets.ContainsKey(zone)) is { } bare)
            throw allow.Wrong($"account '{rules.Account.Name}' has no subnet in zone '{bare}'", "zones");
        if (rules.Forbids(rules.Defaults) is var (key, why))
            throw defaults.Has(key) ? defaults.Wrong($"a default must be allowed: {why}", key) : allow.Wrong($"the default of {key} is not among it: {why}; set defaults.{key} too, to none if there shall be none", key, PluralOf(key));
        Check(section, rules);
    }

    /// <summary>Whether the caps can be kept: what a machine counts for must be known, and one must fit.</summary>
    private static void Check(PolicySection section, Rules rules)
    {
        if (Math.Min(rules.Caps.Vcpus ?? int.MaxValue, rules.InAll.Vcpus ?? int.MaxValue) is var most && most == int.MaxValue)
            return;
        var order = rules.OrderFor(Ask.Nothing);
        if (order.Requirements is null && rules.Counted is null)
            throw section.Wrong("vCPUs are capped, and what a machine counts for is not known: set vcpus, or instance-types whose names tell", "vcpus", "instance-types", "caps");
        if (order.Vcpus > most)
            throw section.Wrong($"a machine counts for {order.Vcpus} vCPUs and the cap is {most}: none could ever be launched", "vcpus", "instance-types", "caps", "defaults");
    }

    private static string PluralOf(string key) => key == "family" ? "families" : key + "s";

    [GeneratedRegex(@"^[A-Za-z0-9][A-Za-z0-9_.-]*/([A-Za-z0-9_.-]+|\*)\z")]
    private static partial Regex Repository();

    [GeneratedRegex(@"^[a-z]{2}(-[a-z]+)+-\d\z")]
    private static partial Regex Region();

    [GeneratedRegex(@"^arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]{1,576}\z")]
    private static partial Regex RoleArn();

    /// <summary>https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html</summary>
    [GeneratedRegex(@"^[\w+=,.@:/-]{2,1224}\z")]
    private static partial Regex ExternalId();

    /// <summary>https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateLaunchTemplate.html</summary>
    [GeneratedRegex(@"^[a-zA-Z0-9().\-/_]{3,128}\z")]
    private static partial Regex TemplateName();

    [GeneratedRegex(@"^subnet-[0-9a-f]{8,17}\z")]
    private static partial Regex Subnet();

    [GeneratedRegex(@"^(ami-[0-9a-f]{8,17}|resolve:ssm:[a-zA-Z0-9_.:/-]{1,1011}|launch-template:[a-zA-Z0-9().\-/_]{3,128})\z")]
    private static partial Regex ImageId();

    [GeneratedRegex(@"^[a-z][a-z0-9-]*\.[a-z0-9-]+\z")]
    private static partial Regex InstanceType();
}
