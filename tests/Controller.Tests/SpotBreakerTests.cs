using Mayfly.Lab;

namespace Mayfly.Controller.Tests;

/// <summary>When spot is kept off, by a clock that is moved by hand.</summary>
public sealed class SpotBreakerTests
{
    private const string Region = "eu-central-1";
    private static readonly Settings Three = Settings.Defaults with { SpotFailures = 3, SpotWindow = TimeSpan.FromMinutes(10), SpotPause = TimeSpan.FromMinutes(15) };

    private readonly HandMovedTime _time = new(DateTimeOffset.UnixEpoch);
    private readonly SpotBreaker _breaker;

    public SpotBreakerTests() => _breaker = new SpotBreaker(Three, _time);

    [Fact]
    public void The_third_failure_within_the_window_opens_it_for_the_pause()
    {
        Assert.Equal([false, false, true], Fail(3));
        Assert.True(_breaker.IsOpen(["m7i"], Region));
        _time.Move(Three.SpotPause - TimeSpan.FromSeconds(1));
        Assert.True(_breaker.IsOpen(["m7i"], Region));
        _time.Move(TimeSpan.FromSeconds(1));
        Assert.False(_breaker.IsOpen(["m7i"], Region));
    }

    [Fact]
    public void After_the_pause_it_counts_anew()
    {
        Fail(3);
        _time.Move(Three.SpotPause);
        Assert.Equal([false, false, true], Fail(3));
    }

    [Fact]
    public void What_failed_while_it_was_open_does_not_make_the_pause_longer()
    {
        Fail(3);
        _time.Move(Three.SpotPause - TimeSpan.FromSeconds(1));
        Assert.Equal([false, false, false], Fail(3));
        _time.Move(TimeSpan.FromSeconds(1));
        Assert.False(_breaker.IsOpen(["m7i"], Region));
    }

    [Fact]
    public void Failures_further_apart_than_the_window_are_no_reason()
    {
        for (var i = 0; i < 10; i++)
        {
            Assert.False(_breaker.Failed("m7i", Region));
            _time.Move(Three.SpotWindow / 2);
        }

        Assert.False(_breaker.IsOpen(["m7i"], Region));
    }

    [Fact]
    public void Other_families_and_regions_are_not_concerned_and_one_that_holds_is_enough()
    {
        Fail(3);
        Assert.False(_breaker.IsOpen(["m7a"], Region));
        Assert.False(_breaker.IsOpen(["m7i"], "us-east-1"));
        Assert.False(_breaker.IsOpen(["m7i", "m7a"], Region));
    }

    [Theory]
    [InlineData("m7i.large", "m7i")]
    [InlineData("u7in-16tb.224xlarge", "u7in-16tb")]
    [InlineData("m7i.*", "m7i")]
    public void A_family_is_what_stands_before_the_size(string type, string family) => Assert.Equal(family, SpotBreaker.FamilyOf(type));

    private bool[] Fail(int times) => [.. Enumerable.Range(0, times).Select(_ => _breaker.Failed("m7i", Region))];
}
