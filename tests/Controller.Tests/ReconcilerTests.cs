using Mayfly.Aws;
using Mayfly.Contract;
using Mayfly.Controller.Reconciliation;
using Mayfly.Lab.GitHub;

namespace Mayfly.Controller.Tests;

/// <summary>What reconciliation makes of EC2, SSM and GitHub.</summary>
[Collection(Endpoints.Collection)]
public sealed class ReconcilerTests : IAsyncLifetime
{
    private ReconcileBed _bed = null!;

    public async ValueTask InitializeAsync() => _bed = await ReconcileBed.StartAsync();

    public ValueTask DisposeAsync() => _bed.DisposeAsync();

    [Fact]
    public async Task A_machine_whose_launch_has_ended_goes_with_its_runner_and_its_parameter()
    {
        var (job, launch, _) = await _bed.LaunchAsync();
        await _bed.Store.Launches.EndedAsync(launch.Id, "lost", "[]");
        _bed.Lab.GitHub.Jobs.Cancel(job);
        await _bed.RecordAsync(job, JobAction.Completed);
        await _bed.Reconciler.PassAsync(TestContext.Current.CancellationToken);
        Assert.Single(_bed.Living);
        await LooksAsync();
        AssertNothingLeft();
    }

    [Fact]
    public async Task A_busy_runners_machine_is_not_ended_even_if_it_is_busy_only_since_the_look()
    {
        var (job, launch, _) = await _bed.LaunchAsync();
        await _bed.Store.Launches.EndedAsync(launch.Id, "lost", "[]");
        _bed.Lab.GitHub.Jobs.Cancel(job);
        await _bed.RecordAsync(job, JobAction.Completed);
        _bed.Time.Move(Plan.Young);
        await _bed.Reconciler.PassAsync(TestContext.Current.CancellationToken);
        var runner = _bed.Lab.GitHub.Runners.All.Single();
        var (other, _) = await _bed.Lab.GitHub.Jobs.QueueAsync("other", ["mayfly"], []);
        var asked = 0;
        _bed.Lab.GitHub.Disturb = (method, path) =>
        {
            if (method == "GET" && path.EndsWith("/actions/runners", StringComparison.Ordinal) && ++asked == 2)
                Give(other, runner); // the look has been, and what asks now is the last check
        };
        _bed.Time.Move(Plan.Grace);
        await _bed.Reconciler.PassAsync(TestContext.Current.CancellationToken);
        Assert.Equal(2, asked);
        Assert.Single(_bed.Living);
        Assert.Single(_bed.Lab.GitHub.Runners.All);
        await LooksAsync();
        Assert.Single(_bed.Living);
    }

    [Fact]
    public async Task A_machine_past_its_limits_is_ended_whatever_it_does()
    {
        var (job, launch, _) = await _bed.LaunchAsync();
        Give(job, _bed.Lab.GitHub.Runners.All.Single());
        await _bed.RecordAsync(job, JobAction.InProgress);
        _bed.Time.Move(TimeSpan.FromSeconds(300 + 21_600) + Plan.Margin - TimeSpan.FromMinutes(1));
        await _bed.Reconciler.PassAsync(TestContext.Current.CancellationToken);
        Assert.Single(_bed.Living);
        await _bed.LooksAsync(Plan.Grace + TimeSpan.FromSeconds(1));
        await _bed.LooksAsync(Plan.Grace + TimeSpan.FromSeconds(1));
        Assert.Empty(_bed.Living);
        Assert.Equal(LaunchState.Launched, (await _bed.FindAsync(launch)).State); // its console is read when it has ended
    }

    [Fact]
    public async Task A_job_that_was_cancelled_before_pick_up_leaves_no_machine()
    {
        var (job, _, _) = await _bed.LaunchAsync();
        _bed.Lab.GitHub.Jobs.Cancel(job);
        await _bed.RecordAsync(job, JobAction.Completed);
        _bed.Time.Move(Plan.Young);
        await LooksAsync();
        AssertNothingLeft();
    }

    [Fact]
    public async Task A_cancelled_jobs_machine_that_another_job_has_taken_goes_on()
    {
        var (job, _, _) = await _bed.LaunchAsync();
        var (other, _) = await _bed.Lab.GitHub.Jobs.QueueAsync("other", ["mayfly"], []);
        _bed.Lab.GitHub.Jobs.Cancel(job);
        Give(other, _bed.Lab.GitHub.Runners.All.Single());
        await _bed.RecordAsync(job, JobAction.Completed);
        _bed.Time.Move(Plan.Young);
        await LooksAsync();
        Assert.Single(_bed.Living);
    }

