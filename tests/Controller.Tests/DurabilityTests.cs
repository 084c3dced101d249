using Mayfly.Lab.GitHub;

namespace Mayfly.Controller.Tests;

/// <summary>Killed as a crash kills it, at every moment that changes something outside: no accepted job is lost, and none
/// gets two machines.</summary>
public sealed class DurabilityTests
{
    private static readonly string[] Labels = ["mayfly"];

    [Fact]
    public async Task What_was_answered_with_202_is_on_the_disk()
    {
        await using var world = await World.StartAsync();
        world.Lab.GitHub.Disturb = (_, _) => throw new GitHubFault(503, "nothing can be launched yet");
        var killed = world.KillAt("github", "webhook queued");
        var (job, status) = await world.Lab.GitHub.Jobs.QueueAsync("build", Labels, []);
        Assert.Equal(202, status);
        await killed;
        Assert.Equal(1, await world.StoredAsync(s => s.Deliveries.CountAsync())); // done or not: its job is in the queue by then
        world.Lab.GitHub.Disturb = null;
        await world.StartControllerAsync();
        await world.AssertLaunchedOnceAsync(job);
    }

    /// <summary>Not at a chosen moment: wherever the commits, the intake and the answers happen to be.</summary>
    [Fact]
    public async Task Killed_under_load_it_loses_no_delivery_that_it_answered_with_202()
    {
        var seed = Environment.TickCount;
        var random = new Random(seed);
        await using var world = await World.StartAsync(controller: false);
        var answered = new System.Collections.Concurrent.ConcurrentBag<string>();
        for (var round = 0; round < 3; round++)
        {
            var controller = await world.StartControllerAsync();
            var (moment, acknowledged) = (random.Next(20, 300), 0);
            var reached = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            var load = Task.WhenAll(Enumerable.Range(0, 8).Select(i => Task.Run(async () =>
            {
                for (var body = Some.Event(action: "in_progress"); ;)
                {
                    var id = Guid.NewGuid();
                    try
                    {
                        if (await world.PostAsync(controller, body, id) != 202)
                            continue;
                    }
                    catch (HttpRequestException)
                    {
                        return; // it is dead
                    }

                    answered.Add($"{id}");
                    if (Interlocked.Increment(ref acknowledged) == moment)
                        reached.SetResult();
                }
            })));
            await reached.Task.WaitAsync(World.Limit, TestContext.Current.CancellationToken);
            await controller.KillAsync();
            await load.WaitAsync(World.Limit, TestContext.Current.CancellationToken);
        }

        var kept = (await world.StoredAsync(s => s.TransactAsync(sql => sql.QueryAsync("SELECT id FROM delivery", row => row.Text(0))))).ToHashSet();
        Assert.True(answered.All(kept.Contains), $"{answered.Count(id => !kept.Contains(id))} of {answered.Count} deliveries that were answered are lost; seed {seed}");
    }

    [Theory]
    [InlineData("github", "runner registered")]
    [InlineData("ec2", "instance launched")]
    [InlineData("ssm", "parameter stored")]
    public async Task Killed_in_the_middle_of_a_launch_it_goes_on_with_what_it_made(string source, string moment)
    {
        await using var world = await World.StartAsync();
        var killed = world.KillAt(source, moment);
        var (job, _) = await world.Lab.GitHub.Jobs.QueueAsync("build", Labels, []);
        await killed;
        await world.StartControllerAsync();
        await world.AssertLaunchedOnceAsync(job);
        Assert.Single(world.Lab.Fleet.Instances);
    }

    [Fact]
    public async Task Killed_twice_it_still_launches_once()
    {
        await using var world = await World.StartAsync();
        var killed = world.KillAt("ec2", "instance launched");
        var (job, _) = await world.Lab.GitHub.Jobs.QueueAsync("build", Labels, []);
        await killed;
        killed = world.KillAt("ssm", "parameter stored");
        var starting = world.StartControllerAsync();
        await killed;
        await Task.WhenAny(starting); // it may have died before it served
        await world.StartControllerAsync();
        await world.AssertLaunchedOnceAsync(job);
        Assert.Single(world.Lab.Fleet.Instances);
    }

    [Fact]
    public async Task A_machine_that_took_its_configuration_and_runs_the_job_is_left_alone()
    {
        await using var world = await World.StartAsync();
        var killed = world.KillAt("ssm", "parameter stored");
        var (job, _) = await world.Lab.GitHub.Jobs.QueueAsync("build", Labels, []);
        await killed;
        await TakeConfigurationAsync(world);
        var runner = world.Lab.GitHub.Runners.All.Single();
        (job.Runner, runner.Job) = (runner, job);
        world.Lab.GitHub.Jobs.Start(job);
        await world.Lab.GitHub.Webhooks.Settled; // nobody heard of it

        await world.StartControllerAsync();
        await world.LineAsync("launched i-", $"{job.Id}");
        Assert.Single(world.Living);
        Assert.Same(runner, world.Lab.GitHub.Runners.All.Single());
        Assert.Empty(world.Lab.Ssm.Parameters);
    }

