using Mayfly.Contract;
using Mayfly.Controller.Reconciliation;
using static Mayfly.Controller.Tests.SomeSight;

namespace Mayfly.Controller.Tests;

/// <summary>What is done about a difference between the world and the store.</summary>
public sealed class PlanTests
{
    [Fact]
    public void A_world_that_agrees_with_the_store_is_left_alone()
    {
        var (waiting, booting, running) = (Launch(1, LaunchState.Waiting), Launch(2), Launch(3) with { TookJob = 3, RunnerName = "mayfly-3-1" });
        var sight = Of([waiting, booting, running], [Machine(booting), Machine(running)])
            .WithRunners(new RunnerSeen(2, "mayfly-2-1", false, false), new RunnerSeen(3, "mayfly-3-1", true, true), new RunnerSeen(4, "somebody-else", false, false))
            .WithParameters(ConfigParameter.NameFor(booting.InstanceId!));
        Assert.Empty(sight.Lasting(TimeSpan.FromHours(1)));
    }

    [Theory]
    [InlineData(LaunchState.Ended)]
    [InlineData(LaunchState.Refused)]
    [InlineData(LaunchState.Dropped)]
    public void A_machine_whose_launch_is_over_is_ended_after_two_looks(object state)
    {
        var launch = Launch(1, (LaunchState)state) with { Conclusion = "success", InstanceId = "i-1-1" };
        var sight = Of([launch], [Machine(launch)]);
        var (first, memory) = Plan.For(sight, Memory.None);
        Assert.Empty(first);
        Assert.Empty(Plan.For(sight.After(Plan.Grace - TimeSpan.FromTicks(1)), memory).Acts);
        var end = Assert.IsType<Act.EndMachine>(Assert.Single(Plan.For(sight.After(Plan.Grace), memory).Acts));
        Assert.Equal(("i-1-1", true, false), (end.Machine.InstanceId, end.HasRunner, end.EvenIfBusy));
    }

    [Theory]
    [InlineData(LaunchState.Waiting)]
    [InlineData(LaunchState.Launching)]
    [InlineData(LaunchState.Storing)]
    [InlineData(LaunchState.Undoing)]
    public void What_a_controller_is_at_is_left_to_it(object state)
    {
        var launch = Launch(1, (LaunchState)state);
        Assert.Empty(Of([launch], [Machine(launch)]).WithRunners(new RunnerSeen(1, launch.Runner, false, false)).Lasting(TimeSpan.FromHours(1)));
    }

    [Fact]
    public void A_machine_that_the_store_knows_nothing_of_is_ended() =>
        Assert.IsType<Act.EndMachine>(Assert.Single(Of(machines: [Machine(Launch(1))]).Lasting()));

    [Fact]
    public void A_machine_of_a_repository_that_is_not_served_is_another_controllers()
    {
        var machine = Machine(Launch(1));
        Assert.Empty(Of(machines: [machine with { Tags = new Dictionary<string, string> { [Tags.Launch] = "octo-org/another:1-1" } }]).Lasting(TimeSpan.FromDays(30)));
        Assert.Empty(Of(machines: [machine with { Tags = new Dictionary<string, string> { [Tags.Launch] = "not of our making" } }]).Lasting(TimeSpan.FromDays(30)));
    }

    [Fact]
    public void A_machine_that_was_launched_just_now_is_not_ended()
    {
        var machine = Machine(Launch(1)) with { LaunchTime = Now + Plan.Grace - Plan.Young + TimeSpan.FromTicks(1) };
        Assert.Empty(Of(machines: [machine]).Lasting());
    }

    [Fact]
    public void Of_two_machines_of_one_launch_the_one_that_it_does_not_have_is_ended_and_the_runner_stays()
    {
        var launch = Launch(1);
        var other = Machine(launch) with { InstanceId = "i-earlier" };
        var end = Assert.IsType<Act.EndMachine>(Assert.Single(Of([launch], [Machine(launch), other]).WithRunners(new RunnerSeen(1, launch.Runner, true, true)).Lasting()));
        Assert.Equal(("i-earlier", false), (end.Machine.InstanceId, end.HasRunner));
    }

    [Fact]
    public void A_busy_runners_machine_is_left_alone_until_it_is_past_its_limits()
    {
        var launch = Launch(1, LaunchState.Ended) with { Conclusion = "success" };
        var sight = Of([launch], [Machine(launch)]).WithRunners(new RunnerSeen(1, launch.Runner, true, true));
        Assert.Empty(sight.Lasting());
        var late = sight.After(TimeSpan.FromSeconds(300 + 21_600) + Plan.Margin - TimeSpan.FromHours(1) + TimeSpan.FromSeconds(1));
        var end = Assert.IsType<Act.EndMachine>(Assert.Single(late.Lasting()));
        Assert.True(end.EvenIfBusy);
        Assert.Contains("past its limits", end.Reason, StringComparison.Ordinal);
    }

