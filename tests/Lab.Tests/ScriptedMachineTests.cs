using System.Text.Json.Nodes;
using Mayfly.Contract;
using Mayfly.Lab.Aws;
using Mayfly.Lab.Ec2;
using Mayfly.Lab.GitHub;
using Mayfly.Lab.Machines;

namespace Mayfly.Lab.Tests;

[Collection(RunningClock.Name)]
public sealed class ScriptedMachineTests
{
    private static readonly DateTimeOffset Start = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);

    [Fact]
    public async Task It_takes_its_configuration_does_its_job_and_tells_so_in_the_agents_words()
    {
        var (lab, time) = await StartAsync(new MachineScript { JobTakes = _ => TimeSpan.FromSeconds(90) });
        await using var disposed = lab;
        var (job, _) = await lab.GitHub.Jobs.QueueAsync("build", ["mayfly"], []);

        var instance = await LaunchAsync(lab, time, "one");
        await RunAsync(lab, time, () => instance.State == InstanceState.Terminated);

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
        var (lab, time) = await StartAsync(new MachineScript());
        await using var disposed = lab;

        var instance = await LaunchAsync(lab, time, "one");
        await RunAsync(lab, time, () => instance.State == InstanceState.Terminated);

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
        var (lab, time) = await StartAsync(new MachineScript { JobTakes = _ => TimeSpan.FromHours(1) });
        await using var disposed = lab;
        var job = withJob ? (await lab.GitHub.Jobs.QueueAsync("build", ["mayfly"], [])).Job : null;
        var instance = await LaunchAsync(lab, time, "one");
        await RunAsync(lab, time, () => withJob ? job!.State == JobState.InProgress : lab.GitHub.Runners.All.Single().Session is not null);

        lab.Fleet.WarnOfInterruption(instance.Id);
        await RunAsync(lab, time, () => instance.State == InstanceState.Terminated);

        Assert.Equal(ending, EndingOf(instance));
        Assert.Equal(conclusion, job?.Conclusion);
    }

    [Fact]
    public async Task A_job_whose_machine_is_cut_off_fails_when_githubs_lock_has_run_out()
    {
        var (lab, time) = await StartAsync(new MachineScript { JobTakes = _ => TimeSpan.FromHours(1) });
        await using var disposed = lab;
        var (job, _) = await lab.GitHub.Jobs.QueueAsync("build", ["mayfly"], []);
        var instance = await LaunchAsync(lab, time, "one");
        await RunAsync(lab, time, () => job.State == JobState.InProgress);

        lab.Fleet.Interrupt(instance.Id);
        var cut = time.GetUtcNow();
        await RunAsync(lab, time, () => job.State == JobState.Completed);

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
        var (lab, time) = await StartAsync(new MachineScript { FaultOf = _ => Enum.Parse<MachineFault>(fault) });
        await using var disposed = lab;
        var instance = await LaunchAsync(lab, time, "one");

        await RunAsync(lab, time, () => time.GetUtcNow() > Start.AddMinutes(10));
        Assert.Equal(state, instance.StateName);
        Assert.Equal(fault == "NeverBoots", state == "running" && instance.Machine!.ReadConsole().Length == 0);
        instance.Machine!.Kill();
        await RunAsync(lab, time, () => instance.State == InstanceState.Terminated);
    }

    [Fact]
    public async Task Five_thousand_do_five_thousand_jobs_at_the_pace_that_the_buckets_allow()
    {
        const int jobs = 5_000;
        var (lab, time) = await StartAsync(new MachineScript());
        await using var disposed = lab;
        lab.GitHub.Webhooks.Lanes = 16;
        for (var i = 0; i < jobs; i++)
            _ = lab.GitHub.Jobs.QueueAsync($"job {i}", ["mayfly"], []);
        // Faster than machines can be launched.
        lab.Ssm.Rates.Set("PutParameter", 10);
        var launching = LaunchAllAsync();

        await RunAsync(lab, time, () => launching.IsCompleted && lab.Fleet.Instances.All(i => i.State == InstanceState.Terminated));
        await launching;

        Assert.Equal(jobs, lab.GitHub.Jobs.All.Count(j => j.Conclusion == "success"));
        Assert.Equal(jobs, lab.GitHub.Jobs.All.Select(j => j.Runner!.Name).Distinct().Count());
        Assert.Empty(lab.Ssm.Parameters);
        Assert.Empty(lab.GitHub.Runners.All);
        // CreateFleet's 2 a second are what is scarce: (5,000 - 5) / 2 s, and a machine's life after that.
        Assert.InRange((time.GetUtcNow() - Start).TotalSeconds, 2_497, 2_900);

        async Task LaunchAllAsync()
        {
            for (var i = 0; i < jobs; i++)
                await LaunchAsync(lab, time, $"runner-{i}");
        }
    }

    private static string? EndingOf(Instance instance) =>
        instance.Machine!.ReadConsole().Split('\n').Select(ConsoleLine.ParseEnding).OfType<ConsoleEnding>().Single().Ending;

    private static async Task<(Lab Lab, HandMovedTime Time)> StartAsync(MachineScript script)
    {
        var time = new HandMovedTime(Start);
        var lab = await Lab.StartAsync(new LabOptions
        {
            Time = time, GitHub = new GitHubOptions { RunnerKeys = 2 }, Machine = (lab, instance) => new ScriptedMachine(lab, instance, script),
        });
        lab.Templates.Load(Demo.LaunchTemplate, AwsLab.Image);
        return (lab, time);
    }

    private static Task RunAsync(Lab lab, HandMovedTime time, Func<bool> isDone) =>
        time.RunAsync(isDone, () => lab.Requests > 0, TimeSpan.FromSeconds(1), TimeSpan.FromHours(2), TestContext.Current.CancellationToken);

    /// <summary>A machine, a runner and its parameter, tried again every half second for as long as something is throttled.</summary>
    private static async Task<Instance> LaunchAsync(Lab lab, HandMovedTime time, string name)
    {
        var fleet = new Dictionary<string, string>
        {
            ["Type"] = "instant", ["TargetCapacitySpecification.TotalTargetCapacity"] = "1", ["TargetCapacitySpecification.DefaultTargetCapacityType"] = "spot",
            ["LaunchTemplateConfigs.1.LaunchTemplateSpecification.LaunchTemplateName"] = "mayfly", ["LaunchTemplateConfigs.1.LaunchTemplateSpecification.Version"] = "1",
            ["ClientToken"] = name, ["Action"] = "CreateFleet", ["Version"] = "2016-11-15",
        };
        var answer = await UntilNotThrottledAsync(() => lab.Ec2.Call(fleet, new Signed(lab.User, "ec2", lab.Options.Region), ""));
        var instance = lab.Fleet.Find(answer.Descendants().Single(e => e.Name.LocalName == "instanceIds").Value);
        var runner = lab.GitHub.Runners.Register(name, ["mayfly"]);
        using var files = RunnerFiles.ParseJitConfig(runner.EncodeJitConfig(lab.GitHub.PublicAddress));
        var put = new JsonObject
        {
            ["Name"] = ConfigParameter.NameFor(instance.Id), ["Value"] = Envelope.Pack(files), ["Type"] = "SecureString",
            ["Tags"] = new JsonArray(new JsonObject { ["Key"] = ConfigParameter.InstanceTag, ["Value"] = instance.Arn }),
        };
        await UntilNotThrottledAsync(() => lab.Ssm.Call("PutParameter", put.DeepClone().AsObject(), lab.User.Principal));
        return instance;

        async Task<T> UntilNotThrottledAsync<T>(Func<T> call)
        {
            while (true)
            {
                try
                {
                    return call();
                }
                catch (AwsFault fault) when (fault.Code is "RequestLimitExceeded" or "ThrottlingException")
                {
                    await Task.Delay(TimeSpan.FromSeconds(0.5), time, TestContext.Current.CancellationToken);
                }
            }
        }
    }
}
