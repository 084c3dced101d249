using System.Diagnostics;
using System.Text.Json.Nodes;
using Mayfly.Contract;
using Mayfly.Lab;
using Mayfly.Lab.Aws;
using Mayfly.Lab.GitHub;

namespace Mayfly.Controller.Tests;

/// <summary>From the webhook to the machine and its end: the real program against the lab.</summary>
public sealed class LaunchTests
{
    private static readonly string[] Labels = ["mayfly"];

    [Fact]
    public async Task A_queued_job_gets_one_machine_with_its_configuration_and_tags()
    {
        await using var world = await World.StartAsync();
        var (job, status) = await world.Lab.GitHub.Jobs.QueueAsync("build", Labels, []);
        Assert.Equal(202, status);
        await world.AssertLaunchedOnceAsync(job);
        var tags = world.Living[0].Tags;
        Assert.Equal(($"octo-org/octo-repo:{job.Id}-1", "ssm", "300", "21600"), (tags[Tags.Launch], tags[Tags.Config], tags[Tags.IdleTimeout], tags[Tags.JobTimeout]));
        Assert.False(world.Living[0].Spot);
    }

    [Fact]
    public async Task What_the_policy_says_stands_above_the_launch_templates_tags_and_what_it_does_not_say_does_not()
    {
        await using var world = await World.StartAsync(controller: false);
        var template = JsonNode.Parse(Demo.LaunchTemplate)!;
        template["LaunchTemplateName"] = "tagged";
        template["LaunchTemplateData"]!["TagSpecifications"] = JsonNode.Parse($$"""
            [{ "ResourceType": "instance", "Tags": [
              { "Key": "{{Tags.Egress}}", "Value": "allow" }, { "Key": "{{Tags.Sudo}}", "Value": "true" }, { "Key": "{{Tags.IdleTimeout}}", "Value": "7" }, { "Key": "{{Tags.JobTimeout}}", "Value": "7" },
              { "Key": "{{Tags.SwapGiB}}", "Value": "7" }] }]
            """);
        world.Lab.Templates.Load(template.ToJsonString(), "ami-0123456789abcdef0");
        await world.StartControllerAsync(new Dictionary<string, string> { ["Mayfly__LaunchTemplate"] = "tagged" });
        var (job, _) = await world.Lab.GitHub.Jobs.QueueAsync("build", Labels, []);
        await world.AssertLaunchedOnceAsync(job);
        var tags = world.Living[0].Tags;
        Assert.Equal(("open", "false", "300", "21600", "7"), (tags[Tags.Egress], tags[Tags.Sudo], tags[Tags.IdleTimeout], tags[Tags.JobTimeout], tags[Tags.SwapGiB]));
    }

    [Fact]
    public async Task A_label_asks_for_spot_and_the_runner_bears_it()
    {
        await using var world = await World.StartAsync();
        var (job, _) = await world.Lab.GitHub.Jobs.QueueAsync("build", ["mayfly", "spot=true"], []);
        await world.AssertLaunchedOnceAsync(job);
        Assert.True(world.Living[0].Spot);
        Assert.Equal(["mayfly", "spot=true"], world.Lab.GitHub.Runners.All.Single().Labels);
    }

    [Fact]
    public async Task Sent_again_a_delivery_launches_nothing_more()
    {
        await using var world = await World.StartAsync();
        var (job, _) = await world.Lab.GitHub.Jobs.QueueAsync("build", Labels, []);
        await world.AssertLaunchedOnceAsync(job);
        Assert.Equal(202, await world.Lab.GitHub.Webhooks.RedeliverAsync(world.Lab.GitHub.Webhooks.Log[0]));
        Assert.Equal(202, await world.Lab.GitHub.Webhooks.SendAsync(job, "queued"));
        await world.LineAsync($"job {job.Id}", "is Launched already");
        await world.AssertLaunchedOnceAsync(job);
        Assert.Equal(2, await world.StoredAsync(s => s.Deliveries.CountAsync()));
    }

