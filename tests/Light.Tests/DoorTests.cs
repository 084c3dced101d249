using System.Diagnostics;
using Mayfly.Contract;
using Xunit;

namespace Mayfly.Light.Tests;

/// <summary>The metadata service's address of IPv6, which the lab does not serve: a listener in the machine plays it.</summary>
public sealed class DoorTests(LightBed bed)
{
    private const string Address = "fd00:ec2::254";

    /// <summary>The machine's own, so that a refusal is not sent to the address that is refused.</summary>
    private const string Own = "fd00:99::1";

    [Fact]
    public async Task The_door_is_closed_for_ipv6_too()
    {
        var run = await bed.LaunchAsync();
        await run.WaitForAsync(Milestone.RunnerListening);
        foreach (var address in (string[])[Address, Own])
        {
            using var ip = Process.Start("nsenter", [$"--target={await run.AgentAsync()}", "--net", "ip", "-6", "addr", "add", address, "dev", "lo", "nodad"]);
            await ip.WaitForExitAsync(TestContext.Current.CancellationToken);
            Assert.Equal(0, ip.ExitCode);
        }

        await run.Machine.RunAsync($$"""
            setsid perl -MIO::Socket::IP -e 'my $s = IO::Socket::IP->new(LocalHost => q({{Address}}), LocalPort => 80, Listen => 9) or die $!; print qq(ready\n); close STDOUT; while (my $c = $s->accept) { sysread $c, my $r, 4096; print $c qq(HTTP/1.0 200 OK\r\n\r\nhello\n); close $c }' > /run/listener 2>&1 < /dev/null &
            until grep -q ready /run/listener; do :; done
            """);
        var job = await run.QueueAsync([
            $"curl -s --max-time 10 --interface {Own} http://[{Address}]/ || echo $?",
            "touch /tmp/tried; while [ ! -e /tmp/go ]; do sleep 0.1; done",
            $"curl -s --max-time 10 --interface {Own} http://[{Address}]/ || echo $?",
        ]);
        await run.UntilAsync("[ -e /run/mayfly/job-root/tmp/tried ]");
        await run.Machine.RunAsync("nft flush ruleset; touch /run/mayfly/job-root/tmp/go");

        await run.EndAsync();

        // Refused while the rules are there; the listener answers once they are not.
        Assert.Equal(["7", "hello"], bed.Lab.GitHub.Broker.StepsOutput(job.Id));
    }
}
