using System.Text;
using Mayfly.Lab.Machines;
using static Mayfly.Lab.Tests.AwsLab;

namespace Mayfly.Lab.Tests;

public sealed class AwsInstanceTests
{
    [Fact]
    public async Task An_instance_lives_from_pending_to_terminated_and_tells_why_it_ended()
    {
        var machine = new SlowMachine();
        await using var lab = await StartAsync(_ => machine);
        var client = new AwsClient(lab);

        var id = (await client.Ec2Async("RunInstances", One)).One("instanceId");
        Assert.Equal("pending", await StateAsync(client, id));
        machine.Started.SetResult();
        await WaitForAsync(lab, "instance running");
        Assert.Equal("running", await StateAsync(client, id));
        var ending = await client.Ec2Async("TerminateInstances", ("InstanceId.1", id));
        Assert.Equal(["shutting-down", "running"], ending.All("name"));
        machine.Off.SetResult();
        await WaitForAsync(lab, "instance terminated");

        Assert.Equal("terminated", await StateAsync(client, id));
        Assert.Equal("Client.UserInitiatedShutdown", (await client.Ec2Async("DescribeInstances", ("InstanceId.1", id))).All("stateReason").Single()[.."Client.UserInitiatedShutdown".Length]);
        Assert.Equal(["terminated", "terminated"], (await client.Ec2Async("TerminateInstances", ("InstanceId.1", id))).All("name"));
        Assert.Single(lab.Journal.Events, e => e is { Source: "ec2", Name: "instance terminated" });
    }

    [Theory]
    [InlineData("terminate", "terminated")]
    [InlineData("stop", "stopped")]
    public async Task A_power_off_from_inside_ends_only_what_was_launched_so(string behavior, string state)
    {
        await using var lab = await StartAsync();
        var client = new AwsClient(lab);
        var id = (await client.Ec2Async("RunInstances", [.. One, ("InstanceInitiatedShutdownBehavior", behavior)])).One("instanceId");

        lab.Fleet.Find(id).Machine!.Kill();
        await WaitForAsync(lab, "instance " + state);

        var described = await client.Ec2Async("DescribeInstances", ("InstanceId.1", id));
        Assert.Equal(state, described.One("name"));
        Assert.Contains("Client.InstanceInitiatedShutdown", described.All("code"));
        await EndAsync(lab, client, id);
        Assert.Equal("terminated", await StateAsync(client, id));
    }

    [Fact]
    public async Task A_spot_instance_is_warned_and_taken_back()
    {
        await using var lab = await StartAsync();
        var client = new AwsClient(lab);
        var launched = await client.Ec2Async("RunInstances", [.. One, ("InstanceMarketOptions.MarketType", "spot")]);
        var id = launched.One("instanceId");

        Assert.Equal("spot", launched.One("instanceLifecycle"));
        lab.Fleet.WarnOfInterruption(id);
        Assert.Contains("\"action\": \"terminate\"", lab.Fleet.Find(id).SpotAction, StringComparison.Ordinal);
        lab.Fleet.Interrupt(id);
        await WaitForAsync(lab, "instance terminated");

        Assert.Contains("Server.SpotInstanceTermination", (await client.Ec2Async("DescribeInstances", ("InstanceId.1", id))).All("code"));
    }