    [Fact]
    public void A_cancelled_jobs_machine_is_ended_unless_another_job_can_take_it()
    {
        var cancelled = Launch(1) with { Conclusion = "cancelled" };
        var sight = Of([cancelled], [Machine(cancelled)]);
        Assert.Contains("cancelled", Assert.IsType<Act.EndMachine>(Assert.Single(sight.Lasting())).Reason, StringComparison.Ordinal);

        var robbed = Launch(2) with { TookJob = 9 };
        Assert.DoesNotContain((sight with { Launches = [cancelled, robbed] }).Lasting(), a => a is Act.EndMachine or Act.AskForJob { Then: not IfQueued.Nothing });

        var elsewhere = robbed with { Labels = ["mayfly", "spot=true"] };
        Assert.Contains((sight with { Launches = [cancelled, elsewhere] }).Lasting(), a => a is Act.EndMachine);
    }

    [Fact]
    public void Two_jobs_that_swapped_their_machines_lack_nothing()
    {
        var (first, second) = (Launch(1) with { TookJob = 2 }, Launch(2) with { RunnerName = "mayfly-1-1" });
        Assert.Equal(IfQueued.Nothing, Asked(Of([first, second], [Machine(first), Machine(second)])).Then);
    }

    [Fact]
    public void A_job_whose_runner_was_taken_gets_another_machine_when_there_is_none_for_it()
    {
        var first = Launch(1) with { TookJob = 2 };
        var ask = Asked(Of([first, Launch(2) with { RunnerName = "mayfly-1-1", TookJob = 7 }, Launch(7, LaunchState.Ended) with { RunnerName = "mayfly-2-1", Conclusion = "success" }], [Machine(first)]));
        Assert.Equal((1, IfQueued.Replace), (ask.Launch.JobId, ask.Then));
    }

    [Theory]
    [InlineData(1, IfQueued.Replace)]
    [InlineData(2, IfQueued.Replace)]
    [InlineData(3, IfQueued.Refuse)]
    public void A_job_whose_machine_ended_without_it_gets_at_most_three(int machine, object then) =>
        Assert.Equal((IfQueued)then, Asked(Of([Launch(1, LaunchState.Ended, machine)])).Then);

    [Fact]
    public void Of_several_jobs_without_a_machine_the_oldest_are_given_those_that_are_lacking()
    {
        var free = Launch(9) with { Conclusion = "cancelled" };
        var acts = Plan.For(Of([Launch(1, LaunchState.Ended), Launch(2, LaunchState.Ended), Launch(3, LaunchState.Ended), free], [Machine(free)]), Memory.None).Acts;
        Assert.Equal([(1L, IfQueued.Replace), (2L, IfQueued.Replace), (3L, IfQueued.Nothing)], acts.OfType<Act.AskForJob>().Select(a => (a.Launch.JobId, a.Then)));
    }

    [Fact]
    public void A_job_is_not_asked_for_again_and_again()
    {
        var sight = Of([Launch(1, LaunchState.Ended)]);
        var (acts, memory) = Plan.For(sight, Memory.None);
        Assert.Single(acts);
        (acts, memory) = Plan.For(sight.After(TimeSpan.FromSeconds(30)), memory);
        Assert.Empty(acts);
        Assert.Single(Plan.For(sight.After(Plan.AskEvery), memory).Acts);
    }

    [Fact]
    public void A_machine_that_has_ended_has_its_console_read_and_is_no_longer_counted_on()
    {
        var launch = Launch(1);
        var (acts, memory) = Plan.For(Of([launch], [Machine(launch, "terminated")]), Memory.None);
        Assert.Equal(TimeSpan.Zero, Assert.Single(acts.OfType<Act.ReadConsole>()).Passed);
        Assert.Equal(IfQueued.Replace, Assert.Single(acts.OfType<Act.AskForJob>()).Then);
        (acts, _) = Plan.For(Of([launch], [Machine(launch, "terminated")]).After(TimeSpan.FromMinutes(5)), memory);
        Assert.Equal(TimeSpan.FromMinutes(5), Assert.Single(acts.OfType<Act.ReadConsole>()).Passed);
    }

    [Fact]
    public void A_job_whose_end_was_not_heard_of_is_asked_for() =>
        Assert.Equal(IfQueued.Nothing, Asked(Of([Launch(1, LaunchState.Ended) with { RunnerName = "mayfly-1-1", TookJob = 1 }])).Then);

    [Fact]
    public void A_parameter_whose_machine_is_gone_is_deleted()
    {
        var (gone, ended, alive) = (ConfigParameter.NameFor("i-gone"), ConfigParameter.NameFor("i-1-1"), ConfigParameter.NameFor("i-2-1"));
        var (first, second) = (Launch(1, LaunchState.Ended) with { Conclusion = "success" }, Launch(2));
        var sight = Of([first, second], [Machine(first, "terminated"), Machine(second)]).WithParameters(gone, ended, alive);
        Assert.Empty(Plan.For(sight, Memory.None).Acts);
        Assert.Equal([gone, ended], Assert.IsType<Act.DeleteParameters>(Assert.Single(sight.Lasting())).Names);
    }

