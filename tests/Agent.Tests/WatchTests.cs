using Mayfly.Contract;
using Xunit;

namespace Mayfly.Agent.Tests;

public sealed class WatchTests
{
    private static readonly LaunchSettings Settings = LaunchSettings.From(new Dictionary<string, string> { [Contract.Tags.JobTimeout] = "3600" });
    private static readonly Deadlines Limits = Deadlines.From(Settings);

    private static Happening[] Working => [new Happening.RunnerListening(), new Happening.JobStarted("build"), new Happening.WorkerStarted(), new Happening.WorkerAlive()];

    [Fact]
    public void A_job_from_start_to_end_ends_with_its_result() =>
        Assert.Equal("job-failed", EndingAfter(
            new Happening.RunnerConnected(), new Happening.RunnerListening(), new Happening.JobStarted("build"),
            new Happening.JobDone(JobResult.Failed), new Happening.RunnerExited(102)).Name);

    [Fact]
    public void The_exit_code_tells_the_result_where_the_line_was_lost() =>
        Assert.Equal("job-canceled", EndingAfter(new Happening.RunnerListening(), new Happening.JobStarted("build"), new Happening.RunnerExited(103)).Name);

    [Theory]
    [InlineData(0, "runner-exited")]
    [InlineData(1, "runner-refused")]
    [InlineData(5, "session-conflict")]
    [InlineData(7, "runner-too-old")]
    [InlineData(143, "runner-exited")]
    public void An_exit_without_a_job_is_told_by_its_code(int code, string ending) =>
        Assert.Equal(ending, EndingAfter(new Happening.RunnerConnected(), new Happening.RunnerListening(), new Happening.RunnerExited(code)).Name);

    [Theory]
    [InlineData(0)]
    [InlineData(2)]
    [InlineData(143)]
    public void An_exit_during_the_job_is_a_lost_job_whatever_the_code_says(int code) =>
        Assert.Equal("job-lost", EndingAfter([.. Working, new Happening.RunnerExited(code)]).Name);

    [Fact]
    public void A_runner_that_exits_0_before_its_worker_has_its_job_gave_up_on_it() =>
        Assert.Equal("worker-hung", EndingAfter(new Happening.RunnerListening(), new Happening.JobStarted("build"), new Happening.WorkerStarted(), new Happening.RunnerExited(0)).Name);

    /// <summary>When the runner goes, the kernel ends its worker, and a look may see that before the agent is told of the exit.</summary>
    [Fact]
    public void A_worker_that_is_seen_to_go_with_the_runner_that_gave_up_on_it_had_no_job_either() =>
        Assert.Equal("worker-hung", EndingAfter(new Happening.RunnerListening(), new Happening.JobStarted("build"), new Happening.WorkerStarted(), new Happening.WorkerLost(), new Happening.RunnerExited(0)).Name);

    [Fact]
    public void A_worker_that_had_its_job_and_went_with_the_runner_lost_it() =>
        Assert.Equal("job-lost", EndingAfter([.. Working, new Happening.WorkerLost(), new Happening.RunnerExited(0)]).Name);

    [Fact]
    public void A_job_that_was_offered_has_to_be_fetched() =>
        Assert.Equal("job-not-acquired", StoppingAfter(new Happening.RunnerListening(), new Happening.JobOffered(), new Happening.DeadlinePassed()).Name);

    [Fact]
    public void A_runner_that_does_not_get_the_job_it_was_offered_listens_on()
    {
        Happening[] before = [new Happening.RunnerListening(), new Happening.JobOffered(), new Happening.OfferGivenUp()];

        Assert.IsType<Phase.Listening>(PhaseAfter(before));
        Assert.Equal("job-not-acquired", StoppingAfter([.. before, new Happening.JobOffered(), new Happening.DeadlinePassed()]).Name);
    }

    [Theory]
    [InlineData(0, 300)]
    [InlineData(100, 200)]
    [InlineData(301, 0)]
    public void A_runner_that_listens_on_has_what_is_left_of_its_idle_limit(int listened, int left) =>
        Assert.Equal(TimeSpan.FromSeconds(left), Limits.Of(new Phase.Listening(), TimeSpan.FromSeconds(listened)));

