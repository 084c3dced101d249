using System.Text.Json.Nodes;
using Mayfly.Contract;
using Mayfly.Lab.Aws;
using Mayfly.Lab.Ec2;
using Mayfly.Lab.GitHub;
using Mayfly.Lab.Machines;

namespace Mayfly.Lab.Tests;

/// <summary>A lab whose machines follow a script by a clock that is moved by hand.</summary>
internal static class ScriptedLab
{
    public static readonly DateTimeOffset Start = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);

    public static async Task<(Lab Lab, HandMovedTime Time)> StartAsync(MachineScript script)
    {
        var time = new HandMovedTime(Start);
        var lab = await Lab.StartAsync(new LabOptions
        {
            Time = time, GitHub = new GitHubOptions { RunnerKeys = 2 }, Machine = (lab, instance) => new ScriptedMachine(lab, instance, script),
        });
        lab.Templates.Load(Demo.LaunchTemplate, AwsLab.Image);
        return (lab, time);
    }

    public static Task RunAsync(Lab lab, HandMovedTime time, Func<bool> isDone) =>
        time.RunAsync(isDone, () => lab.Requests > 0, TimeSpan.FromSeconds(1), TimeSpan.FromHours(2), TestContext.Current.CancellationToken);

    /// <summary>A machine, a runner and its parameter, tried again every half second for as long as something is throttled.</summary>
    public static async Task<Instance> LaunchAsync(Lab lab, HandMovedTime time, string name)
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
