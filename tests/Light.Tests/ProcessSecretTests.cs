using System.Text;
using Mayfly.Contract;
using Xunit;

namespace Mayfly.Light.Tests;

/// <summary>What root sees of every process while a job runs: the part of a search for the configuration that no job could
/// do, beside <c>Machine.Tests/SecretTests</c>.</summary>
public sealed class ProcessSecretTests(LightBed bed)
{
    [Fact]
    public async Task No_command_line_environment_or_journal_of_the_machine_holds_the_runners_key()
    {
        var run = await bed.LaunchAsync();
        await run.QueueAsync(["while [ ! -e /tmp/go ]; do sleep 0.1; done"]);
        await run.WaitForAsync(Milestone.JobStarted);

        var seen = await run.Machine.RunAsync("cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ | tr '\\0' '\\n'; journalctl --no-pager; dmesg; true");
        // Until the runner deletes it, the key stands in one file, which only the runner's user can reach.
        var file = await run.Machine.RunAsync("stat --format='%a %U' /run/mayfly/runner /run/mayfly/runner/.credentials_rsaparams; cat /run/mayfly/runner/.credentials_rsaparams");
        await run.Machine.RunAsync("touch /run/mayfly/job-root/tmp/go");
        await run.EndAsync();

        using var files = RunnerFiles.ParseJitConfig(run.Runner.EncodeJitConfig(bed.Lab.GitHub.PublicAddress));
        var key = Encoding.UTF8.GetString(files.Contents[2].Reveal());
        Assert.Contains(key, file, StringComparison.Ordinal); // it is what is looked for
        Assert.StartsWith("700 runner\n600 runner\n", file, StringComparison.Ordinal);
        Assert.Contains("mayfly-agent\nservice", seen, StringComparison.Ordinal); // every process was seen
        Assert.Contains("Runner.Listener", seen, StringComparison.Ordinal);
        foreach (var piece in key.Chunk(24).Where(p => p.Length == 24).Select(p => new string(p)))
            Assert.DoesNotContain(piece, seen, StringComparison.Ordinal);
    }
}
