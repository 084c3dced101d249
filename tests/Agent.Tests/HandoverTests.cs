using Mayfly.Contract;
using Xunit;

namespace Mayfly.Agent.Tests;

public sealed class HandoverTests : IDisposable
{
    private const string Storage = """ "Storage":{"ScratchDevice":"/dev/mapper/mayfly-scratch","ScratchBytes":1,"InMemory":false,"SwapDevice":"","SwapBytes":0} """;

    private readonly string _folder = Directory.CreateTempSubdirectory("mayfly-handover-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void The_service_reads_what_the_initrd_wrote()
    {
        var made = new MadeStorage("/dev/mapper/mayfly-scratch", 40L << 30, InMemory: true, "/dev/mapper/mayfly-swap", 4L << 30);
        ConsoleEvent[] events = [new(0.5, 0, Milestone.KernelStarted, ""), new(1.234, 2, Milestone.ScratchReady, "37 GiB on \"Ebs\": vol0, ö")];

        new Handover("412f", "37 GiB on Ebs", "4 GiB", made, events).Write(_folder);

        var read = Handover.Read(_folder);
        Assert.Equal(("412f", "37 GiB on Ebs", "4 GiB", made), (read.RootHash, read.Scratch, read.Swap, read.Storage));
        Assert.Equal(events, read.Events);
    }

    [Theory]
    [InlineData("")]
    [InlineData("null")]
    [InlineData("[]")]
    [InlineData("{}")]
    [InlineData("""{"RootHash":"412f","Scratch":"s","Swap":"none","Events":[]}""")]
    [InlineData("""{"RootHash":null,"Scratch":"s","Swap":"none",""" + Storage + ""","Events":[]}""")]
    [InlineData("""{"RootHash":412,"Scratch":"s","Swap":"none",""" + Storage + ""","Events":[]}""")]
    [InlineData("""{"RootHash":"412f","Scratch":"s","Swap":"none",""" + Storage + ""","Events":["no event"]}""")]
    public void Without_every_proof_in_its_form_the_machine_ends(string json)
    {
        File.WriteAllText(Handover.FileIn(_folder), json);

        var e = Assert.Throws<EndingException>(() => Handover.Read(_folder));

        Assert.Equal("view-not-laid", e.Ending.Name);
        Assert.Contains(Handover.FileIn(_folder), e.Ending.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public void Nor_is_a_machine_proved_that_has_none() => Assert.Throws<EndingException>(() => Handover.Read(_folder));
}
