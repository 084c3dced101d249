using System.Net;
using Mayfly.Contract;
using Xunit;

namespace Mayfly.Agent.Tests;

public sealed class EgressPolicyTests
{
    [Theory]
    [InlineData("github.com", true)]
    [InlineData("api.github.com", false)]
    [InlineData("a.example.org", true)]
    [InlineData("b.a.example.org", true)]
    [InlineData("example.org", false)]
    [InlineData("badexample.org", false)]
    public void A_name_is_permitted_by_itself_and_a_pattern_permits_all_below(string name, bool permitted) =>
        Assert.Equal(permitted, Policy("allow", "*.example.org", "GitHub.com # the service", "").Permits(name));

    [Fact]
    public void Names_and_networks_are_told_apart()
    {
        var policy = Policy("allow", "10.0.0.0/8 2001:db8::/32 192.0.2.7 ghcr.io");

        Assert.Equal(["ghcr.io"], policy.Names);
        Assert.Equal(["10.0.0.0/8", "2001:db8::/32", "192.0.2.7/32"], policy.Networks.Select(n => n.ToString()));
    }

    [Theory]
    [InlineData("10.0.0.0/33")]
    [InlineData("10.0.0.256")]
    [InlineData("https://github.com")]
    [InlineData("*github.com")]
    [InlineData("a..b")]
    [InlineData("github.com;drop")]
    public void An_entry_that_is_neither_is_refused_by_name(string entry)
    {
        var e = Assert.Throws<FormatException>(() => Policy("allow", entry));

        Assert.Contains($"'{entry}'", e.Message, StringComparison.Ordinal);
        Assert.Contains(Tags.EgressAllow, e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_bad_line_of_the_images_list_is_refused_by_its_number()
    {
        var e = Assert.Throws<FormatException>(() => EgressPolicy.From(Settings("audit", ""), ["# names", "", "no/name"]));

        Assert.Contains($"{EgressPolicy.ImageList}, line 3", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void The_images_own_list_can_be_read()
    {
        var lines = File.ReadLines(Path.Combine(BootDocumentTests.FindRepository(), "packer/rootfs", EgressPolicy.ImageList.TrimStart('/')));

        Assert.True(EgressPolicy.From(Settings("allow", ""), lines).Permits("github.com"));
    }

    [Fact]
    public void Without_a_policy_there_are_no_rules() => Assert.Equal("", EgressRules.For(Policy("open", ""), sudo: true, []));

    [Fact]
    public void Only_an_allow_list_refuses()
    {
        Assert.Contains("reject", EgressRules.For(Policy("allow", "10.0.0.0/8"), sudo: false, []), StringComparison.Ordinal);
        Assert.Contains("elements = { 10.0.0.0/8 }", EgressRules.For(Policy("allow", "10.0.0.0/8"), sudo: false, []), StringComparison.Ordinal);
        Assert.DoesNotContain("reject", EgressRules.For(Policy("audit", "10.0.0.0/8"), sudo: false, []), StringComparison.Ordinal);
    }

    [Fact]
    public void With_sudo_every_user_is_judged()
    {
        Assert.Contains($"meta skuid != {RunnerUser.Id} accept", EgressRules.For(Policy("allow", ""), sudo: false, []), StringComparison.Ordinal);
        Assert.DoesNotContain("skuid", EgressRules.For(Policy("allow", ""), sudo: true, []), StringComparison.Ordinal);
    }

    [Fact]
    public void The_kernels_line_tells_the_destination_by_the_name_that_was_asked_for()
    {
        var asked = new Dictionary<IPAddress, string> { [IPAddress.Parse("140.82.121.4")] = "github.com" };
        const string line = "6,812,15020113,-;mayfly-egress IN= OUT=ens5 SRC=10.0.0.5 DST=140.82.121.4 LEN=60 TTL=64 ID=1 DF PROTO=TCP SPT=40244 DPT=443 WINDOW=64240 SYN URGP=0\n";

        Assert.Equal("tcp 140.82.121.4:443 (github.com)", Egress.Describe(line, asked.GetValueOrDefault));
        Assert.Equal("tcp 140.82.121.5:443", Egress.Describe(line.Replace("121.4", "121.5", StringComparison.Ordinal), asked.GetValueOrDefault));
        Assert.Null(Egress.Describe("6,813,15020114,-;eth0: link up DST=1.1.1.1\n", asked.GetValueOrDefault));
    }

    [Theory]
    [InlineData("DST=192.0.2.9 LEN=28 TTL=64 ID=1 DF PROTO=ICMP TYPE=8 CODE=0 ID=7 SEQ=1", "icmp 192.0.2.9")]
    [InlineData("DST=192.0.2.9 LEN=28 TTL=64 ID=1 PROTO=47", "47 192.0.2.9")]
    [InlineData("DST=2001:0db8:0000:0000:0000:0000:0000:0001 LEN=60 PROTO=UDP SPT=1 DPT=530", "udp [2001:db8::1]:530")]
    public void A_destination_has_a_port_only_where_its_protocol_has_ports(string fields, string told) =>
        Assert.Equal(told, Egress.Describe($"6,812,15020113,-;mayfly-egress IN= OUT=ens5 SRC=10.0.0.5 {fields}\n", _ => null));

    [Fact]
    public void DHCP_is_let_through_to_the_servers_that_leases_are_from()
    {
        var folder = Directory.CreateTempSubdirectory("mayfly-leases-").FullName;
        File.WriteAllText(Path.Combine(folder, "2"), "# This is private data. Do not parse.\nADDRESS=10.0.0.5\nSERVER_ADDRESS=10.0.0.1\nT1=1800\n");

        var servers = DhcpLease.Servers(folder);

        Assert.Equal([IPAddress.Parse("10.0.0.1")], servers);
        Assert.Contains("ip daddr { 10.0.0.1 } udp sport 68 udp dport 67 accept", EgressRules.For(Policy("allow", ""), sudo: true, servers), StringComparison.Ordinal);
        Assert.DoesNotContain("dport 67", EgressRules.For(Policy("allow", ""), sudo: true, DhcpLease.Servers(folder + "/none")), StringComparison.Ordinal);
        Directory.Delete(folder, recursive: true);
    }

    private static EgressPolicy Policy(string mode, string allow, params string[] imageList) => EgressPolicy.From(Settings(mode, allow), imageList);

    private static LaunchSettings Settings(string mode, string allow) =>
        LaunchSettings.From(new Dictionary<string, string> { [Tags.Egress] = mode, [Tags.EgressAllow] = allow });
}