    [Fact]
    public void The_idle_limit_stops_no_runner_that_was_offered_a_job_before_the_last_look()
    {
        Happening[] before = [new Happening.RunnerListening(), new Happening.DeadlinePassed()];

        Assert.Equal("idle", StoppingAfter([.. before, new Happening.NoJobOffered()]).Name);
        Assert.Equal("idle", StoppingAfter([.. before, new Happening.DeadlinePassed()]).Name);
        Assert.IsType<Phase.Accepted>(PhaseAfter([.. before, new Happening.JobStarted("build"), new Happening.NoJobOffered()]));
        Assert.IsType<Phase.Accepted>(PhaseAfter([.. before, new Happening.JobOffered(), new Happening.JobStarted("build")]));
        Assert.Equal("job-not-acquired", StoppingAfter([.. before, new Happening.JobOffered(), new Happening.DeadlinePassed()]).Name);
        Assert.Equal("idle", StoppingAfter([.. before, new Happening.JobOffered(), new Happening.OfferGivenUp()]).Name);
    }

    [Fact]
    public void A_job_that_begins_when_the_runner_is_being_stopped_is_not_denied()
    {
        Happening[] idle = [new Happening.RunnerListening(), new Happening.DeadlinePassed(), new Happening.NoJobOffered(), new Happening.JobStarted("build")];
        Happening[] late = [new Happening.RunnerListening(), new Happening.JobOffered(), new Happening.DeadlinePassed(), new Happening.JobStarted("build")];
        Happening[] spot = [new Happening.RunnerListening(), new Happening.SpotNoticed("terminate"), new Happening.JobStarted("build")];

        Assert.Equal("job-too-late", EndingAfter([.. idle, new Happening.JobDone(JobResult.Canceled), new Happening.RunnerExited(0)]).Name);
        Assert.Contains("(idle)", EndingAfter([.. idle, new Happening.DeadlinePassed()]).Detail, StringComparison.Ordinal);
        Assert.Contains("(job-not-acquired)", StoppingAfter(late).Detail, StringComparison.Ordinal);
        Assert.Equal("spot-interrupted", StoppingAfter(spot).Name);
        Assert.Equal("job-timed-out", StoppingAfter([.. Working, new Happening.DeadlinePassed(), new Happening.JobStarted("forged")]).Name);
    }

    [Fact]
    public void A_job_needs_a_worker() =>
        Assert.Equal("worker-not-started", StoppingAfter(new Happening.JobStarted("build"), new Happening.DeadlinePassed()).Name);

    [Fact]
    public void A_worker_has_to_read_its_job() =>
        Assert.Equal("worker-hung", StoppingAfter(new Happening.JobStarted("build"), new Happening.WorkerStarted(), new Happening.DeadlinePassed()).Name);

    [Fact]
    public void A_runner_whose_worker_has_gone_has_to_report_its_job() =>
        Assert.Equal("worker-lost", StoppingAfter([.. Working, new Happening.WorkerLost(), new Happening.DeadlinePassed()]).Name);

    [Fact]
    public void A_worker_that_goes_before_the_runner_reports_is_how_each_job_ends() =>
        Assert.Equal("job-succeeded", EndingAfter([.. Working, new Happening.WorkerLost(), new Happening.JobDone(JobResult.Succeeded), new Happening.RunnerExited(100)]).Name);

    [Fact]
    public void A_spot_notice_stops_an_idle_runner_at_once_and_a_working_one_when_its_time_is_up()
    {
        Assert.Equal("spot-interrupted-idle", StoppingAfter(new Happening.RunnerListening(), new Happening.SpotNoticed("terminate")).Name);
        Assert.IsType<Phase.Working>(PhaseAfter([.. Working, new Happening.SpotNoticed("terminate")]));
        Assert.Equal("spot-interrupted", StoppingAfter([.. Working, new Happening.SpotNoticed("terminate"), new Happening.SpotDue()]).Name);
        Assert.IsType<Phase.Finishing>(PhaseAfter([.. Working, new Happening.SpotNoticed("terminate"), new Happening.JobDone(JobResult.Failed), new Happening.SpotDue()]));
    }

