using Mayfly.Contract;
using Mayfly.Controller.Reconciliation;
using Mayfly.Lab;
using Mayfly.Lab.Aws;
using Mayfly.Lab.Ec2;
using Mayfly.Lab.GitHub;

namespace Mayfly.Controller.Tests;

/// <summary>Tests that set AWSSDK's clock (<see cref="ReconcileBed.Move"/>).</summary>
[CollectionDefinition(Name, DisableParallelization = true)]
public sealed class SdkClock
{
    public const string Name = "AWSSDK's clock";
}

/// <summary>Machines in another account and region than the controller's, by a role that wants to hear an external id.</summary>
[Collection(SdkClock.Name)]
public sealed class SitesTests
{
    private const string Account = "210987654321";
    private const string Role = $"arn:aws:iam::{Account}:role/mayfly-controller";

    private const string Policy = $$"""
        accounts:
          build: {region: us-east-1, role: "{{Role}}", external-id: the-lab}
        default: {account: build}
        """;

    private const string Image = "ami-0123456789abcdef0";

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task The_machine_its_configuration_and_their_end_are_where_the_policy_says()
    {
        await using var bed = await ReconcileBed.StartAsync(Policy);
        var there = Open(bed.Lab);
        var (_, launch, instance) = await LaunchAsync(bed, there);
        Assert.Empty(bed.Living);
        var parameter = Assert.Single(there.Ssm.Parameters);
        Assert.Equal((ConfigParameter.NameFor(instance.Id), instance.Arn), (parameter.Name, parameter.Tags[ConfigParameter.InstanceTag]));
        Assert.StartsWith($"arn:aws:ec2:us-east-1:{Account}:instance/", instance.Arn, StringComparison.Ordinal);

        bed.Machines[instance.Id].Console = ConsoleLine.Format(new ConsoleEnding("idle", 9, "no job came", [])) + "\n";
        bed.Machines[instance.Id].Kill();
        await bed.Lab.Journal.WaitForAsync(_ => instance.StateName == "terminated", World.Limit, Cancel);
        bed.Move(Plan.Nameless);
        await bed.LooksAsync(Plan.Grace);
        Assert.Equal("idle: no job came", (await bed.FindAsync(launch)).Ending);
        Assert.Empty(there.Ssm.Parameters);
    }

    [Fact]
    public async Task A_machine_without_a_launch_is_ended_where_it_is()
    {
        await using var bed = await ReconcileBed.StartAsync(Policy);
        var there = Open(bed.Lab);
        var (job, launch, instance) = await LaunchAsync(bed, there);
        await bed.Store.Launches.EndedAsync(launch.Id, "lost", "[]");
        bed.Lab.GitHub.Jobs.Cancel(job);
        await bed.RecordAsync(job, JobAction.Completed);
        bed.Move(Plan.Young);
        await bed.LooksAsync(Plan.Grace);
        Assert.NotEqual(InstanceState.Running, instance.State);
        Assert.Empty(there.Ssm.Parameters);
        Assert.Empty(bed.Lab.GitHub.Runners.All);
    }

    [Fact]
    public async Task A_launch_stands_where_nobody_may_look_and_is_found_again()
    {
        await using var bed = await ReconcileBed.StartAsync(Policy);
        var there = Open(bed.Lab);
        var (_, launch, instance) = await LaunchAsync(bed, there);
        there.Ec2.Disturb = (_, _) => throw new AwsFault("UnauthorizedOperation", "the lab was told to", 403);
        bed.Move(TimeSpan.FromHours(2));
        await bed.LooksAsync(Plan.Nameless);
        Assert.Equal(LaunchState.Launched, (await bed.FindAsync(launch)).State);
        Assert.Single(bed.Lab.GitHub.Runners.All);

        there.Ec2.Disturb = null;
        bed.Machines[instance.Id].Kill();
        await bed.Lab.Journal.WaitForAsync(_ => instance.StateName == "terminated", World.Limit, Cancel);
        await bed.LooksAsync(Epitaph.ConsoleLimit);
        Assert.Equal(LaunchState.Ended, (await bed.FindAsync(launch)).State);
    }

    [Fact]
    public async Task Machines_of_an_account_that_the_policy_no_longer_names_are_looked_after_to_their_end()
    {
        await using var bed = await ReconcileBed.StartAsync(Policy);
        var there = Open(bed.Lab);
        var (_, launch, instance) = await LaunchAsync(bed, there);
        await File.WriteAllTextAsync(bed.Settings.Policy, "default: {}\n", Cancel);
        await bed.Policy.LookAsync(Cancel);
        await bed.Policy.LookAsync(Cancel);
        Assert.DoesNotContain(launch.Order.Site, bed.Policy.Current.Sites);
        bed.Machines[instance.Id].Kill();
        await bed.Lab.Journal.WaitForAsync(_ => instance.StateName == "terminated", World.Limit, Cancel);
        await bed.Reconciler.PassAsync(Cancel);
        await bed.LooksAsync(Epitaph.ConsoleLimit);
        Assert.Equal(LaunchState.Ended, (await bed.FindAsync(launch)).State);
    }

