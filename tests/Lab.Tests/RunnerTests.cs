using System.Text.Json;
using System.Text.RegularExpressions;
using Mayfly.Lab.GitHub;

namespace Mayfly.Lab.Tests;

/// <summary>The stand-in as a process of its own, against the lab's GitHub.</summary>
public sealed partial class RunnerTests
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(60);

    [Fact]
    public async Task A_job_that_succeeds_is_told_of_in_the_official_lines_and_leaves_no_secret_behind()
    {
        await using var lab = await Lab.StartAsync(new LabOptions());
        await using var runner = new RunnerProcess();
        await runner.ConfigureAsync(lab, "mayfly", "cpu=4");
        var (job, _) = await lab.GitHub.Jobs.QueueAsync("build", ["mayfly", "cpu=4"], ["pwd; echo made > made.txt", "cat made.txt; echo on stderr >&2"]);

        runner.Start();

        Assert.Equal(100, await runner.ExitAsync());
        await runner.WaitForLineAsync("completed with result");
        Assert.Matches(Story(), runner.Output);
        Assert.Equal("success", job.Conclusion);
        Assert.Empty(lab.GitHub.Runners.All);
        Assert.All(runner.ConfigFiles, file => Assert.False(File.Exists(file), file));
        var log = lab.GitHub.Broker.Logs[job.Id];
        Assert.Contains($"{runner.Root}/_work/octo-repo/octo-repo\nmade\n", log, StringComparison.Ordinal);
        Assert.Contains("on stderr\n", log, StringComparison.Ordinal);
        Assert.DoesNotContain("on stderr", runner.Output, StringComparison.Ordinal);
        Assert.Single(Directory.GetFiles(Path.Combine(runner.Root, "_diag"), "Runner_*-utc.log"));
        Assert.Single(Directory.GetFiles(Path.Combine(runner.Root, "_diag"), "Worker_*-utc.log"));
        Assert.Equal(
            ["runner registered", "runner listening", "job assigned", "job started", "job completed", "runner removed"],
            lab.Journal.Events.Where(e => e.Source == "github" && !e.Name.StartsWith("webhook", StringComparison.Ordinal)).Select(e => e.Name));
    }

    [Theory]
    [InlineData("1", 102)]
    [InlineData("", 0)]
    public async Task A_failed_step_ends_the_job_and_shows_in_the_exit_code_where_that_is_asked_for(string asked, int code)
    {
        await using var lab = await Lab.StartAsync(new LabOptions());
        await using var runner = new RunnerProcess();
        await runner.ConfigureAsync(lab);
        runner.Environment["ACTIONS_RUNNER_RETURN_JOB_RESULT_FOR_HOSTED"] = asked;
        var (job, _) = await lab.GitHub.Jobs.QueueAsync("build", ["mayfly"], ["false; echo not reached", "echo nor this"]);

        runner.Start();

        Assert.Equal(code, await runner.ExitAsync());
        Assert.Equal("failure", job.Conclusion);
        Assert.DoesNotContain("echo", lab.GitHub.Broker.Logs[job.Id], StringComparison.Ordinal);
        await runner.WaitForLineAsync("Job build completed with result: Failed");
        Assert.All(runner.ConfigFiles, file => Assert.False(File.Exists(file), file));
    }

    [Fact]
    public async Task A_cancelled_job_ends_with_its_step()
    {
        await using var lab = await Lab.StartAsync(new LabOptions());
        await using var runner = new RunnerProcess();
        await runner.ConfigureAsync(lab);
        var (job, _) = await lab.GitHub.Jobs.QueueAsync("build", ["mayfly"], ["exec sleep 300"]);
        runner.Start();
        await runner.WaitForLineAsync("Running job: build");

        lab.GitHub.Jobs.Cancel(job);

        Assert.Equal(103, await runner.ExitAsync());
        Assert.Equal("cancelled", job.Conclusion);
        await runner.WaitForLineAsync("Job build completed with result: Canceled");
    }

    [Theory]
    [InlineData("INT", 0)]
    [InlineData("TERM", 143)]
    public async Task A_signal_during_a_job_stops_it_as_failed(string signal, int code)
    {
        await using var lab = await Lab.StartAsync(new LabOptions());
        await using var runner = new RunnerProcess();
        await runner.ConfigureAsync(lab);
        var (job, _) = await lab.GitHub.Jobs.QueueAsync("build", ["mayfly"], ["exec sleep 300"]);
        runner.Start();
        await runner.WaitForLineAsync("Running job: build");

        Signals.Send(runner.Id, signal);

        Assert.Equal(code, await runner.ExitAsync());
        Assert.Equal("failure", job.Conclusion);
        await runner.WaitForLineAsync("Job build completed with result: Canceled");
    }

    [Theory]
    [InlineData("INT", 0)]
    [InlineData("TERM", 143)]
    public async Task A_signal_while_idle_closes_the_session(string signal, int code)
    {
        await using var lab = await Lab.StartAsync(new LabOptions());
        await using var runner = new RunnerProcess();
        await runner.ConfigureAsync(lab);
        runner.Start();
        await lab.Journal.WaitForAsync(e => e.Name == "runner listening", Limit, TestContext.Current.CancellationToken);

        Signals.Send(runner.Id, signal);

        Assert.Equal(code, await runner.ExitAsync());
        Assert.Null(lab.GitHub.Runners.All.Single().Session);
        Assert.All(runner.ConfigFiles, file => Assert.True(File.Exists(file), file));
    }

    [Theory]
    [InlineData(".runner")]
    [InlineData(".credentials")]
    [InlineData(".credentials_rsaparams")]
    public async Task Without_one_of_its_files_it_is_not_configured(string missing)
    {
        await using var lab = await Lab.StartAsync(new LabOptions());
        await using var runner = new RunnerProcess();
        await runner.ConfigureAsync(lab);
        File.Delete(Path.Combine(runner.Root, missing));

        runner.Start();

        Assert.Equal(1, await runner.ExitAsync());
        Assert.DoesNotContain("Connected", runner.Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_refused_session_exits_1()
    {
        await using var lab = await Lab.StartAsync(new LabOptions());
        await using var runner = new RunnerProcess();
        await runner.ConfigureAsync(lab);
        lab.GitHub.Disturb = (_, path) =>
        {
            if (path == "/broker/session")
                throw new RunnerFailure(403, RunnerFailure.BrokerService, "Forbidden", "not you");
        };

        runner.Start();

        Assert.Equal(1, await runner.ExitAsync());
        Assert.DoesNotContain("Listening", runner.Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_registration_that_is_gone_exits_1_at_the_start()
    {
        await using var lab = await Lab.StartAsync(new LabOptions());
        await using var runner = new RunnerProcess();
        await runner.ConfigureAsync(lab);
        lab.GitHub.Runners.Remove(lab.GitHub.Runners.All.Single(), "a test");

        runner.Start();

        Assert.Equal(1, await runner.ExitAsync());
        await runner.WaitForLineAsync("The runner registration has been deleted from the server");
    }

    [Fact]
    public async Task A_registration_that_goes_while_it_listens_exits_0_without_a_job()
    {
        await using var lab = await Lab.StartAsync(new LabOptions());
        await using var runner = new RunnerProcess();
        await runner.ConfigureAsync(lab);
        runner.Start();
        await lab.Journal.WaitForAsync(e => e.Name == "runner listening", Limit, TestContext.Current.CancellationToken);

        lab.GitHub.Runners.Remove(lab.GitHub.Runners.All.Single(), "a test");

        Assert.Equal(0, await runner.ExitAsync());
    }

    [Theory]
    [InlineData("1", 7)]
    [InlineData("", 1)]
    public async Task A_release_that_is_too_old_exits_7_where_that_is_asked_for(string asked, int code)
    {
        await using var lab = await Lab.StartAsync(new LabOptions());
        await using var runner = new RunnerProcess();
        await runner.ConfigureAsync(lab);
        runner.Environment["ACTIONS_RUNNER_RETURN_VERSION_DEPRECATED_EXIT_CODE"] = asked;
        lab.GitHub.Disturb = (_, path) =>
        {
            if (path == "/broker/message")
                throw new RunnerFailure(403, RunnerFailure.BrokerService, "RunnerVersionTooOld", "too old");
        };

        runner.Start();

        Assert.Equal(code, await runner.ExitAsync());
    }

    [Fact]
    public async Task A_job_waits_for_a_runner_that_bears_all_its_labels()
    {
        await using var lab = await Lab.StartAsync(new LabOptions());
        await using var other = new RunnerProcess();
        await using var right = new RunnerProcess();
        await other.ConfigureAsync(lab, "mayfly");
        await right.ConfigureAsync(lab, "MAYFLY", "cpu=4");
        var (job, _) = await lab.GitHub.Jobs.QueueAsync("build", ["mayfly", "cpu=4"], ["true"]);
        other.Start();
        await lab.Journal.WaitForAsync(e => e.Name == "runner listening", Limit, TestContext.Current.CancellationToken);

        right.Start();

        Assert.Equal(100, await right.ExitAsync());
        Assert.Equal(Path.GetFileName(right.Root), job.Runner!.Name);
        Assert.Equal(Path.GetFileName(other.Root), lab.GitHub.Runners.All.Single().Name);
    }

    [Fact]
    public async Task No_secret_stands_in_a_command_line_an_environment_an_output_or_a_log()
    {
        await using var lab = await Lab.StartAsync(new LabOptions());
        await using var runner = new RunnerProcess();
        await runner.ConfigureAsync(lab);
        using var key = JsonDocument.Parse(await File.ReadAllTextAsync(Path.Combine(runner.Root, ".credentials_rsaparams"), TestContext.Current.CancellationToken));
        var secrets = key.RootElement.EnumerateObject().Where(p => p.Name is "d" or "p" or "q").Select(p => p.Value.GetString()![..40]).ToList();
        var (job, _) = await lab.GitHub.Jobs.QueueAsync("build", ["mayfly"], ["env; while [ ! -e ../../../go ]; do sleep 0.1; done"]);
        runner.Start();
        await runner.WaitForLineAsync("Running job: build");
        await runner.WaitForWorkerAsync();

        secrets.Add(lab.GitHub.Runners.All.Single().AccessToken!);
        secrets.Add(job.Token!);
        var seen = runner.Processes().SelectMany(id => (string[])[RunnerProcess.ReadProc(id, "cmdline"), RunnerProcess.ReadProc(id, "environ")]).ToList();
        Assert.Contains(seen, text => text.Contains("spawnclient", StringComparison.Ordinal));
        await File.WriteAllTextAsync(Path.Combine(runner.Root, "go"), "", TestContext.Current.CancellationToken);
        Assert.Equal(100, await runner.ExitAsync());

        seen.AddRange(Directory.GetFiles(Path.Combine(runner.Root, "_diag")).Select(File.ReadAllText));
        seen.Add(runner.Output);
        seen.Add(lab.GitHub.Broker.Logs[job.Id]);
        Assert.All(seen, text => Assert.All(secrets, secret => Assert.DoesNotContain(secret, text, StringComparison.Ordinal)));
        Assert.Contains("GITHUB_REPOSITORY=octo-org/octo-repo", seen[^1], StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_hooks_and_the_env_file_in_its_root_take_part_in_the_job()
    {
        await using var lab = await Lab.StartAsync(new LabOptions());
        await using var runner = new RunnerProcess();
        await runner.ConfigureAsync(lab);
        var hook = Path.Combine(runner.Root, "hook.sh");
        await File.WriteAllTextAsync(hook, "#!/bin/sh\necho hook for $GREETING\n", TestContext.Current.CancellationToken);
        File.SetUnixFileMode(hook, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        await File.WriteAllTextAsync(Path.Combine(runner.Root, ".env"), $"GREETING=mayfly\nACTIONS_RUNNER_HOOK_JOB_STARTED={hook}\nACTIONS_RUNNER_HOOK_JOB_COMPLETED={hook}\n", TestContext.Current.CancellationToken);
        var (job, _) = await lab.GitHub.Jobs.QueueAsync("build", ["mayfly"], ["echo step for $GREETING"]);

        runner.Start();

        Assert.Equal(100, await runner.ExitAsync());
        Assert.Equal("hook for mayfly\nstep for mayfly\nhook for mayfly\n", lab.GitHub.Broker.Logs[job.Id]);
    }

    [Fact]
    public async Task A_hook_that_fails_fails_the_job_before_its_first_step()
    {
        await using var lab = await Lab.StartAsync(new LabOptions());
        await using var runner = new RunnerProcess();
        await runner.ConfigureAsync(lab);
        runner.Environment["ACTIONS_RUNNER_HOOK_JOB_STARTED"] = "/bin/false";
        var (job, _) = await lab.GitHub.Jobs.QueueAsync("build", ["mayfly"], ["echo step"]);

        runner.Start();

        Assert.Equal(102, await runner.ExitAsync());
        Assert.Equal("failure", job.Conclusion);
        Assert.DoesNotContain("step", lab.GitHub.Broker.Logs[job.Id], StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_a_step_leaves_running_does_not_hold_the_runner()
    {
        await using var lab = await Lab.StartAsync(new LabOptions());
        await using var runner = new RunnerProcess();
        await runner.ConfigureAsync(lab);
        var (job, _) = await lab.GitHub.Jobs.QueueAsync("build", ["mayfly"], ["sleep 120 & echo $!"]);

        runner.Start();

        Assert.Equal(100, await runner.ExitAsync());
        Signals.Send(int.Parse(lab.GitHub.Broker.Logs[job.Id], null), "KILL");
        Assert.Equal("success", job.Conclusion);
    }

    [Fact]
    public async Task A_worker_that_dies_fails_the_job()
    {
        await using var lab = await Lab.StartAsync(new LabOptions());
        await using var runner = new RunnerProcess();
        await runner.ConfigureAsync(lab);
        var (job, _) = await lab.GitHub.Jobs.QueueAsync("build", ["mayfly"], ["true"], RunnerFault.WorkerCrashes);

        runner.Start();

        Assert.Equal(102, await runner.ExitAsync());
        Assert.Equal("failure", job.Conclusion);
    }

    [Fact]
    public async Task On_demand_the_listener_exits_0_while_its_worker_hangs()
    {
        await using var lab = await Lab.StartAsync(new LabOptions());
        await using var runner = new RunnerProcess();
        await runner.ConfigureAsync(lab);
        var (job, _) = await lab.GitHub.Jobs.QueueAsync("build", ["mayfly"], ["true"], RunnerFault.ExitsWithWorkerHung);

        runner.Start();

        Assert.Equal(0, await runner.ExitAsync());
        Assert.Null(job.Conclusion);
        Assert.Single(runner.Processes());
    }

    [Fact]
    public async Task It_prints_its_version_and_configures_nothing()
    {
        await using var version = new RunnerProcess();
        version.Start("--version");
        Assert.Equal(0, await version.ExitAsync());
        await version.WaitForLineAsync("2.336.0");

        await using var configure = new RunnerProcess();
        configure.Start("configure");
        Assert.Equal(1, await configure.ExitAsync());
    }

    [GeneratedRegex(@"^\n√ Connected to GitHub\n\nCurrent runner version: '2\.336\.0'\n\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ: Listening for Jobs\n\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ: Running job: build\n\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ: Job build completed with result: Succeeded\n$")]
    private static partial Regex Story();
}
