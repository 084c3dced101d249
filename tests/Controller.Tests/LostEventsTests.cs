using System.Text;
using Mayfly.Controller.Reconciliation;
using Mayfly.Lab.GitHub;

namespace Mayfly.Controller.Tests;

/// <summary>Events that no webhook told of, or not in time.</summary>
[Collection(Endpoints.Collection)]
public sealed class LostEventsTests : IAsyncLifetime
{
    private static readonly string[] Labels = ["mayfly"];

    private ReconcileBed _bed = null!;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    private Webhooks Webhooks => _bed.Lab.GitHub.Webhooks;

    public async ValueTask InitializeAsync() => _bed = await ReconcileBed.StartAsync();

    public ValueTask DisposeAsync() => _bed.DisposeAsync();

    [Fact]
    public async Task A_delivery_that_failed_is_sent_again_but_not_again_and_again()
    {
        await _bed.Lab.GitHub.Jobs.QueueAsync("build", Labels, []); // nobody listens
        Assert.True(Webhooks.Log.Single().Id > 1L << 53);
        for (var times = 1; times <= Redeliveries.MostTimes; times++)
        {
            await _bed.Redelivery.LookAsync(Cancel);
            await _bed.Redelivery.LookAsync(Cancel);
            Assert.Equal(times, Webhooks.Log.Count(d => d.IsRedelivery));
            _bed.Time.Move(Redeliveries.Pause);
        }

        await _bed.Redelivery.LookAsync(Cancel);
        Assert.Equal(Redeliveries.MostTimes, Webhooks.Log.Count(d => d.IsRedelivery));
        Assert.Single(Webhooks.Log.Select(d => d.Guid).Distinct());
    }

    [Fact]
    public async Task A_delivery_that_arrived_although_its_answer_was_lost_is_not_asked_for()
    {
        await _bed.Lab.GitHub.Jobs.QueueAsync("build", Labels, []);
        var sent = Webhooks.Log.Single();
        var headers = new Microsoft.AspNetCore.Http.HeaderDictionary
        {
            ["X-Hub-Signature-256"] = Webhooks.Sign(Encoding.UTF8.GetString(Some.Secret), sent.Body), ["X-GitHub-Delivery"] = $"{sent.Guid}", ["X-GitHub-Event"] = "workflow_job",
        };
        await _bed.Store.Deliveries.AcceptAsync(Controller.Delivery.Verify(headers, sent.Body, [Some.Secret], _bed.Settings).Delivery!);
        await _bed.Redelivery.LookAsync(Cancel);
        Assert.Single(Webhooks.Log);
    }

    [Fact]
    public async Task The_log_is_read_page_by_page_and_later_only_back_to_where_it_was_read()
    {
        for (var i = 0; i < 250; i++)
            await _bed.Lab.GitHub.Jobs.QueueAsync("build", ["ubuntu-latest"], []);
        var pages = 0;
        _bed.Lab.GitHub.Disturb = (method, path) => pages += method == "GET" && path == "/app/hook/deliveries" ? 1 : 0;
        await _bed.Redelivery.LookAsync(Cancel);
        Assert.Equal(3, pages);
        Assert.Equal(50, Webhooks.Log.Count(d => d.IsRedelivery)); // of one look
        _bed.Time.Move(TimeSpan.FromMinutes(6));
        await _bed.Redelivery.LookAsync(Cancel);
        Assert.Equal(100, Webhooks.Log.Count(d => d.IsRedelivery)); // those of before are remembered
        _bed.Time.Move(TimeSpan.FromMinutes(6));
        pages = 0;
        await _bed.Redelivery.LookAsync(Cancel);
        Assert.Equal(1, pages);
    }

    [Theory]
    [InlineData(0, true)]
    [InlineData(401, true)]
    [InlineData(500, true)]
    [InlineData(503, true)]
    [InlineData(202, false)]
    [InlineData(200, false)]
    [InlineData(400, false)]
    [InlineData(403, false)]
    [InlineData(413, false)]
    public void What_would_be_refused_again_is_not_asked_for(int status, bool isAsked) =>
        Assert.Equal(isAsked, Redelivery.Failed([Seen(1, status)], Some.Settings()).Count == 1);

    [Fact]
    public void A_delivery_counts_by_all_its_attempts_and_is_asked_for_by_the_newest()
    {
        Assert.Empty(Redelivery.Failed([Seen(3, 0), Seen(2, 202), Seen(1, 500)], Some.Settings()));
        Assert.Equal(("guid", 3), Assert.Single(Redelivery.Failed([Seen(3, 0), Seen(1, 500)], Some.Settings())));
        Assert.Empty(Redelivery.Failed([Seen(1, 0) with { Event = "push" }, Seen(2, 0) with { InstallationId = 1 }], Some.Settings()));
    }

    [Fact]
    public async Task Queued_jobs_are_found_by_listing_also_in_runs_that_are_under_way()
    {
        var jobs = _bed.Lab.GitHub.Jobs;
        var (queued, _) = await jobs.QueueAsync("queued", Labels, []);
        var (running, _) = await jobs.QueueAsync("running", Labels, []);
        var (beside, _) = await jobs.QueueAsync("beside", ["MAYFLY"], [], run: running.RunId);
        await jobs.QueueAsync("elsewhere", ["ubuntu-latest"], []);
        var (waiting, _) = await jobs.QueueAsync("waiting", Labels, []);
        await jobs.HoldAsync(waiting);
        jobs.Steal(running, _bed.Lab.GitHub.Runners.Register("somebody", Labels, "_work"));
        await _bed.Listing.LookAsync(Cancel);
        Assert.Equal([queued.Id, beside.Id], (await WaitingAsync()).Select(l => l.JobId).Order());

        await jobs.ReleaseAsync(waiting);
        await _bed.Listing.LookAsync(Cancel);
        await _bed.Listing.LookAsync(Cancel);
        Assert.Equal([queued.Id, beside.Id, waiting.Id], (await WaitingAsync()).Select(l => l.JobId).Order());
    }

    [Fact]
    public async Task A_listing_goes_on_where_its_budget_ended()
    {
        for (var i = 0; i < 60; i++)
            await _bed.Lab.GitHub.Jobs.QueueAsync($"job {i}", Labels, []);
        var calls = 0;
        _bed.Lab.GitHub.Disturb = (_, path) => calls += path.Contains("/actions/", StringComparison.Ordinal) ? 1 : 0;
        await _bed.Listing.LookAsync(Cancel);
        Assert.InRange(calls, 1, 42);
        await _bed.Listing.LookAsync(Cancel);
        Assert.Equal(60, (await WaitingAsync()).Count);
    }

    [Fact]
    public async Task Jobs_that_were_queued_while_no_controller_ran_get_one_machine_each()
    {
        await using var world = await World.StartAsync(controller: false);
        var (job, status) = await world.Lab.GitHub.Jobs.QueueAsync("build", Labels, []);
        Assert.NotEqual(202, status);
        await world.StartControllerAsync();
        await world.AssertLaunchedOnceAsync(job);
    }

    private Task<List<LaunchRecord>> WaitingAsync() => _bed.Store.TransactAsync(sql => new LaunchReader().ReadAsync(sql, "state = 'Waiting'"));

    private static DeliverySeen Seen(long id, int status) => new(id, "guid", DateTimeOffset.UnixEpoch, status, "workflow_job", 87_654_321);
}
