using Mayfly.Lab.GitHub;

namespace Mayfly.Controller.Tests;

/// <summary>Refusals that GitHub will not hear of at once, by a clock that is moved by hand.</summary>
[Collection(Endpoints.Collection)]
public sealed class RefusalTellerTests : IAsyncLifetime
{
    private ReconcileBed _bed = null!;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync() => _bed = await ReconcileBed.StartAsync("default: {refusals: cancel}\n");

    public ValueTask DisposeAsync() => _bed.DisposeAsync();

    [Theory]
    [InlineData("/cancel")]
    [InlineData("/check-runs")]
    public async Task What_one_user_cannot_be_told_keeps_no_other_waiting_and_is_told_once_when_it_can(string failing)
    {
        var first = await RefuseAsync("first");
        var asked = 0;
        _bed.Lab.GitHub.Disturb = (_, path) =>
        {
            if (!path.EndsWith(failing, StringComparison.Ordinal))
                return;
            asked++;
            throw new GitHubFault(500, "the lab was told to");
        };
        for (var looks = 0; looks < 16; looks++)
        {
            await _bed.Teller.TellAsync(Cancel);
            _bed.Move(TimeSpan.FromSeconds(2));
        }

        Assert.Equal(3, asked); // at once, after 10 s and after 20 s; then after 40 s
        Assert.Empty(_bed.Lab.GitHub.CheckRuns.All);

        _bed.Lab.GitHub.Disturb = null;
        var second = await RefuseAsync("second");
        await _bed.Teller.TellAsync(Cancel);
        Assert.Equal("cancelled", second.Conclusion);
        Assert.Single(_bed.Lab.GitHub.CheckRuns.All);

        _bed.Move(TimeSpan.FromMinutes(2));
        await _bed.Teller.TellAsync(Cancel);
        await _bed.Teller.TellAsync(Cancel);
        Assert.Equal("cancelled", first.Conclusion);
        Assert.Equal(2, _bed.Lab.GitHub.CheckRuns.All.Count);
    }

    [Fact]
    public async Task After_an_hour_it_is_not_tried_again()
    {
        await RefuseAsync("build");
        _bed.Lab.GitHub.Disturb = (_, _) => throw new GitHubFault(500, "the lab was told to");
        await _bed.Teller.TellAsync(Cancel);
        _bed.Move(TimeSpan.FromMinutes(61));
        await _bed.Teller.TellAsync(Cancel);
        _bed.Lab.GitHub.Disturb = null;
        _bed.Move(TimeSpan.FromDays(1));
        await _bed.Teller.TellAsync(Cancel);
        Assert.Empty(_bed.Lab.GitHub.CheckRuns.All);
    }

    private async Task<Job> RefuseAsync(string name)
    {
        var (job, _) = await _bed.Lab.GitHub.Jobs.QueueAsync(name, ["mayfly/cpu=many"], []);
        await _bed.Intake.FoundAsync([ReconcileBed.JobOf(job, JobAction.Queued) with { HeadSha = new string('a', 40) }]);
        return job;
    }
}