    [Fact]
    public async Task Parameters_whose_machines_are_gone_are_deleted_ten_at_a_time()
    {
        var (_, _, instance) = await _bed.LaunchAsync();
        var user = new Mayfly.Lab.Aws.Principal("AIDALAB", "arn:aws:iam::123456789012:user/mayfly", null);
        for (var i = 0; i < 23; i++)
        {
            _bed.Time.Move(TimeSpan.FromSeconds(1)); // the lab takes three a second
            _bed.Lab.Ssm.Put(new System.Text.Json.Nodes.JsonObject { ["Name"] = ConfigParameter.NameFor($"i-gone{i}"), ["Value"] = "x", ["Type"] = "SecureString" }, user);
        }

        var calls = new List<string>();
        _bed.Lab.Ssm.Disturb = (action, _) => calls.Add(action);
        _bed.Time.Move(Plan.Nameless);
        await LooksAsync();
        Assert.Equal(ConfigParameter.NameFor(instance.Id), Assert.Single(_bed.Lab.Ssm.Parameters).Name);
        Assert.Equal(["DescribeParameters", "DescribeParameters", "DeleteParameters", "DeleteParameters", "DeleteParameters"], calls);
    }

    [Fact]
    public async Task A_runner_without_a_machine_is_removed_and_a_strangers_is_not()
    {
        await _bed.LaunchAsync();
        _bed.Lab.GitHub.Runners.Register("mayfly-8-1", ["mayfly"], "_work");
        _bed.Lab.GitHub.Runners.Register("somebody", ["mayfly"], "_work");
        await _bed.LooksAsync(Plan.Nameless);
        Assert.Equal(["mayfly-" + _bed.Lab.GitHub.Jobs.All.Single().Id + "-1", "somebody"], _bed.Lab.GitHub.Runners.All.Select(r => r.Name).Order());
    }

    [Fact]
    public async Task A_job_whose_machines_end_without_it_gets_three_and_then_a_reason()
    {
        var (job, launch, instance) = await _bed.LaunchAsync();
        for (var machine = 2; machine <= Plan.MostMachines; machine++)
        {
            await EndAsync(instance.Id, "idle");
            (launch, instance) = await _bed.LaunchNextAsync();
            Assert.Equal((machine, job.Id), (launch.Machine, launch.JobId));
        }

        await EndAsync(instance.Id, "idle");
        Assert.Empty(await _bed.Store.Queue.ClaimAsync(1, (waiting, _, _) => waiting.FirstOrDefault()));
        var refused = (await _bed.Store.Launches.FindAsync(new LaunchId(launch.Id.Repository, $"{job.Id}-1-4")))!;
        Assert.Equal(LaunchState.Refused, refused.State);
        Assert.Contains("none of its 3 machines ran it", refused.Reason!, StringComparison.Ordinal);
        Assert.Contains("idle", refused.Reason!, StringComparison.Ordinal);
        var asked = 0;
        _bed.Lab.GitHub.Disturb = (_, path) => asked += path.Contains("/actions/jobs/", StringComparison.Ordinal) ? 1 : 0;
        await _bed.LooksAsync(Plan.AskEvery * 2);
        Assert.Equal(0, asked);
    }

    [Fact]
    public async Task A_job_whose_runner_another_job_took_gets_another_machine()
    {
        var (first, launch, _) = await _bed.LaunchAsync();
        var (other, _) = await _bed.Lab.GitHub.Jobs.QueueAsync("not seen yet", ["mayfly"], []);
        Give(other, _bed.Lab.GitHub.Runners.All.Single());
        await _bed.RecordAsync(other, JobAction.InProgress);
        await _bed.Reconciler.PassAsync(TestContext.Current.CancellationToken);
        var (second, _) = await _bed.LaunchNextAsync();
        Assert.Equal((2, first.Id, $"{launch.Runner}-2"), (second.Machine, second.JobId, second.Runner));
        Assert.Equal(2, _bed.Living.Count);
    }

    [Fact]
    public async Task A_job_that_ran_although_nobody_told_is_not_given_another_machine()
    {
        var (job, launch, instance) = await _bed.LaunchAsync();
        Give(job, _bed.Lab.GitHub.Runners.All.Single());
        _bed.Lab.GitHub.Jobs.Complete(job, "success");
        await EndAsync(instance.Id, "job-succeeded");
        launch = await _bed.FindAsync(launch);
        Assert.Equal((LaunchState.Ended, launch.Runner, "success", job.Id), (launch.State, launch.RunnerName, launch.Conclusion, launch.TookJob));
        Assert.Empty(await _bed.Store.Queue.ClaimAsync(1, (waiting, _, _) => waiting.FirstOrDefault()));
    }

