using Mayfly.Contract;
using Xunit;

namespace Mayfly.Light.Tests;

/// <summary>What comes before a job may run: who the machine is, and its configuration.</summary>
public sealed class ConfigurationTests(LightBed bed)
{
    [Fact]
    public async Task The_metadata_service_is_only_ever_asked_with_a_token()
    {
        var run = await bed.LaunchAsync(spot: false, null, null, (Tags.IdleTimeout, "never"));

        var ending = await run.EndAsync();

        // It learned of the tag, and so must have had a token: the lab answers 401 without.
        Assert.Equal("identity-unknown", ending.Ending);
        Assert.Contains($"tag {Tags.IdleTimeout}='never'", ending.Detail, StringComparison.Ordinal);
        Assert.Contains(bed.Lab.Journal.Events, e => e is { Source: "imds", Name: "token issued" } && e.Subject == run.Instance.Id);
    }

    [Fact]
    public async Task A_machine_that_is_stopped_while_it_waits_for_one_says_so()
    {
        var run = await bed.LaunchAsync(spot: false, null, null, (Tags.Config, "tags")); // of which it has none
        await run.WaitForAsync(Milestone.IdentityLearned);

        await run.Machine.RunAsync("systemctl stop --no-block mayfly-agent.service");

        var ending = await run.EndAsync();
        Assert.Equal("stopped", ending.Ending);
        Assert.Equal(Step.TakeConfig.Number, ending.Step);
    }

    [Theory]
    [InlineData("mf1.AwA=", "config-truncated")]
    [InlineData("mf9.AwA=", "config-wrong-version")]
    public async Task One_that_cannot_be_used_is_deleted_and_no_job_runs(string envelope, string name)
    {
        var run = await bed.LaunchWithAsync(envelope);

        var ending = await run.EndAsync();

        Assert.Equal(name, ending.Ending);
        Assert.DoesNotContain(ending.Events, e => e.Name == Milestone.RunnerStarted);
        Assert.DoesNotContain(bed.Lab.Ssm.Parameters, p => p.Name == ConfigParameter.NameFor(run.Instance.Id));
    }

    [Fact]
    public async Task One_that_cannot_be_deleted_runs_no_job()
    {
        const string undeletable = "light:undeletable";
        bed.Lab.Ssm.Disturb = (action, caller) =>
        {
            if (action == "DeleteParameter" && bed.Lab.Fleet.Instances.Any(i => i.Arn == caller.InstanceArn && i.Tags.ContainsKey(undeletable)))
                throw new Mayfly.Lab.Aws.AwsFault("AccessDeniedException", "not allowed");
        };
        var run = await bed.LaunchAsync(spot: false, null, null, (undeletable, ""));

        var ending = await run.EndAsync();

        Assert.Equal("config-not-deleted", ending.Ending);
        Assert.DoesNotContain(ending.Events, e => e.Name == Milestone.RunnerStarted);
    }
}
