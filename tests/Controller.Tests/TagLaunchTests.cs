using System.Text;
using Mayfly.Contract;
using Mayfly.Lab.Aws;

namespace Mayfly.Controller.Tests;

/// <summary>Launches whose configuration travels by instance tags.</summary>
public sealed class TagLaunchTests
{
    private static readonly string[] Labels = ["mayfly"];
    private static readonly Dictionary<string, string> ByTags = new() { ["Mayfly__Config"] = "tags" };

    [Fact]
    public async Task A_queued_job_gets_one_machine_whose_tags_hold_its_configuration()
    {
        await using var world = await StartAsync();
        var (job, _) = await world.Lab.GitHub.Jobs.QueueAsync("build", Labels, []);
        await world.LineAsync("launched i-", $"{job.Id}");
        AssertConfigured(world);
        Assert.Empty(world.Lab.Ssm.Parameters);
    }

    [Fact]
    public async Task An_instance_that_EC2_does_not_know_yet_is_tagged_a_moment_later()
    {
        await using var world = await StartAsync();
        world.Lab.Ec2.Queries.Lag = TimeSpan.FromSeconds(2);
        var (job, _) = await world.Lab.GitHub.Jobs.QueueAsync("build", Labels, []);
        await world.LineAsync("launched i-", $"{job.Id}");
        AssertConfigured(world);
    }

    [Theory]
    [InlineData("UnauthorizedOperation", 403, "no machine for job")]
    [InlineData("TagLimitExceeded", 400, "no machine for job")]
    [InlineData("InternalError", 500, "attempt 1 failed")]
    public async Task Tags_that_cannot_be_set_undo_the_machine_and_the_runner(string code, int status, string said)
    {
        await using var world = await StartAsync();
        world.Lab.Ec2.Disturb = (action, _) =>
        {
            if (action == "CreateTags")
                throw new AwsFault(code, "the lab was told to", status);
        };
        await world.Lab.GitHub.Jobs.QueueAsync("build", Labels, []);
        await world.LineAsync(said, code);
        await world.StopWithNothingLeftAsync();
    }

    [Fact]
    public async Task Tags_whose_answer_was_lost_to_the_last_are_deleted_with_their_machine()
    {
        await using var world = await StartAsync();
        world.Lab.Journal.Recorded += e =>
        {
            if (e.Name == "tags set")
                throw new AwsFault("InternalError", "set, and the answer lost", 500);
        };
        await world.Lab.GitHub.Jobs.QueueAsync("build", Labels, []);
        await world.LineAsync("attempt 1 failed", "InternalError");
        await world.StopWithNothingLeftAsync();
        Assert.All(world.Lab.Fleet.Instances, i => Assert.DoesNotContain(i.Tags.Keys, k => k.StartsWith(ConfigTags.Prefix, StringComparison.Ordinal)));
    }

    [Fact]
    public async Task A_configuration_too_large_for_tags_is_refused_with_its_size()
    {
        await using var world = await StartAsync();
        world.Lab.GitHub.JitPadding = 8000;
        var (job, _) = await world.Lab.GitHub.Jobs.QueueAsync("build", Labels, []);
        await world.LineAsync("no machine for job", $"{job.Id}", "4096");
        world.AssertNothingLeft();
        Assert.Equal(LaunchState.Refused, (await world.LaunchOfAsync(job))!.State);
    }

    [Fact]
    public async Task Killed_when_the_tags_were_set_it_knows_that_the_launch_is_complete()
    {
        await using var world = await StartAsync();
        var killed = world.KillAt("ec2", "tags set");
        var (job, _) = await world.Lab.GitHub.Jobs.QueueAsync("build", Labels, []);
        await killed;
        await world.StartControllerAsync(ByTags);
        await world.LineAsync("launched i-", $"{job.Id}");
        AssertConfigured(world);
        Assert.Single(world.Lab.Fleet.Instances);
    }

    private static async Task<World> StartAsync()
    {
        var world = await World.StartAsync(controller: false);
        await world.StartControllerAsync(ByTags);
        return world;
    }

    /// <summary>One living machine, in its tags the configuration of the one registered runner.</summary>
    private static void AssertConfigured(World world)
    {
        var tags = Assert.Single(world.Living).Tags;
        Assert.Equal("tags", tags[Tags.Config]);
        var envelope = string.Concat(ConfigTags.PiecesOf(tags.GetValueOrDefault(ConfigTags.CountKey), [.. tags.Keys])!.Select(k => tags[k]));
        using var files = Envelope.Unpack(Encoding.ASCII.GetBytes(envelope));
        using var settings = System.Text.Json.JsonDocument.Parse(files.Contents[0].RevealMemory());
        Assert.Equal($"{Assert.Single(world.Lab.GitHub.Runners.All).Id}", settings.RootElement.GetProperty("AgentId").GetString());
    }
}
