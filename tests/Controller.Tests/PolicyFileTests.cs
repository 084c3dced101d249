namespace Mayfly.Controller.Tests;

/// <summary>The policy file: what it means, and how its mistakes are told.</summary>
public sealed class PolicyFileTests
{
    [Fact]
    public void The_most_specific_entry_holds_key_by_key()
    {
        var policy = Parse(
            """
            repositories:
              Octo-Org/api:
                allow: {cpu: 4}
                job-timeout: 600
              octo-org/*:
                allow: {cpu: 16, ram: 64}
                defaults: {spot: auto}
                caps: {machines: 5}
            default:
              allow: {cpu: 8, sudo: true}
              defaults: {cpu: 2}
              caps: {vcpus: 100}
            """);
        var (api, other, elsewhere) = (policy.For("octo-org/API"), policy.For("octo-org/web"), policy.For("elsewhere/x"));
        Assert.Equal((4, 64, true), (api.Allow.Cpu, api.Allow.Ram, api.Allow.Sudo));
        Assert.Equal(["cpu=2", "spot=auto"], api.Defaults.Labels());
        Assert.Equal((new Caps(5, 100), 600.0), (api.Caps, api.JobTimeout.TotalSeconds));
        Assert.Equal((16, 64, 21_600.0), (other.Allow.Cpu, other.Allow.Ram, other.JobTimeout.TotalSeconds));
        Assert.Equal((8, null, new Caps(null, 100)), (elsewhere.Allow.Cpu, elsewhere.Allow.Ram, elsewhere.Caps));
        Assert.Equal(["cpu=2"], elsewhere.Defaults.Labels());
    }

    [Fact]
    public void A_default_and_types_that_lie_beneath_can_be_taken_away()
    {
        var policy = Parse(
            """
            default: {allow: {cpu: 8}, defaults: {cpu: 2, spot: auto}, instance-types: [m7i.large]}
            repositories:
              o/r: {defaults: {spot: none}, instance-types: []}
            """);
        Assert.Equal(["cpu=2"], policy.For("o/r").Defaults.Labels());
        Assert.Empty(policy.For("o/r").InstanceTypes);
        Assert.Equal(2, policy.For("o/r").OrderFor(Ask.Nothing).Requirements!.VCpuMost);
        Assert.Null(policy.For("x/y").OrderFor(Ask.Nothing).Requirements);
    }

    [Theory]
    [InlineData("")]
    [InlineData("# nothing yet\n")]
    [InlineData("default: {}\nrepositories: {}\n")]
    public void An_empty_file_is_as_none(string text)
    {
        var (rules, without) = (Parse(text).For("o/r"), Policy.Of(Some.Settings()).For("o/r"));
        Assert.Equal(Some.Text(without.OrderFor(Ask.Nothing)), Some.Text(rules.OrderFor(Ask.Nothing)));
    }

    [Theory]
    [InlineData("defualt: {}", 1, 1, "'defualt' is not known; did you mean 'default'?")]
    [InlineData("default:\n  allow:\n    cpus: 4", 3, 5, "default.allow.'cpus' is not known; did you mean 'cpu'? Known are cpu, ram, disk, families, images, zones, spot, sudo, egress")]
    [InlineData("default:\n  defaults: {run: 1}", 2, 14, "default.defaults.'run' is not known")]
    [InlineData("repositories:\n  o/r:\n    cap: {}", 3, 5, "repositories.o/r.'cap' is not known; did you mean 'caps'?")]
    [InlineData("accounts:\n  a: {rol: x}", 2, 7, "accounts.a.'rol' is not known; did you mean 'role'?")]
    [InlineData("default:\n  allow: {cpu: many}", 2, 16, "default.allow.cpu: 'many' is not what is wanted: a whole number from 1 to 1,920")]
    [InlineData("default:\n  allow: {cpu: }", 2, 16, "default.allow.cpu: '' is not what is wanted")]
    [InlineData("default:\n  allow: {sudo: yes}", 2, 17, "`true` or `false`")]
    [InlineData("default:\n  allow: {spot: [auto, often]}", 2, 24, "'often' is not what is wanted: `auto`, `true`")]
    [InlineData("default:\n  allow: {cpu: [4]}", 2, 16, "this is not what is wanted")]
    [InlineData("default:\n  allow: [cpu]", 2, 10, "a mapping of keys to values")]
    [InlineData("default:\n  allow: {images: [debian]}", 2, 20, "'debian' is not what is wanted: a name from `images`")]
    [InlineData("default:\n  account: west", 2, 12, "'west' is not what is wanted: a name from `accounts`")]
    [InlineData("default:\n  allow: {spot: []}", 2, 11, "at least one way to buy a machine")]
    [InlineData("default:\n  allow: {egress: []}", 2, 11, "at least one of open, audit and allow")]
    [InlineData("default:\n  allow: {families: [m7i]}", 2, 11, "set allow.cpu")]
    [InlineData("default:\n  allow: {zones: [eu-west-1a]}", 2, 11, "zone 'eu-west-1a' is not in region 'eu-central-1' of account 'default'")]
    [InlineData("default:\n  defaults: {cpu: 4}", 2, 14, "a default must be allowed: cpu is not for labels to choose here")]
    [InlineData("default:\n  allow: {cpu: 8}\n  defaults: {cpu: 8}\nrepositories:\n  o/r:\n    allow: {cpu: 4}", 6, 13, "the default of cpu is not among it: at most 4 vCPUs are allowed; set defaults.cpu too")]
    [InlineData("default:\n  allow: {egress: [audit]}\n  defaults: {egress: open}", 3, 14, "'open' is not allowed; allowed are audit")]
    [InlineData("default:\n  caps: {vcpus: 10}", 2, 3, "what a machine counts for is not known: set vcpus")]
    [InlineData("caps: {vcpus: 10}\ndefault:\n  instance-types: [m7i.metal]", 3, 3, "what a machine counts for is not known")]
    [InlineData("default:\n  instance-types: [m7i.4xlarge]\n  caps: {vcpus: 10}", 2, 3, "a machine counts for 16 vCPUs and the cap is 10")]
    [InlineData("accounts:\n  a: {external-id: secret-handshake}", 2, 7, "an external id is for a role")]
    [InlineData("accounts:\n  a: {role: mayfly}", 2, 13, "'mayfly' is not what is wanted: a role's ARN")]
    [InlineData("accounts:\n  a: {subnets: {eu-west-1a: subnet-0123456a}}", 2, 17, "the zone is not in region 'eu-central-1'")]
    [InlineData("images: {debian: latest}", 1, 18, "'latest' is not what is wanted: `ami-…`")]
    [InlineData("repositories:\n  octo-org: {}", 2, 3, "'octo-org' is not what is wanted: owner/name or owner/*")]
    [InlineData("repositories:\n  o/r: {}\n  O/R: {}", 3, 3, "repositories.O/R stands there twice")]
    [InlineData("default: {}\ndefault: {}", 2, 1, "Duplicate key default")]
    [InlineData("- a list", 1, 1, "a mapping of keys to values is wanted")]
    [InlineData("default: {}\n---\ndefault: {}", 3, 1, "one document is wanted")]
    [InlineData("default: {allow: {egress: [*.example.com]}}", 1, 28, "put text that begins with * into quotes")]
    [InlineData("default:\n\tallow: {}", 2, 1, "this is no YAML")]
    [InlineData("? [a]\n: b", 1, 3, "is not known")]
    public void A_mistake_is_told_with_its_line_its_column_and_what_is_wanted(string text, int line, int column, string said)
    {
        var message = Assert.Throws<SettingsException>(() => Parse(text)).Message;
        Assert.StartsWith($"policy.yaml, line {line}, column {column}: ", message, StringComparison.Ordinal);
        Assert.Contains(said, message, StringComparison.Ordinal);
        Assert.EndsWith("see docs/policy.md", message, StringComparison.Ordinal);
    }

