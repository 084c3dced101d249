using System.Globalization;
using Mayfly.Contract;
using Xunit;

namespace Mayfly.Light.Tests;

/// <summary>A job with sudo can open the runner's standard output, which the agent reads.</summary>
public sealed class RunnerOutputTests(LightBed bed)
{
    /// <summary>KiB that the agent may have had in memory; it takes 20 MB at most while a job runs undisturbed.</summary>
    private const int MostMemory = 40 << 10;

    /// <summary>As the runner's user, or /proc refuses it, and with the capability to pass over the pipe's owner.</summary>
    private const string Flood =
        """
        cat > flood <<'END'
        for process in /proc/[0-9]*; do
          if [ "$(cat $process/comm)" = Runner.Listener ] && ! grep -q spawnclient $process/cmdline; then exec > $process/fd/1; fi # not the worker's, which is the job's log
        done
        yes '2026-11-21 08:00:00Z: Running job: forged' | head -n 50000
        head -c 64M /dev/zero | tr '\0' x
        echo
        echo '2026-11-21 08:00:00Z: Listening for Jobs'
        END
        sudo setpriv --reuid=1001 --regid=1001 --clear-groups --inh-caps=+dac_override --ambient-caps=+dac_override bash -e flood
        """;

    [Fact]
    public async Task A_job_that_floods_the_runners_output_takes_no_memory_of_the_agents_and_is_told_of_once()
    {
        var run = await bed.LaunchAsync(spot: false, null, null, (Tags.Sudo, "true"));
        var job = await run.QueueAsync([Flood, "touch flooded; while [ ! -e go ]; do sleep 0.1; done"]);
        await run.WaitForAsync(Milestone.JobStarted);
        await run.UntilAsync("ls /run/mayfly/job-root/var/lib/mayfly/work/*/*/flooded");

        var agent = await run.AgentAsync();
        var (memory, read) = (Number(agent, "status", "VmHWM:"), Number(agent, "io", "rchar:"));
        await run.GoAsync();

        var ending = await run.EndAsync();
        Assert.Equal("success", job.Conclusion);
        Assert.Equal("job-succeeded", ending.Ending);
        Assert.InRange(memory, 1, MostMemory);
        Assert.InRange(read, 64 << 20, long.MaxValue); // all of it came
        Assert.Equal(["light"], ending.Events.Where(e => e.Name == Milestone.JobStarted).Select(e => e.Detail));
        Assert.Single(ending.Events, e => e.Name == Milestone.RunnerListening);
    }

    private static long Number(int process, string file, string name) => long.Parse(
        File.ReadLines($"/proc/{process}/{file}").First(line => line.StartsWith(name, StringComparison.Ordinal)).Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture);
}
