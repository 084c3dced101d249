using Xunit;

namespace Mayfly.Agent.Tests;

/// <summary>What <c>mayfly-agent check</c> makes of what it finds, where a light machine has nothing to be found.</summary>
public sealed class GuaranteeTests
{
    private const string Hash = "4f2a4f2a4f2a4f2a4f2a4f2a4f2a4f2a4f2a4f2a4f2a4f2a4f2a4f2a4f2a4f2a";
    private const string CommandLine = $"console=ttyS0 mayfly.roothash={Hash} mayfly.salt=0badcafe mayfly.blocks=43918\n";

    private const string Rules = """
        table inet mayfly_egress {
          chain output {
            oifname "lo" accept
            goto judge
          }
          chain forward {
            goto judge
          }
          chain judge {
            meta l4proto { tcp, udp } log prefix "mayfly-egress " level info
            reject
          }
        }
        """;

    [Theory]
    [InlineData("V", Hash, true)]
    [InlineData("C", Hash, false)] // a block was corrupt
    [InlineData("V", "0000000000000000000000000000000000000000000000000000000000000000", false)]
    public void A_root_is_verified_by_the_hash_of_the_command_line_alone(string status, string mapped, bool holds) =>
        Assert.Equal(holds, Check.Root(status, $"1 259:2 259:2 4096 4096 43918 43918 sha256 {mapped} 0badcafe", CommandLine).Holds);

    [Theory]
    [InlineData("dm-1", "", true)]
    [InlineData("zram0", "", true)]
    [InlineData("dm-1 nvme1n1", "", false)]
    [InlineData("dm-9", "", false)] // mapped, but not encrypted
    [InlineData("dm-1", "nvme1n1p1", false)]
    [InlineData("", "", false)] // then what was written lies elsewhere
    public void Scratch_is_safe_if_every_file_system_is(string ofExt4, string ofOthers, bool holds) =>
        Assert.Equal(holds, Check.Scratch(Words(ofExt4), Words(ofOthers), TargetOf).Holds);

    [Theory]
    [InlineData("/dev/dm-1 partition", true, true)]
    [InlineData("/dev/zram1 partition", true, true)]
    [InlineData("/dev/nvme1n1p2 partition", true, false)]
    [InlineData("/swap file", true, true)]
    [InlineData("/swap file", false, false)]
    public void Swap_is_safe_on_an_encrypted_device_and_in_a_file_as_scratch_is(string area, bool scratchHolds, bool holds) =>
        Assert.Equal(holds, Check.Swap(["Filename\t\t\tType\t\tSize", $"{area}\t1048572\t0\t-2"], TargetOf, () => scratchHolds).Holds);

    [Theory]
    [InlineData("Allow", "", "", true)]
    [InlineData("Audit", "", "", false)] // refuses what it should only tell of
    [InlineData("Allow", "    reject\n", "    accept\n", false)]
    [InlineData("Audit", "    reject\n", "    accept\n", true)]
    [InlineData("Allow", "lo\" accept\n    goto judge", "lo\" accept", false)] // nothing of the job's own is judged
    [InlineData("Allow", "mayfly-egress", "other", false)]
    public void An_egress_policy_is_in_force_if_all_is_judged_told_of_and_ends_as_it_has_it(string mode, string instead, string with, bool holds) =>
        Assert.Equal(holds, EgressRules.AreInForce(Enum.Parse<EgressMode>(mode), instead.Length == 0 ? Rules : Replaced(instead, with)));

    private static string Replaced(string instead, string with)
    {
        var at = Rules.LastIndexOf(instead, StringComparison.Ordinal);
        Assert.True(at >= 0);
        return Rules[..at] + with + Rules[(at + instead.Length)..];
    }

    private static string[] Words(string text) => text.Split(' ', StringSplitOptions.RemoveEmptyEntries);

    private static string TargetOf(string device) => device == "dm-1" ? "crypt" : device.StartsWith("dm-", StringComparison.Ordinal) ? "linear" : "";
}
