using System.Threading.Channels;
using Mayfly.Lab;
using Microsoft.Extensions.Logging.Abstractions;

namespace Mayfly.Controller.Tests;

/// <summary>What one controller does for all. Who leads among several is <see cref="SeveralControllersTests"/>' affair.</summary>
public sealed class HeartTests : IAsyncLifetime
{
    /// <summary>All turns of a test come before the heart beats again: that asks the store, which this clock does not wait for.</summary>
    private static readonly TimeSpan Every = Some.Lease / 60;

    private readonly HandMovedTime _time = new(new DateTimeOffset(2026, 11, 21, 12, 0, 0, TimeSpan.Zero));
    private readonly string _folder = Directory.CreateTempSubdirectory("mayfly-heart-").FullName;
    private readonly Channel<string> _told = Channel.CreateUnbounded<string>();
    private FaultyClock _clock = null!;
    private Store _store = null!;
    private Heart _heart = null!;

    public async ValueTask InitializeAsync()
    {
        _clock = new FaultyClock(_time);
        _store = await Store.OpenAsync(Path.Combine(_folder, "controller.db"), Some.Lease, _clock);
        _heart = new Heart(_store, Some.Health(_store, _time), _time, NullLogger<Heart>.Instance);
    }

    [Fact]
    public async Task A_turn_comes_every_so_often_while_it_leads_and_one_that_fails_keeps_no_other_from_coming()
    {
        using var stop = new CancellationTokenSource();
        var turns = 0;
        var leading = _heart.LeadAsync("it", Every, TurnAsync, why => Tell($"failed: {why}"), stop.Token, follow: () => Tell("follows"));
        Assert.Equal("follows", await HeardAsync()); // it is no member yet

        await _heart.StartAsync(TestContext.Current.CancellationToken);
        foreach (var said in (string[])["failed: turn 1", "turn 2", "failed: turn 3", "turn 4 begins"])
        {
            _time.Move(Every);
            Assert.Equal(said, await HeardAsync());
        }

        await stop.CancelAsync();
        Assert.Equal("turn 4 is cancelled", await HeardAsync());
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => leading.WaitAsync(World.Limit, TestContext.Current.CancellationToken));

        async Task TurnAsync(CancellationToken cancel)
        {
            var turn = $"turn {++turns}";
            if (turns % 2 == 1)
                throw new InvalidOperationException(turn);
            if (turns == 2)
            {
                Tell(turn);
                return;
            }

            Tell($"{turn} begins");
            try
            {
                await Task.Delay(Timeout.InfiniteTimeSpan, TimeProvider.System, cancel);
            }
            finally
            {
                Tell($"{turn} is cancelled");
            }
        }
    }

    [Fact]
    public async Task Whatever_keeps_it_from_beating_ends_its_membership_until_it_beats_again()
    {
        await _heart.StartAsync(TestContext.Current.CancellationToken);
        Assert.True(_heart.Leads);
        var member = _heart.Member;
        using var listener = member.Register(() => throw new InvalidOperationException("who listens fails too"));

        _clock.Fails = true;
        await Beats.UntilAsync(() => member.IsCancellationRequested, _time, _store);
        Assert.False(_heart.Leads);

        _clock.Fails = false;
        await Beats.UntilAsync(() => !_heart.Member.IsCancellationRequested, _time, _store);
        Assert.True(_heart.Leads);
    }

    public async ValueTask DisposeAsync()
    {
        _clock.Fails = false;
        await _heart.StopAsync(CancellationToken.None);
        _heart.Dispose();
        await _store.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }

    private void Tell(string what) => Assert.True(_told.Writer.TryWrite(what));

    private async Task<string> HeardAsync()
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        limit.CancelAfter(World.Limit);
        return await _told.Reader.ReadAsync(limit.Token);
    }

    /// <summary>The store's clock; its failure is none that the store knows.</summary>
    private sealed class FaultyClock(TimeProvider time) : TimeProvider
    {
        public volatile bool Fails;

        public override DateTimeOffset GetUtcNow() => Fails ? throw new InvalidOperationException("no time") : time.GetUtcNow();
    }
}
