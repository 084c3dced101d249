namespace Mayfly.Lab.Tests;

/// <summary>A clock that runs waits, from step to step, until nothing in the whole process waits for a thread: nobody else runs beside it.</summary>
[CollectionDefinition(Name, DisableParallelization = true)]
public sealed class RunningClock
{
    public const string Name = "a clock that runs";
}

[Collection(RunningClock.Name)]
public sealed class HandMovedTimeTests
{
    private static readonly DateTimeOffset Start = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);

    [Fact]
    public void It_stands_still_until_it_is_moved_and_timers_go_off_in_order_at_their_own_moments()
    {
        var time = new HandMovedTime(Start);
        var heard = new List<(string, TimeSpan)>();
        using var late = Timer("late", TimeSpan.FromSeconds(5));
        using var early = Timer("early", TimeSpan.FromSeconds(2));
        using var never = Timer("never", TimeSpan.FromSeconds(11));
        using var stopped = Timer("stopped", TimeSpan.FromSeconds(3));
        stopped.Change(Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);

        Assert.Equal(Start, time.GetUtcNow());
        time.Move(TimeSpan.FromSeconds(10));

        Assert.Equal([("early", TimeSpan.FromSeconds(2)), ("late", TimeSpan.FromSeconds(5))], heard);
        Assert.Equal(Start.AddSeconds(10), time.GetUtcNow());
        Assert.Equal(TimeSpan.FromSeconds(10), time.GetElapsedTime(0));

        ITimer Timer(string name, TimeSpan due) => time.CreateTimer(_ => heard.Add((name, time.GetUtcNow() - Start)), null, due, Timeout.InfiniteTimeSpan);
    }

    [Fact]
    public void A_timer_with_a_period_goes_off_again_and_again()
    {
        var time = new HandMovedTime(Start);
        var moments = new List<double>();
        using var timer = time.CreateTimer(_ => moments.Add((time.GetUtcNow() - Start).TotalSeconds), null, TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(2));

        time.Move(TimeSpan.FromSeconds(6));

        Assert.Equal([1, 3, 5], moments);
    }

    [Fact]
    public async Task What_waits_on_it_goes_on_when_it_is_run_and_a_limit_ends_it()
    {
        var time = new HandMovedTime(Start);
        var cancel = TestContext.Current.CancellationToken;
        var work = WorkAsync();

        await time.RunAsync(() => work.IsCompleted, () => false, TimeSpan.FromSeconds(1), TimeSpan.FromHours(1), cancel);

        Assert.InRange(time.GetUtcNow() - Start, TimeSpan.FromMinutes(10), TimeSpan.FromMinutes(11));
        await Assert.ThrowsAsync<TimeoutException>(() => time.RunAsync(() => false, () => false, TimeSpan.FromMinutes(1), TimeSpan.FromMinutes(3), cancel));

        async Task WorkAsync()
        {
            for (var minute = 0; minute < 10; minute++)
                await Task.Delay(TimeSpan.FromMinutes(1), time, cancel);
        }
    }

    [Fact]
    public async Task Until_it_is_stopped_it_goes_by_itself_and_can_be_moved_on()
    {
        var time = new HandMovedTime();
        var cancel = TestContext.Current.CancellationToken;

        await Task.Delay(TimeSpan.FromMilliseconds(1), time, cancel);
        var far = Task.Delay(TimeSpan.FromHours(1), time, cancel);
        time.Move(TimeSpan.FromHours(2));

        await far.WaitAsync(TimeSpan.FromSeconds(20), cancel);
        time.Stop();
        Assert.Equal(time.GetUtcNow(), time.GetUtcNow());
    }
}
