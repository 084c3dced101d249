using Mayfly.Contract;
using Mayfly.Lab.Machines;
using Xunit;

namespace Mayfly.Machine.Tests;

/// <summary>What the kernel's log tells of destinations; light machines have none of their own.</summary>
public sealed class EgressTests
{
    [Theory]
    [InlineData("audit", "seen")]
    [InlineData("allow", "denied")]
    public async Task A_destination_is_told_of_once(string mode, string word)
    {
        await using var bed = await Bed.MakeAsync(tags: new Dictionary<string, string> { [Tags.Egress] = mode, [Tags.EgressAllow] = $"{LabNetwork.Inside}" });

        await bed.RunJobAsync(
            "for i in 1 2 3; do (echo > /dev/tcp/192.0.2.7/81) 2> /dev/null & sleep 1; kill $! || true; done",
            "(echo > /dev/udp/192.0.2.8/82) 2> /dev/null || true",
            // UDP-Lite, which like SCTP is neither TCP nor UDP, and open to any user where the kernel has it.
            "perl -MSocket -e 'socket(S, AF_INET, SOCK_DGRAM, 136) or die $!; send(S, q(hello), 0, sockaddr_in(83, inet_aton(q(192.0.2.9)))) for 1 .. 3'");

        Assert.Equal("job-succeeded", bed.Ending?.Ending);
        var told = bed.Ending!.Events.Select(e => e.Detail).Where(d => d.StartsWith("egress ", StringComparison.Ordinal)).ToList();
        Assert.Contains($"egress {word}: udp 192.0.2.8:82", told);
        Assert.Single(told, $"egress {word}: udplite 192.0.2.9:83");
        Assert.Single(told, $"egress {word}: tcp 192.0.2.7:81");
        // The runner's own way to GitHub is one of those that an audit sees, and that the list names here.
        Assert.Equal(mode == "audit", told.Any(t => t.Contains($"tcp {LabNetwork.Inside}:{bed.Lab.GitHubAddress.Port}", StringComparison.Ordinal)));
    }
}
