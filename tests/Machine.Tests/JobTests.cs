using System.Text.Json;
using System.Text.Json.Nodes;
using Mayfly.Contract;
using Xunit;

namespace Mayfly.Machine.Tests;

/// <summary>One job from webhook to termination, and what comes before a job may run.</summary>
public sealed class JobTests
{
    [Fact]
    public async Task One_job_runs_on_one_machine_and_leaves_nothing()
    {
        await using var bed = await Bed.MakeAsync();

        // A process that the job leaves behind, with all its pipes open, must not keep the machine alive.
        var output = await bed.RunJobAsync("setsid sleep 3600 &", "echo hello");

        Assert.Equal(["hello"], output);
        Assert.Empty(bed.Lab.Ssm.Parameters);
        Assert.Empty(bed.Lab.GitHub.Runners.All);
        var instance = Assert.Single(bed.Lab.Fleet.Instances);
        Assert.Equal("Client.InstanceInitiatedShutdown", instance.Reason.Code);
        Assert.Equal("job-succeeded", bed.Ending?.Ending);
        Assert.Equal(Milestone.All, bed.Ending!.Events.Select(e => e.Name).Where(n => n != "note"));
        Assert.DoesNotContain(bed.Console, line => line.Contains("PRIVATE KEY", StringComparison.Ordinal) || line.Contains(Envelope.Version, StringComparison.Ordinal));
        Assert.DoesNotContain(bed.ControllerLog, line => line.Contains(Envelope.Version, StringComparison.Ordinal));
    }

    [Fact]
    public async Task Every_guarantee_holds_while_a_job_runs()
    {
        await using var bed = await Bed.MakeAsync(tags: new Dictionary<string, string> { [Tags.Check] = "true" });

        await bed.RunJobAsync("sleep 20");

        var told = bed.Ending!.Events.Select(e => e.Detail).Where(d => d.StartsWith("check ", StringComparison.Ordinal)).ToList();
        Assert.Equal(11, told.Count);
        Assert.All(told, guarantee => Assert.StartsWith("check holds", guarantee, StringComparison.Ordinal));
    }

    [Fact]
    public async Task The_metadata_service_is_only_ever_asked_with_a_token()
    {
        await using var bed = await Bed.MakeAsync();
        var instance = bed.Launch(("TagSpecification.1.ResourceType", "instance"), ("TagSpecification.1.Tag.1.Key", Tags.IdleTimeout), ("TagSpecification.1.Tag.1.Value", "never"));

        await bed.WaitForAsync("ec2", "instance terminated");

        // It learned of the tag, and so must have had a token: the lab answers 401 without.
        Assert.Equal("identity-unknown", bed.Ending?.Ending);
        Assert.Contains($"tag {Tags.IdleTimeout}='never'", bed.Ending!.Detail, StringComparison.Ordinal);
        Assert.Contains(bed.Lab.Journal.Events, e => e is { Source: "imds", Name: "token issued" } && e.Subject == instance.Id);
    }

    [Theory]
    [InlineData("mf1.AwA=", "config-truncated")]
    [InlineData("mf9.AwA=", "config-wrong-version")]
    public async Task A_configuration_that_cannot_be_used_is_deleted_and_no_job_runs(string envelope, string ending)
    {
        await using var bed = await Bed.MakeAsync();
        await bed.StoreAsync(bed.Launch(), envelope);

        await bed.WaitForAsync("ec2", "instance terminated");

        Assert.Equal(ending, bed.Ending?.Ending);
        Assert.DoesNotContain(bed.Ending!.Events, e => e.Name == Milestone.RunnerStarted);
        Assert.Empty(bed.Lab.Ssm.Parameters);
    }

    [Fact]
    public async Task A_configuration_that_cannot_be_deleted_runs_no_job()
    {
        await using var bed = await Bed.MakeAsync();
        bed.Lab.Ssm.Disturb = (action, caller) =>
        {
            if (action == "DeleteParameter" && caller.InstanceArn is not null)
                throw new Mayfly.Lab.Aws.AwsFault("AccessDeniedException", "not allowed");
        };
        using var files = RunnerFiles.ParseJitConfig(JitConfig());
        await bed.StoreAsync(bed.Launch(), Envelope.Pack(files));

        await bed.WaitForAsync("ec2", "instance terminated");

        Assert.Equal("config-not-deleted", bed.Ending?.Ending);
        Assert.DoesNotContain(bed.Ending!.Events, e => e.Name == Milestone.RunnerStarted);
    }

    private static string JitConfig() => Convert.ToBase64String(JsonSerializer.SerializeToUtf8Bytes(
        new JsonObject(RunnerFiles.Names.Select(n => KeyValuePair.Create<string, JsonNode?>(n, Convert.ToBase64String("{}"u8))))));
}
