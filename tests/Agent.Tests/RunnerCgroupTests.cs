using Xunit;

namespace Mayfly.Agent.Tests;

/// <summary>Against folders that look like a unit's cgroup.</summary>
public sealed class RunnerCgroupTests : IDisposable
{
    private const long GiB = 1L << 30;

    private readonly string _unit = Directory.CreateTempSubdirectory("mayfly-unit-").FullName;

    [Fact]
    public void The_limits_stand_above_the_cgroup_that_the_job_is_in()
    {
        Offer("cpuset cpu io memory pids");

        var cgroup = RunnerCgroup.Make(_unit, GiB, missing: null);

        Assert.Equal("4096 processes and 832 MiB of memory at most", cgroup.Limits);
        Assert.Equal("4096", Read("runner/pids.max"));
        Assert.Equal($"{832L << 20}", Read("runner/memory.max"));
        Assert.Equal(Path.Combine(_unit, "runner/job/cgroup.procs"), cgroup.ProcessList);
        Assert.True(Directory.Exists(Path.GetDirectoryName(cgroup.ProcessList)));
    }

    [Theory]
    [InlineData("pids", "memory")]
    [InlineData("memory", "pids")]
    [InlineData("", "pids")]
    public void A_limit_that_the_kernel_does_not_offer_runs_no_job(string offered, string missing)
    {
        Offer(offered);

        var e = Assert.Throws<InvalidOperationException>(() => RunnerCgroup.Make(_unit, GiB, missing: ""));

        Assert.Contains($"has no {missing} controller", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_light_machine_takes_the_limits_that_are_offered()
    {
        Offer("pids");

        Assert.Equal("4096 processes at most", RunnerCgroup.Make(_unit, GiB, "if-offered").Limits);
    }

    [Fact]
    public void A_switch_of_no_meaning_is_refused_by_its_value() =>
        Assert.Contains("'no'", Assert.Throws<FormatException>(() => RunnerCgroup.Make(_unit, GiB, "no")).Message, StringComparison.Ordinal);

    public void Dispose() => Directory.Delete(_unit, recursive: true);

    private void Offer(string controllers) => File.WriteAllText(Path.Combine(_unit, "cgroup.controllers"), controllers + "\n");

    private string Read(string file) => File.ReadAllText(Path.Combine(_unit, file));
}