    [Fact]
    public void The_reference_of_the_policy_is_the_one_that_the_code_makes() =>
        Assert.True(Document.Contains($"\n\n{PolicyFile.ReferenceTable}\n", StringComparison.Ordinal),
            $"docs/policy.md: put what `mayfly-controller --help-policy` prints in the place of the table:\n\n{PolicyFile.ReferenceTable}");

    [Fact]
    public void The_documents_example_can_be_used_and_has_every_key()
    {
        var example = Document[Document.IndexOf("```yaml\naccounts:", StringComparison.Ordinal)..][8..];
        example = example[..example.IndexOf("```", StringComparison.Ordinal)];
        var policy = Parse(example);
        Assert.Equal((64, true, "nightly"), (policy.For("octo-org/kernel").Allow.Cpu, policy.For("octo-org/web").Allow.Sudo, policy.For("octo-org/kernel").Defaults.Image));
        Assert.All(PolicyFile.ReferenceTable.Split('\n').Where(row => row.StartsWith("| `", StringComparison.Ordinal)).Select(row => row.Split('`')[1].Split('.')[^1]),
            key => Assert.True(key.All(c => !char.IsAsciiLetterLower(c)) || example.Contains($"{key}:", StringComparison.Ordinal), $"the example has no {key}"));
    }

    [Fact]
    public void Every_label_is_documented_with_what_it_takes_and_no_other() =>
        Assert.Contains($"| label | takes |\n|---|---|\n{string.Concat(Ask.Keys.Select(k => $"| `{k.Name}` | {k.Wanted} |\n"))}\n", Document, StringComparison.Ordinal);

    [Fact]
    public void Nesting_without_end_is_refused_and_not_followed() =>
        Assert.Contains("nested deeper than 16 levels", Assert.Throws<SettingsException>(() => Parse($"default: {new string('[', 100_000)}")).Message, StringComparison.Ordinal);

    [Fact]
    public void Whatever_stands_in_the_file_it_is_a_policy_or_a_mistake_with_a_line()
    {
        Chance.Try(1500, chance =>
        {
            var text = SomePolicy.File(chance);
            for (var cuts = chance.Between(1, 3); cuts > 0; cuts--)
            {
                var at = chance.Below(text.Length);
                text = text[..at] + chance.Text(5) + text[Math.Min(text.Length, at + chance.Below(9))..];
            }

            try
            {
                _ = Parse(text);
            }
            catch (SettingsException e)
            {
                Assert.Matches(@"^policy\.yaml, line \d+, column \d+: ", e.Message);
            }
        });
    }

    [Theory]
    [InlineData("m7i.large", 2)]
    [InlineData("m7i.xlarge", 4)]
    [InlineData("c7gd.12xlarge", 48)]
    [InlineData("m7i.metal-24xl", 96)]
    [InlineData("t3.micro", 2)]
    [InlineData("m5.metal", null)]
    [InlineData("m7i", null)]
    [InlineData("m7i.hugelarge", null)]
    [InlineData("m7i.99999xlarge", null)]
    public void A_types_name_tells_its_vCPUs(string type, int? vcpus) => Assert.Equal(vcpus, InstanceSize.Vcpus(type));

    private static string Document => DocumentTests.Read("docs/policy.md");

    private static Policy Parse(string text) => PolicyFile.Parse("policy.yaml", text, Some.Settings());
}