    [Fact]
    public async Task A_job_that_is_queued_by_many_deliveries_at_once_gets_one_machine()
    {
        await using var world = await World.StartAsync();
        var webhooks = world.Lab.GitHub.Webhooks;
        (var target, webhooks.Target) = (webhooks.Target, null);
        var (job, _) = await world.Lab.GitHub.Jobs.QueueAsync("build", Labels, []);
        webhooks.Target = target;
        Assert.All(await Task.WhenAll(Enumerable.Range(0, 12).Select(_ => world.PostAsync(webhooks.Log[0].Body))), status => Assert.Equal(202, status));
        await world.AssertLaunchedOnceAsync(job);
        await webhooks.SendAsync(job, "queued");
        await world.LineAsync("is Launched already");
        await world.AssertLaunchedOnceAsync(job);
        Assert.Single(world.Lab.Fleet.Instances);
    }

    [Fact]
    public async Task What_becomes_of_the_job_and_of_its_machine_is_written_down()
    {
        await using var world = await World.StartAsync();
        var job = await world.RunJobAsync(Labels);

        var machine = world.Machines[world.Living[0].Id];
        var done = new ConsoleEvent(9.5, 9, Milestone.JobDone, "succeeded");
        machine.Console = $"[    0.0] kernel\n{ConsoleLine.Format(done)}\n{ConsoleLine.Format(new ConsoleEnding("job-succeeded", 10, "the job succeeded", [done]))}\n";
        machine.Kill();
        await world.LineAsync("ended: job-succeeded: the job succeeded");
        var launch = (await world.LaunchOfAsync(job))!;
        Assert.Equal((LaunchState.Ended, job.Runner!.Name, "success", "job-succeeded: the job succeeded"), (launch.State, launch.RunnerName, launch.Conclusion, launch.Ending));
        Assert.Contains(Milestone.JobDone, launch.Timeline!, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_configuration_too_large_for_its_parameter_leaves_nothing_and_says_why()
    {
        await using var world = await World.StartAsync();
        world.Lab.GitHub.JitPadding = 8000;
        var (job, status) = await world.Lab.GitHub.Jobs.QueueAsync("build", Labels, []);
        Assert.Equal(202, status);
        await world.LineAsync("no machine for job", $"{job.Id}", "a standard parameter holds 4096");
        world.AssertNothingLeft();
        var launch = (await world.LaunchOfAsync(job))!;
        Assert.Equal(LaunchState.Refused, launch.State);
        Assert.Contains("a standard parameter holds 4096", launch.Reason!, StringComparison.Ordinal);
        await world.StopControllerAsync();
        Assert.Empty(await world.StoredAsync(s => s.Deliveries.OpenAsync()));
    }

    [Theory]
    [InlineData("VcpuLimitExceeded")]
    [InlineData("UnauthorizedOperation")]
    public async Task What_waiting_does_not_mend_is_refused_at_once_and_undone(string code)
    {
        await using var world = await World.StartAsync();
        world.Lab.Fleet.Refusals["*"] = code;
        var (job, _) = await world.Lab.GitHub.Jobs.QueueAsync("build", Labels, []);
        await world.LineAsync("no machine for job", $"{job.Id}", code);
        world.AssertNothingLeft();
        Assert.Equal(LaunchState.Refused, (await world.LaunchOfAsync(job))!.State);
    }

    [Fact]
    public async Task Without_capacity_the_launch_is_undone_and_tried_again()
    {
        await using var world = await World.StartAsync();
        world.Lab.Fleet.Refusals["*"] = "InsufficientInstanceCapacity";
        var (job, _) = await world.Lab.GitHub.Jobs.QueueAsync("build", Labels, []);
        await world.LineAsync("attempt 1 failed", "InsufficientInstanceCapacity");
        await world.StopWithNothingLeftAsync();
        world.Lab.Fleet.Refusals.Clear();
        await world.StartControllerAsync();
        await world.AssertLaunchedOnceAsync(job);
    }

    [Fact]
    public async Task A_job_that_was_cancelled_while_there_was_no_capacity_gets_no_machine()
    {
        await using var world = await World.StartAsync();
        world.Lab.Fleet.Refusals["*"] = "InsufficientInstanceCapacity";
        var (job, _) = await world.Lab.GitHub.Jobs.QueueAsync("build", Labels, []);
        await world.LineAsync("attempt 1 failed");
        world.Lab.GitHub.Jobs.Cancel(job);
        world.Lab.Fleet.Refusals.Clear();
        await world.LineAsync("no machine for job", $"{job.Id}", "no longer waits");
        world.AssertNothingLeft();
        Assert.Empty(world.Lab.Fleet.Instances);
    }

    [Theory]
    [InlineData("AccessDeniedException", "no machine for job")]
    [InlineData("InternalServerError", "attempt 1 failed")]
    public async Task A_parameter_that_cannot_be_stored_undoes_the_machine_and_the_runner(string code, string said)
    {
        await using var world = await World.StartAsync();
        world.Lab.Ssm.Disturb = (action, _) =>
        {
            if (action == "PutParameter")
                throw new AwsFault(code, "the lab was told to", code.StartsWith("Internal", StringComparison.Ordinal) ? 500 : 400);
        };
        await world.Lab.GitHub.Jobs.QueueAsync("build", Labels, []);
        await world.LineAsync(said, code);
        await world.StopWithNothingLeftAsync();
    }

    [Fact]
    public async Task A_parameter_whose_answer_was_lost_is_not_stored_twice()
    {
        await using var world = await World.StartAsync();
        var lost = 0;
        world.Lab.Journal.Recorded += e =>
        {
            if (e.Name == "parameter stored" && Interlocked.Exchange(ref lost, 1) == 0)
                throw new AwsFault("InternalServerError", "stored, and the answer lost", 500);
        };
        var (job, _) = await world.Lab.GitHub.Jobs.QueueAsync("build", Labels, []);
        await world.AssertLaunchedOnceAsync(job);
        Assert.Equal(1, lost);
    }

    [Fact]
    public async Task A_runner_name_that_is_in_use_is_what_an_earlier_try_left()
    {
        await using var world = await World.StartAsync(controller: false);
        var (job, _) = await world.Lab.GitHub.Jobs.QueueAsync("build", Labels, []);
        var stale = world.Lab.GitHub.Runners.Register($"mayfly-{job.Id}-1", Labels, "_work");
        await world.StartControllerAsync();
        await world.Lab.GitHub.Webhooks.SendAsync(job, "queued");
        await world.AssertLaunchedOnceAsync(job);
        Assert.NotEqual(stale.Id, world.Lab.GitHub.Runners.All.Single().Id);
    }

    [Fact]
    public async Task A_GitHub_that_is_down_is_waited_for()
    {
        await using var world = await World.StartAsync();
        world.Lab.GitHub.Disturb = (_, _) => throw new GitHubFault(503, "the lab was told to");
        var (job, _) = await world.Lab.GitHub.Jobs.QueueAsync("build", Labels, []);
        await world.LineAsync("attempt 1 failed", "503");
        world.Lab.GitHub.Disturb = null;
        await world.AssertLaunchedOnceAsync(job);
        Assert.Single(world.Living);
    }

    [Fact]
    public async Task A_label_that_is_not_understood_launches_nothing_and_is_named()
    {
        await using var world = await World.StartAsync();
        var (job, _) = await world.Lab.GitHub.Jobs.QueueAsync("build", ["mayfly", "cpu=many"], []);
        await world.LineAsync("no machine for job", $"{job.Id}", "'cpu=many'");
        world.AssertNothingLeft();
        Assert.Equal(LaunchState.Refused, (await world.LaunchOfAsync(job))!.State);
    }

    [Theory]
    [InlineData("check", "write", 1, "queued")]
    [InlineData("cancel", "write", 1, "cancelled")]
    [InlineData("log", "write", 0, "queued")]
    [InlineData("check", "read", 0, "queued")]
    public async Task A_refused_job_tells_its_user_why_as_the_policy_has_it_and_the_App_may(string way, string permission, int checks, string end)
    {
        var github = new GitHubOptions();
        await using var world = await World.StartAsync(new LabOptions { GitHub = github with { Permissions = new Dictionary<string, string>(github.Permissions) { ["checks"] = permission } } }, controller: false);
        var policy = Path.Combine(world.Folder, "policy.yaml");
        await File.WriteAllTextAsync(policy, $"default: {{refusals: {way}}}\n", TestContext.Current.CancellationToken);
        await world.StartControllerAsync(new Dictionary<string, string> { ["Mayfly__Policy"] = policy });
        var (job, _) = await world.Lab.GitHub.Jobs.QueueAsync("build", ["mayfly/cpu=many"], []);
        await world.LineAsync("no machine for job", $"{job.Id}", "'cpu=many'");
        if (permission == "read")
            await world.LineAsync("could not be told by a check", "403");
        await world.UntilToldAsync();
        Assert.Equal(checks, world.Lab.GitHub.CheckRuns.All.Count);
        foreach (var check in world.Lab.GitHub.CheckRuns.All)
        {
            Assert.Equal(("Mayfly", "completed", "failure", "No machine for job 'build'"), (check.Name, check.Status, check.Conclusion, check.Title));
            Assert.StartsWith("label 'mayfly/cpu=many', 'cpu=many': cpu takes vCPUs from 1 to 1920", check.Summary, StringComparison.Ordinal);
        }

        Assert.Equal(end == "cancelled" ? "cancelled" : null, job.Conclusion);
    }

    [Theory]
    [InlineData("auto")]
    [InlineData("rerun")]
    public async Task Without_spot_capacity_a_job_that_may_have_either_is_launched_on_demand(string mode)
    {
        await using var world = await World.StartAsync();
        world.Lab.Fleet.Market.SpotVCpus = 0;
        var (job, _) = await world.Lab.GitHub.Jobs.QueueAsync("build", [$"mayfly/spot={mode}"], []);
        await world.LineAsync("no spot instance, so one on demand", "MaxSpotInstanceCountExceeded");
        await world.AssertLaunchedOnceAsync(job);
        Assert.False(world.Living[0].Spot);
    }

    [Fact]
    public async Task What_AWS_says_of_a_failed_launch_stays_in_the_log()
    {
        await using var world = await World.StartAsync();
        world.Lab.Fleet.Refusals["*"] = "UnauthorizedOperation";
        var (job, _) = await world.Lab.GitHub.Jobs.QueueAsync("build", Labels, []);
        await world.LineAsync("no machine for job", $"{job.Id}", "UnauthorizedOperation");
        await world.UntilToldAsync();
        Assert.Equal($"The machine could not be launched. The controller's log says why, by octo-org/octo-repo:{job.Id}-1.", Assert.Single(world.Lab.GitHub.CheckRuns.All).Summary);
    }

    [Fact]
    public async Task Below_a_cap_jobs_take_turns_and_wait_for_a_machine_to_end()
    {
        await using var world = await World.StartAsync(controller: false);
        var policy = Path.Combine(world.Folder, "policy.yaml");
        await File.WriteAllTextAsync(policy, "caps: {machines: 1}\ndefault: {vcpus: 4}\n", TestContext.Current.CancellationToken);
        await world.StartControllerAsync(new Dictionary<string, string> { ["Mayfly__Policy"] = policy });
        await world.RunJobAsync(Labels); // its machine is still there
        var (second, _) = await world.Lab.GitHub.Jobs.QueueAsync("second", Labels, []);
        await world.LineAsync("jobs wait", "1 machines with 4 vCPUs are alive");
        Assert.Single(world.Lab.Fleet.Instances);
        var machine = world.Machines[world.Living[0].Id];
        machine.Console = $"{ConsoleLine.Format(new ConsoleEnding("job-succeeded", 10, "the job succeeded", []))}\n";
        machine.Kill();
        await world.LineAsync("launched i-", $"{second.Id}");
        Assert.Equal(2, world.Lab.Fleet.Instances.Count);
        Assert.Single(world.Living);

        // A cap that is lowered meanwhile holds for what was queued under the old one.
        var (third, _) = await world.Lab.GitHub.Jobs.QueueAsync("third", Labels, []);
        await world.LineAsync($"job {third.Id}", "is queued");
        await File.WriteAllTextAsync(policy, "caps: {vcpus: 3}\ndefault: {vcpus: 2}\n", TestContext.Current.CancellationToken);
        await world.LineAsync($"no machine for octo-org/octo-repo:{third.Id}-1", "counts for 4 vCPUs", "together is 3");
        Assert.Equal(LaunchState.Refused, (await world.LaunchOfAsync(third))!.State);
    }

    [Fact]
    public async Task A_label_that_the_policy_does_not_allow_launches_nothing_until_a_changed_policy_does()
    {
        await using var world = await World.StartAsync(controller: false);
        var policy = Path.Combine(world.Folder, "policy.yaml");
        await File.WriteAllTextAsync(policy, "default: {allow: {sudo: false}}\n", TestContext.Current.CancellationToken);
        await world.StartControllerAsync(new Dictionary<string, string> { ["Mayfly__Policy"] = policy });
        var (refused, _) = await world.Lab.GitHub.Jobs.QueueAsync("refused", ["mayfly/sudo=true"], []);
        await world.LineAsync("no machine for job", $"{refused.Id}", "'sudo=true'", "allowed are false");
        world.AssertNothingLeft();
        await File.WriteAllTextAsync(policy, "default: {allow: {sudo: true}}\n", TestContext.Current.CancellationToken);
        await world.LineAsync("policy read from", "policy.yaml");
        var (job, _) = await world.Lab.GitHub.Jobs.QueueAsync("allowed", ["mayfly/sudo=true"], []);
        await world.AssertLaunchedOnceAsync(job);
        Assert.Equal("true", world.Living[0].Tags[Tags.Sudo]);
    }

    [Fact]
    public async Task Asked_to_stop_it_finishes_the_launch_under_way()
    {
        await using var world = await World.StartAsync();
        using var stopping = new ManualResetEventSlim();
        world.Lab.Ssm.Disturb = (action, _) =>
        {
            if (action == "PutParameter")
                stopping.Wait(World.Limit, CancellationToken.None);
        };
        var (job, _) = await world.Lab.GitHub.Jobs.QueueAsync("build", Labels, []);
        await world.EventAsync("ec2", "instance launched");
        using (var process = Process.GetProcessById(world.Controller.ProcessId))
        {
            Signals.Send(process.Id, "TERM");
            await world.LineAsync("Application is shutting down");
            stopping.Set();
            await process.WaitForExitAsync(TestContext.Current.CancellationToken).WaitAsync(World.Limit, TestContext.Current.CancellationToken);
        }

        await world.AssertLaunchedOnceAsync(job);
    }

    [Fact]
    public async Task No_secret_stands_in_the_log_the_command_line_the_environment_or_the_store()
    {
        await using var world = await World.StartAsync();
        var (job, _) = await world.Lab.GitHub.Jobs.QueueAsync("build", Labels, []);
        await world.AssertLaunchedOnceAsync(job);
        var envelope = world.Lab.Ssm.Parameters.Single().Value;
        var process = $"/proc/{world.Controller.ProcessId}";
        var seen = string.Join('\n', [.. world.Log, await File.ReadAllTextAsync($"{process}/cmdline", TestContext.Current.CancellationToken), await File.ReadAllTextAsync($"{process}/environ", TestContext.Current.CancellationToken)]);
        await world.Controller.KillAsync();
        foreach (var file in Directory.GetFiles(world.Folder, "controller.db*"))
            seen += await File.ReadAllTextAsync(file, System.Text.Encoding.Latin1, TestContext.Current.CancellationToken);
        using var files = Envelope.Unpack(System.Text.Encoding.ASCII.GetBytes(envelope));
        foreach (var secret in (string[])[world.Lab.GitHub.Options.WebhookSecret, world.Lab.User.Secret, envelope, "ghs_", "eyJ", "PRIVATE KEY",
            .. files.Contents.Select(c => System.Text.Encoding.UTF8.GetString(c.Reveal()))])
            Assert.DoesNotContain(secret, seen, StringComparison.Ordinal);
    }
}