    [Fact]
    public async Task A_job_that_EC2_interrupted_is_run_again_on_demand_as_soon_as_its_run_allows()
    {
        var (job, launch, instance) = await _bed.LaunchAsync("mayfly", "spot=rerun");
        Assert.True(instance.Spot);
        var (sibling, _) = await _bed.Lab.GitHub.Jobs.QueueAsync("another of the run", ["ubuntu-latest"], [], run: job.RunId);
        Give(job, _bed.Lab.GitHub.Runners.All.Single());
        _bed.Lab.GitHub.Jobs.Complete(job, "failure");
        await _bed.RecordAsync(job, JobAction.Completed);
        await EndAsync(instance.Id, "spot-interrupted");
        Assert.Equal(Rerun.Wanted, (await _bed.FindAsync(launch)).Rerun);
        Assert.Equal(2, _bed.Lab.GitHub.Jobs.All.Count); // GitHub refused: its run goes on

        _bed.Lab.GitHub.Jobs.Cancel(sibling);
        await _bed.LooksAsync(Plan.AskSlowly);
        Assert.Equal(Rerun.Asked, (await _bed.FindAsync(launch)).Rerun);
        var again = Assert.Single(_bed.Lab.GitHub.Jobs.All, j => j.Attempt == 2);
        await _bed.Intake.FoundAsync([ReconcileBed.JobOf(again, JobAction.Queued)]);
        Assert.False((await _bed.LaunchNextAsync()).Instance.Spot);
        await _bed.LooksAsync(Plan.AskSlowly);
        Assert.Single(_bed.Lab.GitHub.Jobs.All, j => j.Attempt == 2);
    }

    [Fact]
    public async Task An_interrupted_job_that_somebody_ran_again_is_not_run_once_more()
    {
        var (job, launch, instance) = await _bed.LaunchAsync("mayfly", "spot=rerun");
        Give(job, _bed.Lab.GitHub.Runners.All.Single());
        _bed.Lab.GitHub.Jobs.Complete(job, "failure");
        var again = await _bed.Lab.GitHub.Jobs.RerunAsync(job);
        await _bed.Intake.FoundAsync([ReconcileBed.JobOf(again, JobAction.Queued)]);
        await _bed.RecordAsync(job, JobAction.Completed);
        await EndAsync(instance.Id, "spot-interrupted");
        Assert.Equal(Rerun.GivenUp, (await _bed.FindAsync(launch)).Rerun);
        Assert.Equal(2, _bed.Lab.GitHub.Jobs.All.Count);
    }

    [Fact]
    public async Task The_image_of_the_launch_template_is_judged_by_its_tags()
    {
        var (cancel, source) = (TestContext.Current.CancellationToken, new ImageSource(_bed.Sites.Home, "mayfly", null));
        await _bed.Image.LookAsync(cancel);
        Assert.IsType<RunnerAge.Unknown>(_bed.Image.AgeOf(source)); // the image has no tags
        var now = _bed.Time.GetUtcNow();
        _bed.Lab.GitHub.RunnerReleases = [("2.337.0", now - TimeSpan.FromDays(20)), ("2.336.0", now - TimeSpan.FromDays(50))];
        _bed.Lab.Images.Add("ami-0123456789abcdef0", new Dictionary<string, string> { [Tags.RunnerVersion] = "2.336.0", [Tags.RunnerReleased] = "2026-10-02" });
        await _bed.Image.LookAsync(cancel);
        Assert.IsType<RunnerAge.Old>(_bed.Image.AgeOf(source));
        _bed.Time.Move(TimeSpan.FromDays(10));
        await _bed.Image.LookAsync(cancel);
        Assert.IsType<RunnerAge.TooOld>(_bed.Image.AgeOf(source));
        _bed.Lab.Images.Add("ami-0123456789abcdef0", new Dictionary<string, string> { [Tags.RunnerVersion] = "2.337.0" });
        await _bed.Image.LookAsync(cancel);
        Assert.IsType<RunnerAge.Fresh>(_bed.Image.AgeOf(source));
    }

    [Fact]
    public async Task Without_GitHub_and_SSM_consoles_are_read_all_the_same()
    {
        var (_, launch, instance) = await _bed.LaunchAsync();
        _bed.Lab.GitHub.Disturb = (_, _) => throw new GitHubFault(503, "the lab was told to");
        _bed.Lab.Ssm.Disturb = (_, _) => throw new Mayfly.Lab.Aws.AwsFault("AccessDeniedException", "the lab was told to");
        await EndAsync(instance.Id, "idle");
        Assert.Equal(LaunchState.Ended, (await _bed.FindAsync(launch)).State);
    }

    /// <summary>The machine prints its last word and is off; reconciliation sees it, and what follows from it.</summary>
    private async Task EndAsync(string instance, string ending)
    {
        var machine = _bed.Machines[instance];
        machine.Console = ConsoleLine.Format(new ConsoleEnding(ending, 9, "the lab was told to", [])) + "\n";
        machine.Kill();
        await _bed.Lab.Journal.WaitForAsync(_ => _bed.Lab.Fleet.Find(instance).StateName == "terminated", World.Limit, TestContext.Current.CancellationToken);
        await _bed.LooksAsync(Plan.AskEvery);
    }

    private async Task LooksAsync()
    {
        _bed.Time.Move(Plan.Young);
        await _bed.LooksAsync(Plan.Grace);
    }

    private void Give(Job job, Runner runner)
    {
        (job.Runner, runner.Job, runner.Session) = (runner, job, Guid.NewGuid());
        _bed.Lab.GitHub.Jobs.Start(job);
    }

    private void AssertNothingLeft()
    {
        Assert.Empty(_bed.Living);
        Assert.Empty(_bed.Lab.Ssm.Parameters);
        Assert.Empty(_bed.Lab.GitHub.Runners.All);
    }
}
