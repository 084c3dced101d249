using Mayfly.Contract;
using Xunit;

namespace Mayfly.Agent.Tests;

public sealed class FactsTests
{
    [Fact]
    public void A_jobs_log_shows_the_machine_and_how_long_each_step_took()
    {
        var me = new Identity("i-0abc", "eu-central-1", "m7i.large", "ami-0123", "eu-central-1a", LaunchSettings.From(new Dictionary<string, string>()));
        var proved = new Handover("412f", "37 GiB on Ebs", "4 GiB", default!, []);

        var text = Facts.Describe(me, proved, Facts.DescribeRunner("""{"kind": "official", "version": "2.336.0", "released": "2026-10-01T12:00:00Z"}"""),
        [
            new ConsoleEvent(0, 0, Milestone.KernelStarted, ""), new ConsoleEvent(1.5, 1, Milestone.RootVerified, ""), new ConsoleEvent(1.75, 2, "note", "a disk was left"),
            new ConsoleEvent(2, 2, Milestone.ScratchReady, ""), new ConsoleEvent(3, 6, Milestone.ConfigTaken, ""), new ConsoleEvent(3.25, 6, Milestone.ConfigDeleted, ""),
        ]);

        Assert.Contains("i-0abc, m7i.large in eu-central-1a", text, StringComparison.Ordinal);
        Assert.Contains("ami-0123, root hash 412f", text, StringComparison.Ordinal);
        Assert.Contains("Runner    2.336.0 (official), released 2026-10-01", text, StringComparison.Ordinal);
        Assert.Contains("1 verify the root 1.50 s, 2 encrypt scratch 0.50 s, 6 take the configuration and delete it 1.25 s", text, StringComparison.Ordinal);
    }

    [Fact]
    public void A_runner_whose_release_is_not_known_is_named_all_the_same() =>
        Assert.Equal("2.336.0 (stand-in)", Facts.DescribeRunner("""{"kind": "stand-in", "version": "2.336.0", "released": null}"""));
}
