using Mayfly.Lab;

namespace Mayfly.Controller.Tests;

/// <summary>Buckets by a clock that is moved by hand: no wait is a real one.</summary>
public sealed class PaceTests
{
    private readonly HandMovedTime _time = new(DateTimeOffset.UnixEpoch);

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_full_bucket_gives_all_it_holds_at_once_and_then_one_at_a_time()
    {
        using var pace = new Pace(2, 5, _time);
        for (var i = 0; i < 5; i++)
            await pace.TakeAsync(1, Cancel);
        Assert.Equal(TimeSpan.FromSeconds(0.5), pace.Until(1));
        var next = pace.TakeAsync(1, Cancel).AsTask();
        _time.Move(TimeSpan.FromSeconds(0.499));
        Assert.False(next.IsCompleted);
        _time.Move(TimeSpan.FromSeconds(0.001));
        await next;
    }

    [Fact]
    public async Task Whoever_waits_is_served_in_the_order_of_coming()
    {
        using var pace = new Pace(1, 1, _time);
        await pace.TakeAsync(1, Cancel);
        var order = new List<int>();
        async Task TakeAsync(int who)
        {
            await pace.TakeAsync(1, Cancel);
            lock (order)
                order.Add(who);
        }

        Task[] waiting = [.. Enumerable.Range(0, 5).Select(TakeAsync)];
        Assert.Equal(TimeSpan.FromSeconds(6), pace.Until(1));
        for (var who = 0; who < waiting.Length; who++)
        {
            Assert.True(SpinWait.SpinUntil(() => _time.TimersSet > who, World.Limit), "the next in line set no timer"); // only then the clock may move
            _time.Move(TimeSpan.FromSeconds(1));
            await waiting[who].WaitAsync(World.Limit, Cancel);
        }

        Assert.Equal([0, 1, 2, 3, 4], order);
    }

    [Fact]
    public async Task Who_gives_up_waiting_leaves_the_others_their_tokens()
    {
        using var pace = new Pace(1, 1, _time);
        await pace.TakeAsync(1, Cancel);
        using var gaveUp = new CancellationTokenSource();
        var first = pace.TakeAsync(1, gaveUp.Token).AsTask();
        var second = pace.TakeAsync(1, Cancel).AsTask();
        await gaveUp.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => first);
        Assert.Equal(TimeSpan.FromSeconds(2), pace.Until(1));
        Assert.True(SpinWait.SpinUntil(() => _time.TimersSet > 1, World.Limit), "the second in line set no timer"); // only then the clock may move
        _time.Move(TimeSpan.FromSeconds(1));
        await second.WaitAsync(World.Limit, Cancel);
    }

    [Fact]
    public void A_refusal_empties_the_bucket_and_halves_the_rate_which_grows_back_evenly()
    {
        using var pace = new Pace(4, 8, _time);
        pace.Refused();
        Assert.Equal((0, 2), (pace.Left, pace.PerSecond));
        _time.Move(Pace.Recovery / 4);
        Assert.Equal(3, pace.PerSecond, 6);
        _time.Move(Pace.Recovery);
        Assert.Equal((8, 4), (Math.Round(pace.Left, 3), pace.PerSecond));
    }

    [Fact]
    public void Tokens_that_come_back_while_the_rate_grows_are_those_of_the_rate_meanwhile()
    {
        using var pace = new Pace(4, 1000, _time);
        pace.Refused();
        _time.Move(Pace.Recovery); // from 2 to 4 a second in half of it, then 4
        Assert.Equal((3 * 60) + (4 * 60), pace.Left, 3);
    }

    [Fact]
    public void Calls_that_are_refused_together_count_once_and_the_rate_never_falls_to_nothing()
    {
        using var pace = new Pace(4, 8, _time);
        pace.Refused();
        pace.Refused();
        Assert.Equal(2, pace.PerSecond);
        for (var i = 0; i < 20; i++)
        {
            _time.Move(Pace.Together);
            pace.Refused();
        }

        Assert.InRange(pace.PerSecond, 0.1, 0.2);
    }

    [Fact]
    public async Task Held_it_lets_nothing_pass_until_the_pause_is_over()
    {
        using var pace = new Pace(10, 10, _time);
        pace.HoldFor(TimeSpan.FromSeconds(30));
        pace.HoldFor(TimeSpan.FromSeconds(5)); // the longer one counts
        Assert.Equal((0, TimeSpan.FromSeconds(30)), (pace.Left, pace.Until(1)));
        var waiting = pace.TakeAsync(1, Cancel).AsTask();
        _time.Move(TimeSpan.FromSeconds(29));
        Assert.False(waiting.IsCompleted);
        _time.Move(TimeSpan.FromSeconds(1));
        await waiting.WaitAsync(World.Limit, Cancel);
    }

    [Fact]
    public async Task Two_that_share_a_bucket_they_do_not_know_of_come_to_use_it_up_and_no_more()
    {
        // The service's own bucket gives 3 a second; each of the two is set to 3.
        using var service = new Pace(3, 3, _time);
        Pace[] both = [new(3, 1, _time), new(3, 1, _time)];
        var (taken, refused) = (new int[2], 0);
        for (var tick = 0; tick < 20 * 600; tick++)
        {
            _time.Move(TimeSpan.FromSeconds(0.05));
            for (var i = 0; i < both.Length; i++)
            {
                if (both[i].Left < 1)
                    continue;
                await both[i].TakeAsync(1, Cancel);
                if (service.Left >= 1)
                {
                    await service.TakeAsync(1, Cancel);
                    taken[i]++;
                }
                else
                {
                    both[i].Refused();
                    refused++;
                }
            }
        }

        Assert.InRange(taken.Sum(), 3 * 600 * 0.8, 3 * 600 * 1.01);
        Assert.True(refused < taken.Sum() * 0.05, $"{refused} of {taken.Sum()} were refused");
        Assert.All(taken, t => Assert.InRange(t, taken.Sum() * 0.3, taken.Sum() * 0.7));
        foreach (var pace in both)
            pace.Dispose();
    }
}