    [Theory]
    [InlineData("0.5", 60)]
    [InlineData("", 120)]
    public void Patience_stretches_the_runners_own_phases_and_not_what_the_tags_say(string patience, int seconds)
    {
        var deadlines = Deadlines.From(Settings, patience);

        Assert.Equal(TimeSpan.FromSeconds(seconds), deadlines.Connect);
        Assert.Equal(TimeSpan.FromHours(1), deadlines.Job);
    }

    [Theory]
    [InlineData("much")]
    [InlineData("0")]
    [InlineData("101")]
    public void Patience_that_is_no_factor_is_refused_by_its_value(string patience) =>
        Assert.Contains($"'{patience}'", Assert.Throws<FormatException>(() => Deadlines.From(Settings, patience)).Message, StringComparison.Ordinal);

    [Fact]
    public void A_runner_that_never_connects_ends_the_machine() =>
        Assert.Equal("runner-not-connected", EndingAfter(new Happening.DeadlinePassed()).Name);

    [Fact]
    public void A_runner_that_connects_but_never_listens_ends_the_machine() =>
        Assert.Equal("runner-not-listening", EndingAfter(new Happening.RunnerConnected(), new Happening.DeadlinePassed()).Name);

    [Fact]
    public void A_runner_that_is_done_but_stays_ends_the_machine() =>
        Assert.Equal("runner-hung", EndingAfter(new Happening.JobStarted("build"), new Happening.JobDone(JobResult.Succeeded), new Happening.DeadlinePassed()).Name);

    [Theory]
    [InlineData(false, "idle")]
    [InlineData(true, "job-timed-out")]
    public void A_limit_first_asks_the_runner_to_stop_and_then_ends_with_or_without_it(bool working, string ending)
    {
        Happening[] before = working
            ? [.. Working, new Happening.DeadlinePassed()]
            : [new Happening.RunnerListening(), new Happening.DeadlinePassed(), new Happening.NoJobOffered()];

        Assert.IsType<Phase.Stopping>(PhaseAfter(before));
        Assert.Equal(ending, EndingAfter([.. before, new Happening.RunnerExited(0)]).Name);
        Assert.Equal(ending, EndingAfter([.. before, new Happening.DeadlinePassed()]).Name);
    }

    [Fact]
    public void What_is_watched_by_half_is_stopped_unless_it_is_done()
    {
        Assert.Equal("watch-failed", StoppingAfter(new Happening.RunnerListening(), new Happening.WatchFailed("the lookout: x")).Name);
        Assert.Contains("the lookout: x", StoppingAfter([.. Working, new Happening.WatchFailed("the lookout: x")]).Detail, StringComparison.Ordinal);
        Assert.Equal("job-succeeded", EndingAfter([.. Working, new Happening.JobDone(JobResult.Succeeded), new Happening.WatchFailed("x"), new Happening.RunnerExited(100)]).Name);
    }

    [Fact]
    public async Task A_task_that_fails_is_told_to_the_supervision_and_one_that_ends_is_not()
    {
        var happenings = Happening.Channel();

        Supervision.Keep(Task.CompletedTask, "one", happenings.Writer);
        Supervision.Keep(Task.FromException(new IOException("gone")), "another", happenings.Writer);

        using var limit = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        limit.CancelAfter(TimeSpan.FromSeconds(20));
        Assert.Equal(new Happening.WatchFailed("another: gone"), await happenings.Reader.ReadAsync(limit.Token));
        Assert.False(happenings.Reader.TryRead(out _));
    }

    [Fact]
    public void A_reconnecting_runner_does_not_leave_its_phase() =>
        Assert.IsType<Phase.Working>(PhaseAfter([.. Working, new Happening.RunnerConnected(), new Happening.RunnerListening()]));

