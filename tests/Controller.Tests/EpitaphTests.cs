using Mayfly.Contract;
using Mayfly.Controller.Reconciliation;

namespace Mayfly.Controller.Tests;

public sealed class EpitaphTests
{
    private static readonly ConsoleEvent Event = new(1.5, 6, Milestone.ConfigDeleted, "gone");
    private static readonly string Told = $"[    1.0] kernel says\n{ConsoleLine.Format(Event)}\n";

    [Fact]
    public void The_machines_own_last_word_counts_at_once()
    {
        var console = Told + ConsoleLine.Format(new ConsoleEnding("job-succeeded", 10, "the job is done", [Event])) + "\n";
        var epitaph = Epitaph.Of(console, "Client.InstanceInitiatedShutdown", TimeSpan.Zero)!;
        Assert.Equal("job-succeeded: the job is done", epitaph.Words);
        Assert.Equal([Event], epitaph.Events);
    }

    [Fact]
    public void A_console_that_comes_late_is_waited_for() => Assert.Null(Epitaph.Of(Told, "Client.InstanceInitiatedShutdown", Epitaph.ConsoleLimit - TimeSpan.FromTicks(1)));

    [Fact]
    public void Without_a_last_word_EC2_says_why_and_the_events_are_kept()
    {
        var epitaph = Epitaph.Of(Told, "Server.SpotInstanceTermination", Epitaph.ConsoleLimit)!;
        Assert.Contains("EC2 says: Server.SpotInstanceTermination", epitaph.Words, StringComparison.Ordinal);
        Assert.Equal([Event], epitaph.Events);
    }

    [Fact]
    public void A_machine_that_EC2_does_not_name_yet_may_be_new() => Assert.Null(Epitaph.Of("", null, TimeSpan.FromSeconds(30)));

    [Fact]
    public void A_machine_that_EC2_no_longer_names_is_not_waited_for_for_ever() =>
        Assert.StartsWith("unknown: EC2 no longer names", Epitaph.Of("", null, Epitaph.NameLimit)!.Words, StringComparison.Ordinal);
}