    [Fact]
    public async Task Instances_are_found_by_filter_and_page_by_page()
    {
        await using var lab = await StartAsync();
        var client = new AwsClient(lab);
        for (var i = 0; i < 7; i++)
            await client.Ec2Async("RunInstances", [.. One, ("ClientToken", $"token-{i}"), .. Tag("number", $"{i}")]);

        Assert.Equal(7, (await FindAsync("tag-key", "number")).Count);
        Assert.Single(await FindAsync("tag:number", "3"));
        Assert.Single(await FindAsync("client-token", "token-3"));
        Assert.Equal(7, (await FindAsync("client-token", "token-*")).Count);
        Assert.Equal(7, (await FindAsync("instance-state-name", "running")).Count);
        Assert.Empty(await FindAsync("tag:Number", "3"));
        Assert.Equal("InvalidParameterValue", (await client.Ec2Async("DescribeInstances", ("Filter.1.Name", "colour"), ("Filter.1.Value.1", "red"))).Code);

        var first = await client.Ec2Async("DescribeInstances", ("MaxResults", "5"));
        var second = await client.Ec2Async("DescribeInstances", ("MaxResults", "5"), ("NextToken", first.One("nextToken")));
        Assert.Equal((5, 2, 0), (first.All("instanceId").Count, second.All("instanceId").Count, second.All("nextToken").Count));
        Assert.Equal(7, first.All("instanceId").Concat(second.All("instanceId")).Distinct().Count());
        Assert.Equal("InvalidPaginationToken", (await client.Ec2Async("DescribeInstances", ("NextToken", "x"))).Code);
        Assert.Equal("InvalidParameterValue", (await client.Ec2Async("DescribeInstances", ("MaxResults", "4"))).Code);
        Assert.Equal("InvalidParameterCombination", (await client.Ec2Async("DescribeInstances", ("MaxResults", "5"), ("InstanceId.1", first.All("instanceId")[0]))).Code);
        Assert.Equal("InvalidInstanceID.NotFound", (await client.Ec2Async("DescribeInstances", ("InstanceId.1", "i-0123456789abcdef0"))).Code);
        Assert.Equal("InvalidInstanceID.Malformed", (await client.Ec2Async("DescribeInstances", ("InstanceId.1", "instance"))).Code);

        async Task<IReadOnlyList<string>> FindAsync(string name, string value)
        {
            var answer = await client.Ec2Async("DescribeInstances", ("Filter.1.Name", name), ("Filter.1.Value.1", value));
            Assert.Equal("", answer.Code);
            return answer.All("instanceId");
        }
    }

    [Fact]
    public async Task A_new_instance_may_be_described_late()
    {
        var time = new HandMovedTime();
        await using var lab = await StartAsync(time: time);
        var client = new AwsClient(lab);
        lab.Ec2.Queries.Lag = TimeSpan.FromSeconds(30);
        time.Stop();
        var id = (await client.Ec2Async("RunInstances", One)).One("instanceId");

        Assert.Empty((await client.Ec2Async("DescribeInstances")).All("instanceId"));
        Assert.Equal("InvalidInstanceID.NotFound", (await client.Ec2Async("DescribeInstances", ("InstanceId.1", id))).Code);
        time.Move(TimeSpan.FromSeconds(31));
        Assert.Equal(id, (await client.Ec2Async("DescribeInstances")).One("instanceId"));
    }

    [Fact]
    public async Task The_console_gives_back_its_last_64_KB()
    {
        var machine = new PretendMachine { Console = new string('a', 70_000) + "\u001b[0mend" };
        await using var lab = await StartAsync(_ => machine);
        var client = new AwsClient(lab);
        var id = (await client.Ec2Async("RunInstances", One)).One("instanceId");

        var output = Convert.FromBase64String((await client.Ec2Async("GetConsoleOutput", ("InstanceId", id), ("Latest", "true"))).One("output"));

        Assert.Equal(64 * 1024, output.Length);
        Assert.EndsWith("a\u001b[0mend", Encoding.UTF8.GetString(output), StringComparison.Ordinal);
        machine.Console = "";
        Assert.Equal("", (await client.Ec2Async("GetConsoleOutput", ("InstanceId", id))).One("output"));
    }

    /// <summary>Starts and ends when the test says so.</summary>
    private sealed class SlowMachine : IMachine
    {
        public TaskCompletionSource Started { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public TaskCompletionSource Off { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public Task Ended => Off.Task;

        public Task StartAsync() => Started.Task;

        public void Kill()
        {
        }

        public string ReadConsole() => "";
    }
}