    [Fact]
    public void Every_phase_meets_every_happening_and_a_passed_deadline_never_leaves_things_as_they_are()
    {
        Phase[] phases = [new Phase.Starting(), new Phase.Connected(), new Phase.Listening(), new Phase.LastLook(), new Phase.Acquiring(IsLast: false), new Phase.Accepted(),
            new Phase.WorkerStarted(), new Phase.Working(), new Phase.WorkerGone(HadItsJob: true), new Phase.Finishing(JobResult.Succeeded), new Phase.Stopping(Ending.Stopped("test"))];
        Happening[] happenings = [new Happening.RunnerConnected(), new Happening.RunnerListening(), new Happening.JobOffered(), new Happening.NoJobOffered(), new Happening.OfferGivenUp(), new Happening.JobStarted("x"),
            new Happening.WorkerStarted(), new Happening.WorkerAlive(), new Happening.WorkerLost(), new Happening.JobDone(JobResult.Skipped), new Happening.RunnerExited(9),
            new Happening.SandboxFailed("x"), new Happening.WatchFailed("x"), new Happening.SpotNoticed("x"), new Happening.SpotDue(), new Happening.DeadlinePassed(), new Happening.StopRequested("test")];
        Assert.Equal(typeof(Phase).GetNestedTypes().Order(ByName), phases.Select(p => p.GetType()).Order(ByName));
        Assert.Equal(typeof(Happening).GetNestedTypes().Order(ByName), happenings.Select(h => h.GetType()).Order(ByName));
        foreach (var phase in phases)
        {
            Assert.True(Limits.Of(phase, TimeSpan.Zero) > TimeSpan.Zero);
            foreach (var happening in happenings)
            {
                var (next, ending) = Watch.On(phase, happening, Limits);
                if (happening is Happening.DeadlinePassed)
                    Assert.True(next != phase || ending is not null, $"{phase} would wait for ever");
                if (happening is Happening.RunnerExited)
                    Assert.NotNull(ending);
            }
        }
    }

    [Theory]
    [InlineData("√ Connected to GitHub", Milestone.RunnerConnected)]
    [InlineData("2026-11-21 08:00:00Z: Listening for Jobs", Milestone.RunnerListening)]
    [InlineData("2026-11-21 08:00:00Z: Running job: build / test", Milestone.JobStarted)]
    [InlineData("2026-11-21 08:00:00Z: Job build completed with result: Canceled", Milestone.JobDone)]
    public void The_runners_lines_are_understood(string line, string milestone) =>
        Assert.Equal(milestone, Watch.MilestoneOf(RunnerOutput.Parse(line) ?? throw new InvalidDataException(line)));

    [Theory]
    [InlineData("")]
    [InlineData("Current runner version: '2.336.0'")]
    [InlineData("it says √ Connected to GitHub")]
    [InlineData("it says 2026-11-21 08:00:00Z: Listening for Jobs")]
    [InlineData("2026-11-21 08:00:00Z: ")]
    [InlineData("2026-11-21 08:00:00Z: Job build completed with result: Nonsense")]
    public void Other_lines_mean_nothing(string line) => Assert.Null(RunnerOutput.Parse(line));

    [Theory]
    [InlineData("Check √ Connected to GitHub")]
    [InlineData("2026-11-21 08:00:00Z: Listening for Jobs")]
    [InlineData("Running job: x")]
    [InlineData("Job x completed with result: Succeeded")]
    public void A_job_may_be_named_like_any_line(string name)
    {
        Assert.Equal(new Happening.JobStarted(name), RunnerOutput.Parse($"2026-11-21 08:00:00Z: Running job: {name}"));
        Assert.Equal(new Happening.JobDone(JobResult.Failed), RunnerOutput.Parse($"2026-11-21 08:00:00Z: Job {name} completed with result: Failed"));
    }

    private static readonly Comparer<Type> ByName = Comparer<Type>.Create((a, b) => string.CompareOrdinal(a.Name, b.Name));

    private static Ending StoppingAfter(params Happening[] happenings) => Assert.IsType<Phase.Stopping>(PhaseAfter(happenings)).Ending;

    private static Phase PhaseAfter(params Happening[] happenings)
    {
        Phase phase = new Phase.Starting();
        foreach (var happening in happenings)
        {
            (phase, var ending) = Watch.On(phase, happening, Limits);
            Assert.Null(ending);
        }

        return phase;
    }

    private static Ending EndingAfter(params Happening[] happenings) =>
        Watch.On(PhaseAfter(happenings[..^1]), happenings[^1], Limits).Ending ?? throw new InvalidOperationException($"{happenings[^1]} ended nothing");
}
