using System.Globalization;
using System.Net;
using Mayfly.Lab;

namespace Mayfly.Controller.Tests;

/// <summary>GitHub's limits, by the settings and by what its answers say.</summary>
public sealed class GitHubPaceTests : IDisposable
{
    private readonly HandMovedTime _time = new(DateTimeOffset.UnixEpoch + TimeSpan.FromDays(20_000));
    private readonly GitHubPace _pace;

    public GitHubPaceTests() => _pace = new GitHubPace(Settings.Defaults, _time);

    public void Dispose() => _pace.Dispose();

    [Fact]
    public async Task In_no_minute_are_more_runners_registered_than_GitHub_allows_and_hardly_fewer()
    {
        var registered = new Queue<DateTimeOffset>();
        var most = 0;
        for (var tick = 0; tick < 10 * 600; tick++)
        {
            while (_pace.RegistrationsLeft > 0)
            {
                await _pace.TakeAsync(HttpMethod.Post, TestContext.Current.CancellationToken);
                registered.Enqueue(_time.GetUtcNow());
            }

            while (registered.TryPeek(out var first) && first <= _time.GetUtcNow() - TimeSpan.FromMinutes(1))
                registered.Dequeue();
            most = Math.Max(most, registered.Count);
            _time.Move(TimeSpan.FromSeconds(0.1));
        }

        Assert.InRange(most, 174, 180);
    }

    [Fact]
    public async Task A_call_that_reads_counts_a_fifth()
    {
        Assert.Equal((TimeSpan.Zero, 6), (_pace.UntilRegistration, _pace.RegistrationsLeft));
        for (var i = 0; i < 30; i++)
            await _pace.TakeAsync(HttpMethod.Get, TestContext.Current.CancellationToken).AsTask().WaitAsync(World.Limit, TestContext.Current.CancellationToken);
        Assert.Equal(0, _pace.RegistrationsLeft);
    }

    [Theory]
    [InlineData(403, "retry-after", "45", 45)]
    [InlineData(429, "retry-after", "45", 45)]
    [InlineData(429, "x-none", "", 60)]
    public void Refused_it_waits_as_long_as_GitHub_asks(int status, string header, string value, int seconds)
    {
        Learn(status, (header, value));
        Assert.Equal(seconds, _pace.UntilRegistration.TotalSeconds, 3);
        _time.Move(TimeSpan.FromSeconds(seconds));
        Assert.True(_pace.RegistrationsLeft > 0);
    }

    [Fact]
    public void An_hour_whose_calls_are_spent_is_waited_for_to_its_end()
    {
        Learn(200, ("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", (_time.GetUtcNow() + TimeSpan.FromMinutes(20)).ToUnixTimeSeconds().ToString(CultureInfo.InvariantCulture)));
        Assert.Equal(TimeSpan.FromMinutes(20), _pace.UntilRegistration);
        Learn(200, ("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "4102444800")); // a clock that is wrong
        Assert.Equal(TimeSpan.FromHours(1), _pace.UntilRegistration);
    }

    [Theory]
    [InlineData(200, "", 4999)]
    [InlineData(403, "Resource not accessible by integration", 4999)]
    [InlineData(404, "Not Found", 4999)]
    public void What_is_no_limit_slows_nothing(int status, string message, int left)
    {
        using var response = Response(status, ("x-ratelimit-remaining", $"{left}"));
        Assert.False(GitHubPace.IsLimit(response, message));
        _pace.Learn(response, isLimit: false);
        Assert.Equal(6, _pace.RegistrationsLeft);
    }

    [Fact]
    public void A_403_that_speaks_of_a_rate_limit_is_one()
    {
        using var response = Response(403);
        Assert.True(GitHubPace.IsLimit(response, "You have exceeded a secondary rate limit."));
    }

    private void Learn(int status, params (string, string)[] headers)
    {
        using var response = Response(status, headers);
        _pace.Learn(response, GitHubPace.IsLimit(response, ""));
    }

    private static HttpResponseMessage Response(int status, params (string Name, string Value)[] headers)
    {
        var response = new HttpResponseMessage((HttpStatusCode)status);
        foreach (var (name, value) in headers)
            response.Headers.TryAddWithoutValidation(name, value);
        return response;
    }
}
