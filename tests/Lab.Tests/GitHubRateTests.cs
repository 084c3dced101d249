using System.Net;
using static System.Net.Http.HttpMethod;

namespace Mayfly.Lab.Tests;

public sealed class GitHubRateTests
{
    private readonly HandMovedTime _time = new(new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero));

    [Fact]
    public async Task A_hundred_and_eighty_configurations_a_minute_are_made_and_the_next_is_told_when_to_come_again()
    {
        await using var lab = await StartAsync();
        using var app = new GitHubApp(lab);
        var token = await app.TokenAsync();

        for (var i = 0; i < 180; i++)
            Assert.Equal(HttpStatusCode.Created, (await app.RegisterAsync(token, $"r-{i}", "mayfly")).Status);
        _time.Move(TimeSpan.FromSeconds(20));
        var (status, body, headers) = await app.SendAsync(Post, $"{app.Repository}/actions/runners/generate-jitconfig", token, GitHubApp.Request("one-more", "mayfly"));

        Assert.Equal((HttpStatusCode.Forbidden, "40"), (status, headers["Retry-After"]));
        Assert.Contains("secondary rate limit", (string)body!["message"]!, StringComparison.Ordinal);
        Assert.Equal(HttpStatusCode.OK, (await app.CallAsync(Get, $"{app.Repository}/actions/runners", token)).Status); // another endpoint
        _time.Move(TimeSpan.FromSeconds(40));
        Assert.Equal(HttpStatusCode.Created, (await app.RegisterAsync(token, "one-more", "mayfly")).Status);
    }

    [Fact]
    public async Task An_hours_requests_are_counted_down_and_the_reset_is_told()
    {
        await using var lab = await StartAsync();
        using var app = new GitHubApp(lab);
        var token = await app.TokenAsync();
        (lab.GitHub.Limits.PerHour, lab.GitHub.Limits.Status) = (3, 429);

        var remaining = new List<string>();
        for (var i = 0; i < 3; i++)
            remaining.Add((await app.SendAsync(Get, $"{app.Repository}/actions/runners", token)).Headers["x-ratelimit-remaining"]);
        var (status, _, headers) = await app.SendAsync(Get, $"{app.Repository}/actions/runners", token);

        Assert.Equal(["2", "1", "0"], remaining);
        Assert.Equal((HttpStatusCode.TooManyRequests, "0", false), (status, headers["x-ratelimit-remaining"], headers.ContainsKey("Retry-After")));
        Assert.Equal($"{_time.GetUtcNow().AddHours(1).ToUnixTimeSeconds()}", headers["x-ratelimit-reset"]);
        _time.Move(TimeSpan.FromHours(1) - TimeSpan.FromSeconds(1));
        Assert.Equal(HttpStatusCode.TooManyRequests, (await app.CallAsync(Get, $"{app.Repository}/actions/runners", token)).Status);
        _time.Move(TimeSpan.FromSeconds(1));
        Assert.Equal(HttpStatusCode.OK, (await app.CallAsync(Get, $"{app.Repository}/actions/runners", await app.TokenAsync())).Status);
    }

    [Fact]
    public async Task The_next_calls_are_refused_when_a_test_wants_it()
    {
        await using var lab = await StartAsync();
        using var app = new GitHubApp(lab);
        var token = await app.TokenAsync();
        lab.GitHub.Limits.RefuseNext(1, "generate-jitconfig", TimeSpan.FromSeconds(7));

        Assert.Equal(HttpStatusCode.OK, (await app.CallAsync(Get, $"{app.Repository}/actions/runners", token)).Status);
        Assert.Equal(HttpStatusCode.Forbidden, (await app.RegisterAsync(token, "r", "mayfly")).Status);
        Assert.Equal(HttpStatusCode.Created, (await app.RegisterAsync(token, "r", "mayfly")).Status);
        Assert.Equal(1, lab.GitHub.Limits.Refused);
    }

    private async Task<Lab> StartAsync() => await Lab.StartAsync(new LabOptions { Time = _time, GitHub = new() { RunnerKeys = 1 } });
}
