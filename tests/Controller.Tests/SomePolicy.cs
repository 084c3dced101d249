using System.Globalization;
using System.Text;

namespace Mayfly.Controller.Tests;

/// <summary>Random labels, and policies that the labels may or may not fit.</summary>
internal static class SomePolicy
{
    public static readonly IReadOnlyList<string> Repositories = ["octo-org/octo-repo", "octo-org/other", "Big-Corp/x", "elsewhere/y"];
    private static readonly IReadOnlyList<int> Sizes = [1, 2, 3, 4, 8, 16, 32, 64, 192];
    private static readonly IReadOnlyList<string> Families = ["m7i", "m7a", "c7g", "r8gd", "u7in-16tb"];
    private static readonly IReadOnlyList<string> Images = ["debian", "ubuntu-24.04", "big"];
    private static readonly IReadOnlyList<string> Zones = ["eu-west-1a", "eu-west-1b", "eu-west-1c"];
    private static readonly IReadOnlyList<string> Hosts = ["pypi.org", "registry.npmjs.org", "a.b.example.com", "*.example.com"];
    private static readonly IReadOnlyList<string> Spot = ["auto", "true", "false", "rerun"];

    /// <summary>A value that its key takes.</summary>
    public static string Value(Chance chance, string key) => key switch
    {
        "cpu" or "ram" when chance.OneIn(3) && chance.Of(Sizes) is var least => $"{least}-{least + chance.Of(Sizes)}",
        "cpu" or "ram" or "disk" => $"{chance.Of(Sizes)}",
        "family" => string.Join('+', chance.Some(Families)),
        "spot" => chance.Of(Spot),
        "image" => chance.Of(Images),
        "zone" => string.Join('+', chance.Some(Zones)),
        "sudo" => chance.OneIn(2) ? "true" : "false",
        "egress" => chance.OneIn(2) ? chance.Of(["open", "audit", "allow"]) : string.Join('+', chance.Some(Hosts)),
        _ => $"{chance.Below(1000)}",
    };

    /// <summary>Items with distinct keys that can be understood; in capitals now and then, which makes no difference.</summary>
    public static List<string> Items(Chance chance, int oneIn) =>
    [
        .. Ask.Keys.Where(_ => chance.OneIn(oneIn)).Select(key => $"{key.Name}={Value(chance, key.Name)}").Select(item => chance.OneIn(8) ? item.ToUpperInvariant() : item),
    ];

    /// <summary>A job's labels: understood for the most part.</summary>
    public static IReadOnlyList<string> Labels(Chance chance)
    {
        var items = Items(chance, 8);
        for (var wrong = chance.OneIn(4) ? 1 : 0; wrong > 0; wrong--)
        {
            items.Insert(chance.Below(items.Count + 1), chance.Below(5) switch
            {
                0 => $"{chance.Of(Ask.Keys).Name}={chance.Text(12)}",
                1 => $"{chance.Of(Ask.Keys).Name}={Value(chance, chance.Of(Ask.Keys).Name)}",
                2 => $"{chance.Text(6)}={Value(chance, "cpu")}",
                3 => chance.Text(40),
                _ => "cpu=99999999999999999999",
            });
        }

        var cut = chance.Below(items.Count + 1);
        var labels = items[..cut];
        if (cut < items.Count)
            labels.Add($"mayfly/{string.Join('/', items[cut..])}");
        if (cut == items.Count || chance.OneIn(2))
            labels.Insert(chance.Below(labels.Count + 1), chance.OneIn(4) ? "Mayfly" : "mayfly");
        if (chance.OneIn(4))
            labels.Add("self-hosted");
        return labels;
    }

    /// <summary>A policy file; some contradict themselves.</summary>
    public static string File(Chance chance)
    {
        var text = new StringBuilder(
            """
            accounts:
              west: {region: eu-west-1, role: "arn:aws:iam::111122223333:role/mayfly", external-id: some-id, subnets: {eu-west-1a: subnet-0123456a, eu-west-1b: subnet-0123456b, eu-west-1c: subnet-0123456c}}
              bare: {region: eu-west-1, launch-template: other}
            images: {debian: ami-0123456789abcdef0, ubuntu-24.04: "resolve:ssm:/mayfly/ubuntu", big: launch-template:mayfly-big}

            """);
        if (chance.OneIn(3))
            text.Append(CultureInfo.InvariantCulture, $"caps: {{machines: {chance.Between(1, 50)}, vcpus: {chance.Between(64, 500)}}}\n");
        text.Append("default:\n");
        Entry(chance, text, "  ", account: true);
        text.Append("repositories:\n");
        foreach (var name in chance.Some(["octo-org/*", "OCTO-ORG/octo-repo", "big-corp/*"]))
        {
            text.Append(CultureInfo.InvariantCulture, $"  {name}:\n");
            Entry(chance, text, "    ", account: false);
        }

        return text.ToString();
    }

    private static void Entry(Chance chance, StringBuilder text, string indent, bool account)
    {
        Line($"idle-timeout: {chance.Between(1, 86_400)}");
        if (account || chance.OneIn(4))
            Line($"account: {chance.Of(["west", "bare"])}");
        if (chance.OneIn(3))
            Line($"instance-types: [{chance.Of(["m7i.large", "c7g.4xlarge, m7i.2xlarge", ""])}]");
        if (chance.OneIn(3))
            Line($"caps: {{machines: {chance.Between(1, 20)}, vcpus: {chance.Between(32, 200)}}}");
        if (account)
            Line("vcpus: 4");
        if (account || chance.OneIn(2))
        {
            Line("allow:");
            Line($"  cpu: {chance.Of(Sizes)}");
            Sometimes("ram", $"{chance.Of(Sizes)}");
            Sometimes("disk", $"{chance.Of(Sizes)}");
            Sometimes("families", $"[{string.Join(", ", chance.Some([.. Families, "m7*"]))}]");
            Sometimes("images", $"[{string.Join(", ", chance.Some(Images))}]");
            Sometimes("zones", $"[{string.Join(", ", chance.Some(Zones))}]");
            Sometimes("spot", $"[{string.Join(", ", chance.Some(Spot))}]");
            Sometimes("sudo", chance.OneIn(2) ? "true" : "false");
            Sometimes("egress", $"[{string.Join(", ", chance.Some(["open", "audit", "allow", .. Hosts.Select(h => $"'{h}'")]))}]");
        }

        if (chance.OneIn(3))
        {
            Line("defaults:");
            Line($"  spot: {chance.Of(["none", "false"])}");
            foreach (var key in Ask.Keys.Where(k => k.Name is not ("run" or "spot") && chance.OneIn(14)))
                Line($"  {key.Name}: '{Value(chance, key.Name)}'");
        }

        void Sometimes(string key, string value)
        {
            if (!chance.OneIn(3))
                Line($"  {key}: {value}");
        }

        void Line(string line) => text.Append(indent).Append(line).Append('\n');
    }
}
