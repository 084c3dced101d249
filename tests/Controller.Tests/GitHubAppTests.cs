using System.Collections.Concurrent;
using System.Net;
using System.Security.Cryptography;
using Mayfly.Lab;
using Mayfly.Lab.GitHub;

namespace Mayfly.Controller.Tests;

/// <summary>The App's calls, against the lab's GitHub.</summary>
public sealed class GitHubAppTests : IAsyncLifetime
{
    private static readonly string[] Labels = ["mayfly", "spot=true"];

    private readonly ManualTime _time = new(new DateTimeOffset(2026, 11, 21, 12, 0, 0, TimeSpan.Zero));
    private readonly ConcurrentQueue<string> _calls = [];
    private readonly Repo _repo = new(87_654_321, "octo-org/octo-repo");
    private Lab.Lab _lab = null!;
    private GitHubApp _app = null!;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    private int TokensAsked => _calls.Count(c => c.EndsWith("/access_tokens", StringComparison.Ordinal));

    public async ValueTask InitializeAsync()
    {
        _lab = await Lab.Lab.StartAsync(new LabOptions { Time = _time });
        _lab.GitHub.Disturb = (method, path) => _calls.Enqueue($"{method} {path}");
        _app = AppWith(_lab.GitHub.Options.AppKey.ExportParameters(includePrivateParameters: true));
    }

    public async ValueTask DisposeAsync()
    {
        _app.Dispose();
        await _lab.DisposeAsync();
    }

    [Fact]
    public async Task An_installation_token_is_kept_until_five_minutes_before_it_expires()
    {
        await _app.FindRunnerAsync(_repo, "x", Cancel);
        _time.Move(TimeSpan.FromMinutes(54));
        await _app.FindRunnerAsync(_repo, "x", Cancel);
        Assert.Equal(1, TokensAsked);
        _time.Move(TimeSpan.FromMinutes(1));
        await _app.FindRunnerAsync(_repo, "x", Cancel);
        Assert.Equal(2, TokensAsked);
    }

    [Fact]
    public async Task Many_calls_at_once_ask_for_one_token()
    {
        await Task.WhenAll(Enumerable.Range(0, 20).Select(_ => _app.FindRunnerAsync(_repo, "x", Cancel)));
        Assert.Equal(1, TokensAsked);
    }

    [Fact]
    public async Task A_token_that_was_revoked_is_not_used_again()
    {
        await _app.FindRunnerAsync(_repo, "x", Cancel);
        _lab.GitHub.Disturb = (_, path) => Fail(path.EndsWith("/runners", StringComparison.Ordinal), 401, "Bad credentials");
        Assert.Equal(HttpStatusCode.Unauthorized, (await Assert.ThrowsAsync<GitHubException>(() => _app.FindRunnerAsync(_repo, "x", Cancel))).Status);
        _calls.Clear();
        _lab.GitHub.Disturb = (method, path) => _calls.Enqueue($"{method} {path}");
        await _app.FindRunnerAsync(_repo, "x", Cancel);
        Assert.Equal(1, TokensAsked);
    }

    [Fact]
    public async Task A_runner_is_registered_with_all_of_the_jobs_labels_found_and_deleted()
    {
        using var registered = await _app.RegisterAsync(_repo, "mayfly-43000000001-1", Labels, Cancel);
        var runner = Assert.Single(_lab.GitHub.Runners.All);
        Assert.Equal((registered.Id, "mayfly-43000000001-1"), (runner.Id, runner.Name));
        Assert.Equal(Labels, runner.Labels);
        Assert.Equal(registered.Id, await _app.FindRunnerAsync(_repo, "mayfly-43000000001-1", Cancel));
        Assert.Null(await _app.FindRunnerAsync(_repo, "mayfly-43000000001", Cancel));
        Assert.True(await _app.DeleteRunnerAsync(_repo, registered.Id, Cancel));
        Assert.True(await _app.DeleteRunnerAsync(_repo, registered.Id, Cancel));
        Assert.Empty(_lab.GitHub.Runners.All);
    }

    [Fact]
    public async Task A_runner_with_a_job_is_not_deleted()
    {
        using var registered = await _app.RegisterAsync(_repo, "mayfly-43000000001-1", Labels, Cancel);
        _lab.GitHub.Runners.All.Single().Job = new Job(1, 1, "build", [], [], _time.GetUtcNow());
        Assert.False(await _app.DeleteRunnerAsync(_repo, registered.Id, Cancel));
    }

    [Fact]
    public async Task A_job_waits_until_it_is_taken_or_gone()
    {
        var (job, _) = await _lab.GitHub.Jobs.QueueAsync("build", ["mayfly"], []);
        Assert.True(await _app.IsQueuedAsync(_repo, job.Id, Cancel));
        (job.State, job.Started) = (JobState.InProgress, _time.GetUtcNow());
        Assert.False(await _app.IsQueuedAsync(_repo, job.Id, Cancel));
        Assert.False(await _app.IsQueuedAsync(_repo, 1, Cancel));
    }

    [Theory]
    [InlineData(404, true)]
    [InlineData(422, true)]
    [InlineData(403, true)]
    [InlineData(409, false)]
    [InlineData(429, false)]
    [InlineData(500, false)]
    [InlineData(503, false)]
    public async Task Refusals_that_pass_are_told_from_those_that_do_not(int status, bool final)
    {
        _lab.GitHub.Disturb = (_, path) => Fail(path.EndsWith("jitconfig", StringComparison.Ordinal), status, "because");
        var refused = await Assert.ThrowsAsync<GitHubException>(() => _app.RegisterAsync(_repo, "x", Labels, Cancel));
        Assert.Equal(final, refused.IsFinal);
        Assert.Equal($"GitHub POST repos/octo-org/octo-repo/actions/runners/generate-jitconfig: {status} because", refused.Message);
    }

    [Fact]
    public void A_rate_limit_that_is_answered_403_passes() =>
        Assert.False(new GitHubException("GET x", HttpStatusCode.Forbidden, "You have exceeded a secondary rate limit", isRateLimit: true).IsFinal);

    [Fact]
    public async Task An_App_with_another_key_is_refused_without_its_token_in_the_message()
    {
        using var other = RSA.Create(2048);
        using var app = AppWith(other.ExportParameters(includePrivateParameters: true));
        var refused = await Assert.ThrowsAsync<GitHubException>(() => app.FindRunnerAsync(_repo, "x", Cancel));
        Assert.Equal(HttpStatusCode.Unauthorized, refused.Status);
        Assert.DoesNotContain("eyJ", refused.Message, StringComparison.Ordinal);
    }

    private GitHubApp AppWith(RSAParameters key) =>
        new(new HttpClient { BaseAddress = _lab.GitHubAddress }, Some.Settings(), RSA.Create(key), _time);

    private static void Fail(bool when, int status, string message)
    {
        if (when)
            throw new GitHubFault(status, message);
    }
}