    [Fact]
    public void What_is_odd_is_acted_on_where_it_is()
    {
        var (launch, gone) = (Launch(1, LaunchState.Ended).At(Elsewhere) with { Conclusion = "success" }, ConfigParameter.NameFor("i-gone"));
        var acts = Of([launch]).AndElsewhere([Machine(launch)], [new Aws.ParameterDescription(gone, LongAgo)]).Lasting();
        Assert.Equal(Elsewhere, Assert.Single(acts.OfType<Act.EndMachine>()).Site);
        Assert.Equal((Elsewhere, gone), Assert.Single(acts.OfType<Act.DeleteParameters>()) is var delete ? (delete.Site, Assert.Single(delete.Names)) : default);
    }

    [Fact]
    public void A_machine_that_two_roles_of_its_account_show_is_ended_once()
    {
        var launch = Launch(1, LaunchState.Ended) with { Conclusion = "success" };
        Assert.IsType<Act.EndMachine>(Assert.Single(Of([launch], [Machine(launch)]).AndElsewhere([Machine(launch)]).Lasting()));
    }

    [Fact]
    public void A_machine_where_nobody_could_look_has_not_ended_until_it_is_past_all_limits()
    {
        var launch = Launch(1).At(Elsewhere) with { TookJob = 1, RunnerName = "mayfly-1-1" };
        var sight = (Of([launch]) with { IsWhole = false }).WithRunners(new RunnerSeen(1, launch.Runner, false, false), new RunnerSeen(2, "mayfly-2-1", false, false));
        Assert.Empty(sight.Lasting(TimeSpan.FromHours(29)));
        Assert.Null(Assert.Single(sight.Lasting(TimeSpan.FromHours(30)).OfType<Act.ReadConsole>()).Machine);
    }

    [Fact]
    public void A_parameter_of_a_machine_that_EC2_does_not_name_yet_stays()
    {
        var young = new Aws.ParameterDescription(ConfigParameter.NameFor("i-1"), Now + Plan.Grace - Plan.Nameless + TimeSpan.FromTicks(1));
        Assert.Empty(Of().With(parameters: [young]).Lasting());
        Assert.Empty(Of([Launch(1, LaunchState.Storing) with { InstanceId = "i-1" }]).With(parameters: [young with { Modified = LongAgo }]).Lasting());
    }

    [Fact]
    public void A_runner_whose_machine_is_gone_is_removed()
    {
        var launch = Launch(1, LaunchState.Ended) with { Conclusion = "cancelled" };
        var sight = Of([launch], [Machine(launch, "terminated")]).WithRunners(new RunnerSeen(7, launch.Runner, false, false));
        Assert.Equal(7, Assert.IsType<Act.RemoveRunner>(Assert.Single(sight.Lasting())).Runner.Id);
        Assert.Empty(sight.WithRunners(new RunnerSeen(7, launch.Runner, true, false)).Lasting());
    }

    [Fact]
    public void A_runner_that_the_store_knows_nothing_of_may_be_about_to_have_its_machine()
    {
        var sight = Of().WithRunners(new RunnerSeen(7, "mayfly-8-1", false, false));
        Assert.Empty(sight.Lasting(Plan.Nameless - TimeSpan.FromTicks(1)));
        Assert.IsType<Act.RemoveRunner>(Assert.Single(sight.Lasting(Plan.Nameless)));
    }

    [Fact]
    public void A_runner_is_not_forgotten_while_its_repository_is_not_looked_at()
    {
        var sight = Of().WithRunners(new RunnerSeen(7, "mayfly-8-1", false, false));
        var memory = Plan.For(sight, Memory.None).Memory;
        memory = Plan.For(Of().After(TimeSpan.FromSeconds(30)), memory).Memory;
        Assert.Single(Plan.For(sight.After(Plan.Nameless), memory).Acts);
    }

    [Theory]
    [InlineData(1L, "mayfly-1-1", "failure", true)]
    [InlineData(1L, "mayfly-1-1", "success", false)]
    [InlineData(1L, "mayfly-1-1", null, null)]
    [InlineData(2L, null, null, true)]
    [InlineData(null, null, null, null)]
    public void An_interrupted_job_is_run_again_once_it_is_known_to_have_failed(long? took, string? runner, string? conclusion, bool? runsAgain)
    {
        var launch = Launch(1, LaunchState.Ended) with { Rerun = Rerun.Wanted, TookJob = took, RunnerName = runner, Conclusion = conclusion };
        var acts = Plan.For(Of([launch]), Memory.None).Acts;
        Assert.Equal(runsAgain == true ? took : null, acts.OfType<Act.RunAgain>().SingleOrDefault()?.Job);
        Assert.Equal(runsAgain == false, acts.OfType<Act.ForgetRerun>().Any());
    }

    private static Act.AskForJob Asked(Sight sight) => Assert.Single(Plan.For(sight, Memory.None).Acts.OfType<Act.AskForJob>());
}
