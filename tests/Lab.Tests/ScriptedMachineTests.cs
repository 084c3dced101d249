using Mayfly.Contract;
using Mayfly.Lab.Ec2;
using Mayfly.Lab.GitHub;
using Mayfly.Lab.Machines;

namespace Mayfly.Lab.Tests;

public sealed class ScriptedMachineTests
{
    [Fact]
    public async Task It_takes_its_configuration_does_its_job_and_tells_so_in_the_agents_words()
    {
        var (lab, time) = await ScriptedLab.StartAsync(new MachineScript { JobTakes = _ => TimeSpan.FromSeconds(90) });
        await using var disposed = lab;
        var (job, _) = await lab.GitHub.Jobs.QueueAsync("build", ["mayfly"], []);

        var instance = await ScriptedLab.LaunchAsync(lab, time, "one");
        await ScriptedLab.RunAsync(lab, time, () => instance.State == InstanceState.Terminated);

        Assert.Equal(("success", "one"), (job.Conclusion, job.Runner!.Name));
        Assert.Equal(TimeSpan.FromSeconds(90), job.Completed - job.Started);
        Assert.Equal("Client.InstanceInitiatedShutdown", instance.Reason.Code);
        Assert.Empty(lab.Ssm.Parameters);
        Assert.Empty(lab.GitHub.Runners.All);
        var lines = instance.Machine!.ReadConsole().Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(Milestone.All, lines.Select(ConsoleLine.ParseEvent).OfType<ConsoleEvent>().Select(e => e.Name));
        Assert.Equal("job-succeeded", ConsoleLine.ParseEnding(lines[^1])!.Ending);
    }

    [Fact]
    public async Task A_runner_that_gets_no_job_ends_idle_and_its_registration_stays()
    {
        var (lab, time) = await ScriptedLab.StartAsync(new MachineScript());
        await using var disposed = lab;

        var instance = await ScriptedLab.LaunchAsync(lab, time, "one");
        await ScriptedLab.RunAsync(lab, time, () => instance.State == InstanceState.Terminated);

        Assert.Equal("idle", EndingOf(instance));
        Assert.Equal("one", Assert.Single(lab.GitHub.Runners.All).Name);
        time.Move(TimeSpan.FromHours(25));
        Assert.Empty(lab.GitHub.Runners.All);
    }

    [Theory]
    [InlineData(true, "spot-interrupted", "failure")]
    [InlineData(false, "spot-interrupted-idle", null)]
    public async Task A_spot_notice_ends_it(bool withJob, string ending, string? conclusion)
    {
        var (lab, time) = await ScriptedLab.StartAsync(new MachineScript { JobTakes = _ => TimeSpan.FromHours(1) });
        await using var disposed = lab;
        var job = withJob ? (await lab.GitHub.Jobs.QueueAsync("build", ["mayfly"], [])).Job : null;
        var instance = await ScriptedLab.LaunchAsync(lab, time, "one");
        await ScriptedLab.RunAsync(lab, time, () => withJob ? job!.State == JobState.InProgress : lab.GitHub.Runners.All.Single().Session is not null);

        lab.Fleet.WarnOfInterruption(instance.Id);
        await ScriptedLab.RunAsync(lab, time, () => instance.State == InstanceState.Terminated);

        Assert.Equal(ending, EndingOf(instance));
        Assert.Equal(conclusion, job?.Conclusion);
    }

    [Fact]
    public async Task A_job_whose_machine_is_cut_off_fails_when_githubs_lock_has_run_out()
    {
        var (lab, time) = await ScriptedLab.StartAsync(new MachineScript { JobTakes = _ => TimeSpan.FromHours(1) });
        await using var disposed = lab;
        var (job, _) = await lab.GitHub.Jobs.QueueAsync("build", ["mayfly"], []);
        var instance = await ScriptedLab.LaunchAsync(lab, time, "one");
        await ScriptedLab.RunAsync(lab, time, () => job.State == JobState.InProgress);

        lab.Fleet.Interrupt(instance.Id);
        var cut = time.GetUtcNow();
        await ScriptedLab.RunAsync(lab, time, () => job.State == JobState.Completed);

        Assert.Equal("failure", job.Conclusion);
        Assert.InRange(job.Completed!.Value - cut, TimeSpan.FromMinutes(10), TimeSpan.FromMinutes(11));
        Assert.Equal("", instance.Machine!.ReadConsole().Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(ConsoleLine.ParseEnding).OfType<ConsoleEnding>().FirstOrDefault()?.Ending ?? "");
    }

    [Theory]
    [InlineData("StaysPending", "pending")]
    [InlineData("NeverBoots", "running")]
    [InlineData("NeverListens", "running")]
    public async Task What_goes_wrong_with_it_lasts_until_it_is_terminated(string fault, string state)
    {
        var (lab, time) = await ScriptedLab.StartAsync(new MachineScript { FaultOf = _ => Enum.Parse<MachineFault>(fault) });
        await using var disposed = lab;
        var instance = await ScriptedLab.LaunchAsync(lab, time, "one");

        await ScriptedLab.RunAsync(lab, time, () => time.GetUtcNow() > ScriptedLab.Start.AddMinutes(10));
        Assert.Equal(state, instance.StateName);
        Assert.Equal(fault == "NeverBoots", state == "running" && instance.Machine!.ReadConsole().Length == 0);
        instance.Machine!.Kill();
        await ScriptedLab.RunAsync(lab, time, () => instance.State == InstanceState.Terminated);
    }

    private static string? EndingOf(Instance instance) =>
        instance.Machine!.ReadConsole().Split('\n').Select(ConsoleLine.ParseEnding).OfType<ConsoleEnding>().Single().Ending;
}