    [Fact]
    public async Task A_machine_that_took_its_configuration_and_no_job_is_replaced()
    {
        await using var world = await World.StartAsync();
        var killed = world.KillAt("ssm", "parameter stored");
        var (job, _) = await world.Lab.GitHub.Jobs.QueueAsync("build", Labels, []);
        await killed;
        var first = world.Living.Single();
        await TakeConfigurationAsync(world);

        await world.StartControllerAsync();
        await world.AssertLaunchedOnceAsync(job);
        Assert.NotEqual(first.Id, world.Living.Single().Id);
    }

    [Fact]
    public async Task A_machine_that_ended_meanwhile_without_a_configuration_is_replaced()
    {
        await using var world = await World.StartAsync();
        var killed = world.KillAt("ec2", "instance launched");
        var (job, _) = await world.Lab.GitHub.Jobs.QueueAsync("build", Labels, []);
        await killed;
        world.Machines.Values.Single().Kill();
        await world.EventAsync("ec2", "instance terminated");

        await world.StartControllerAsync();
        await world.AssertLaunchedOnceAsync(job);
    }

    [Fact]
    public async Task What_was_decided_for_a_job_holds_whatever_the_settings_say_meanwhile()
    {
        await using var world = await World.StartAsync();
        var killed = world.KillAt("ec2", "instance launched");
        var (job, _) = await world.Lab.GitHub.Jobs.QueueAsync("build", Labels, []);
        await killed;
        await world.StartControllerAsync(new Dictionary<string, string> { ["Mayfly__InstanceTypes"] = "c7i.large", ["Mayfly__JobTimeout"] = "60" });
        await world.AssertLaunchedOnceAsync(job);
        var only = Assert.Single(world.Lab.Fleet.Instances);
        Assert.Equal(("m7i.large", "21600"), (only.Type, only.Tags[Contract.Tags.JobTimeout]));
    }

    /// <summary>How a configuration travels is the controller's own matter, and stands in the request to EC2.</summary>
    [Fact]
    public async Task A_request_that_changed_meanwhile_leaves_no_second_machine()
    {
        await using var world = await World.StartAsync(controller: false);
        await world.StartControllerAsync(new Dictionary<string, string> { ["Mayfly__Config"] = "tags" });
        var killed = world.KillAt("ec2", "instance launched");
        var (job, _) = await world.Lab.GitHub.Jobs.QueueAsync("build", Labels, []);
        await killed;
        await world.StartControllerAsync();
        await world.AssertLaunchedOnceAsync(job);
        Assert.Equal(2, world.Lab.Fleet.Instances.Count);
        Assert.Equal("ssm", world.Living.Single().Tags[Contract.Tags.Config]);
    }

    [Theory]
    [InlineData("runner removed")]
    [InlineData("machine ended")]
    public async Task Killed_while_it_undoes_a_launch_it_first_finishes_that(string moment)
    {
        await using var world = await World.StartAsync();
        world.Lab.GitHub.JitPadding = 8000;
        var killed = moment == "runner removed" ? world.KillAt("github", moment) : world.KillWhen(kill => world.Lab.Ssm.Disturb = (action, _) =>
        {
            if (action == "DeleteParameter") // what it does next
                kill();
        });
        var (job, _) = await world.Lab.GitHub.Jobs.QueueAsync("build", Labels, []);
        await killed;
        world.Lab.GitHub.JitPadding = 0;
        await world.StartControllerAsync();
        await world.AssertLaunchedOnceAsync(job);
    }

    /// <summary>What the agent does: reads its parameter and deletes it.</summary>
    private static async Task TakeConfigurationAsync(World world)
    {
        using var http = new HttpClient(new Amazon.Runtime.Signing.SigV4SigningHandler(
            new Amazon.Runtime.BasicAWSCredentials(world.Lab.User.Id, world.Lab.User.Secret), Amazon.RegionEndpoint.GetBySystemName(world.Lab.Options.Region), "ssm", new HttpClientHandler()));
        using var request = new HttpRequestMessage(HttpMethod.Post, world.Lab.AwsAddress)
        {
            Content = new StringContent($$"""{"Name":"{{world.Lab.Ssm.Parameters.Single().Name}}"}""", new System.Net.Http.Headers.MediaTypeHeaderValue("application/x-amz-json-1.1")),
            Headers = { { "X-Amz-Target", "AmazonSSM.DeleteParameter" } },
        };
        using var response = await http.SendAsync(request, TestContext.Current.CancellationToken);
        response.EnsureSuccessStatusCode();
    }
}