    [Fact]
    public async Task A_role_that_another_external_id_opens_is_refused_by_name_and_nothing_is_left()
    {
        await using var bed = await ReconcileBed.StartAsync(Policy);
        var there = Open(bed.Lab, externalId: "somebody-elses");
        var (job, _) = await bed.Lab.GitHub.Jobs.QueueAsync("build", ["mayfly"], []);
        await bed.Intake.FoundAsync([ReconcileBed.JobOf(job, JobAction.Queued)]);
        var refused = await Assert.ThrowsAsync<LaunchRefusedException>(bed.LaunchNextAsync);
        Assert.All((string[])["AssumeRole", "AccessDenied", Role], part => Assert.Contains(part, refused.Message, StringComparison.Ordinal));
        Assert.Empty(there.Fleet.Instances);
        Assert.Empty(bed.Lab.GitHub.Runners.All);
    }

    [Fact]
    public async Task An_image_is_judged_in_each_account_that_launches_one()
    {
        await using var bed = await ReconcileBed.StartAsync($"{Policy}\nrepositories:\n  other-org/*: {{account: default}}\n");
        var there = Open(bed.Lab);
        bed.Lab.GitHub.RunnerReleases = [("2.337.0", bed.Time.GetUtcNow() - TimeSpan.FromDays(40)), ("2.336.0", bed.Time.GetUtcNow() - TimeSpan.FromDays(50))];
        there.Images.Add(Image, new Dictionary<string, string> { [Tags.RunnerVersion] = "2.336.0" });
        bed.Lab.Images.Add(Image, new Dictionary<string, string> { [Tags.RunnerVersion] = "2.337.0" });
        await bed.Image.LookAsync(Cancel);
        Assert.IsType<RunnerAge.TooOld>(bed.Image.AgeOf(new ImageSource(new Site("us-east-1", Role, "the-lab"), "mayfly", null)));
        Assert.IsType<RunnerAge.Fresh>(bed.Image.AgeOf(new ImageSource(bed.Sites.Home, "mayfly", null)));
    }

    [Fact]
    public async Task Each_account_has_buckets_of_its_own_and_one_that_is_throttled_keeps_no_job_of_the_other_waiting()
    {
        const string other = "octo-org/other-repo";
        await using var bed = await ReconcileBed.StartAsync($"{Policy}\nrepositories:\n  {other}: {{account: default}}\n", new GitHubOptions { OtherRepositories = ["other-repo"] });
        var there = Open(bed.Lab);
        there.Ec2.Disturb = (action, _) =>
        {
            if (action == "CreateFleet")
                throw new AwsFault("RequestLimitExceeded", "Request limit exceeded.", 503);
        };
        await QueueAsync(bed, bed.Lab.GitHub.Options.FullName);
        var throttled = await bed.TryAsync();
        Assert.Equal(LaunchState.Launching, throttled.State);
        var (paces, own) = (bed.Sites.At(throttled.Order.Site).Paces, bed.Sites.At(bed.Sites.Home).Paces);
        Assert.True(paces["CreateFleet"].PerSecond < bed.Settings.CreateFleetPace);
        Assert.Equal(bed.Settings.CreateFleetPace, own["CreateFleet"].PerSecond);

        // As long as the one's bucket is empty, it is the other's turn although it came later.
        paces["CreateFleet"].HoldFor(TimeSpan.FromHours(1));
        await QueueAsync(bed, bed.Lab.GitHub.Options.FullName);
        await QueueAsync(bed, other);
        var claimed = Assert.Single(await bed.Store.Queue.ClaimAsync(2, new Turns(bed.Policy.Current, bed.App, bed.Sites).Next));
        Assert.Equal(other, claimed.Id.Repository);
        await bed.Scheduler.LaunchAsync(claimed, Cancel);
        Assert.Equal((await bed.FindAsync(claimed)).InstanceId, Assert.Single(bed.Living).Id);
        Assert.Single(bed.Lab.Ssm.Parameters);
        Assert.Empty(there.Fleet.Instances);
    }

    private static async Task QueueAsync(ReconcileBed bed, string repository)
    {
        var (job, _) = await bed.Lab.GitHub.Jobs.QueueAsync("build", ["mayfly"], [], repository: repository);
        await bed.Intake.FoundAsync([ReconcileBed.JobOf(job, JobAction.Queued) with { Repository = repository }]);
    }

    private static Place Open(Lab.Lab lab, string externalId = "the-lab")
    {
        lab.Sts.Add(new Role(Role, externalId));
        var there = lab.PlaceIn(Account, "us-east-1");
        there.Templates.Load(Demo.LaunchTemplate, Image);
        return there;
    }

    private static async Task<(Lab.GitHub.Job Job, LaunchRecord Launch, Instance Instance)> LaunchAsync(ReconcileBed bed, Place there)
    {
        var (job, _) = await bed.Lab.GitHub.Jobs.QueueAsync("build", ["mayfly"], []);
        await bed.Intake.FoundAsync([ReconcileBed.JobOf(job, JobAction.Queued)]);
        return (job, await bed.LaunchNextRecordAsync(), Assert.Single(there.Fleet.Instances));
    }
}
