using Mayfly.Contract;
using Xunit;

namespace Mayfly.Light.Tests;

/// <summary>What the runner's processes may do and what they inherit, as the kernel tells it inside the sandbox.</summary>
public sealed class UserTests(LightBed bed)
{
    /// <summary>The kernel's mask of what the sandbox's root may do: agent/RunnerUser.cs lists it.</summary>
    private const string RootsCapabilities = "00000000a08405fb";

    private const string None = "0000000000000000";

    [Theory]
    [InlineData("false", None, 1)]
    [InlineData("true", RootsCapabilities, 0)]
    public async Task The_runners_user_has_no_capability_and_can_gain_only_what_the_launch_allows(string sudo, string mayGain, int noNewPrivileges)
    {
        var run = await bed.LaunchAsync(spot: false, null, null, (Tags.Sudo, sudo));
        var job = await run.QueueAsync(["grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs)' /proc/self/status | tr -s '[:space:]' ' '; echo"]);

        Assert.Equal("job-succeeded", (await run.EndAsync()).Ending);
        Assert.Equal(
            [$"Uid: 1001 1001 1001 1001 Gid: 1001 1001 1001 1001 Groups: CapInh: {None} CapPrm: {None} CapEff: {None} CapBnd: {mayGain} CapAmb: {None} NoNewPrivs: {noNewPrivileges} "],
            bed.Lab.GitHub.Broker.StepsOutput(job.Id));
    }

    [Fact]
    public async Task Root_by_sudo_has_what_a_package_manager_needs_and_no_more()
    {
        var run = await bed.LaunchAsync(spot: false, null, null, (Tags.Sudo, "true"));
        var job = await run.QueueAsync(["sudo grep -E '^Cap(Prm|Eff|Bnd)' /proc/self/status | cut -f2 | sort -u"]);

        Assert.Equal("job-succeeded", (await run.EndAsync()).Ending);
        Assert.Equal([RootsCapabilities], bed.Lab.GitHub.Broker.StepsOutput(job.Id));
    }

    [Fact]
    public async Task The_runners_environment_is_made_from_nothing()
    {
        var run = await bed.LaunchAsync();
        var job = await run.QueueAsync(["tr '\\0' '\\n' < /proc/1/environ | cut -d= -f1 | sort"]);

        Assert.Equal("job-succeeded", (await run.EndAsync()).Ending);
        Assert.Equal(
            [
                "ACTIONS_RUNNER_HOOK_JOB_COMPLETED", "ACTIONS_RUNNER_HOOK_JOB_STARTED", "ACTIONS_RUNNER_RETURN_JOB_RESULT_FOR_HOSTED",
                "ACTIONS_RUNNER_RETURN_VERSION_DEPRECATED_EXIT_CODE", "HOME", "LANG", "LOGNAME", "PATH", "SHELL", "USER",
            ],
            bed.Lab.GitHub.Broker.StepsOutput(job.Id));
    }
}
