using Mayfly.Contract;
using Xunit;

namespace Mayfly.Agent.Tests;

public sealed class BootTests
{
    private static readonly Boot Hurried = new(new Narration(Stream.Null, () => 1, []), new HurriedTime());

    [Fact]
    public async Task A_step_that_blocks_its_thread_ends_the_machine_at_its_limit_all_the_same()
    {
        using var never = new ManualResetEventSlim();

        var e = await Assert.ThrowsAsync<EndingException>(() => Hurried.ProveAsync(Step.EncryptSwap, () =>
        {
            never.Wait(TimeSpan.FromSeconds(20)); // far longer than it takes to say so
            return Task.FromResult(0);
        }, CancellationToken.None));

        never.Set();
        Assert.Equal("swap-not-encrypted", e.Ending.Name);
        Assert.Equal("'encrypt swap' did not end within 300 s", e.Ending.Detail);
    }

    [Fact]
    public async Task What_a_step_throws_before_it_first_waits_ends_the_machine_in_its_name()
    {
        var e = await Assert.ThrowsAsync<EndingException>(() => new Boot(new Narration(Stream.Null, () => 1, []), TimeProvider.System)
            .ProveAsync<int>(Step.CloseDoor, () => throw new IOException("no table"), CancellationToken.None));

        Assert.Equal("door-not-closed", e.Ending.Name);
        Assert.Equal("no table", e.Ending.Detail);
    }

    [Theory]
    [InlineData(true, "stopped")]
    [InlineData(false, "config-not-taken")]
    public async Task A_step_that_is_cancelled_was_stopped_only_if_somebody_asked_for_it(bool asked, string ending)
    {
        using var stop = new CancellationTokenSource();
        if (asked)
            await stop.CancelAsync();

        var e = await Assert.ThrowsAsync<EndingException>(() => new Boot(new Narration(Stream.Null, () => 1, []), TimeProvider.System)
            .ProveAsync<int>(Step.TakeConfig, () => throw new OperationCanceledException(), stop.Token));

        Assert.Equal(ending, e.Ending.Name);
        Assert.Equal(Step.TakeConfig, e.Ending.Step);
    }
}
