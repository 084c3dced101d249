using System.Diagnostics;
using System.Text;
using Mayfly.Contract;
using Mayfly.Lab.Machines;
using Xunit;

namespace Mayfly.Light.Tests;

/// <summary>What root of a machine sees of its processes and of all that it writes: the part of a search for the configuration
/// that no job could do, beside <c>Machine.Tests/SecretTests</c>. There the volume holds ciphertext, which tells that nothing lies
/// on it unencrypted; here nothing is encrypted, so that what an agent wrote to scratch would be found.</summary>
public sealed class ProcessSecretTests(LightBed bed)
{
    private const string Runners = "/run/mayfly/runner/.credentials_rsaparams";

    /// <summary>File systems that hold no file of anybody's, and the overlays, whose upper layers are searched by themselves.</summary>
    private static readonly string[] NotSearched = ["overlay", "squashfs", "proc", "sysfs", "cgroup2", "devpts", "mqueue", "nsfs", "bpf", "securityfs"];

    [Fact]
    public async Task Nothing_of_a_machine_but_the_runners_own_file_holds_the_runners_key()
    {
        var run = await bed.LaunchAsync();
        await run.QueueAsync(["while [ ! -e /tmp/go ]; do sleep 0.1; done"]);
        await run.WaitForAsync(Milestone.JobStarted);
        using var files = RunnerFiles.ParseJitConfig(run.Runner.EncodeJitConfig(bed.Lab.GitHub.PublicAddress));
        var key = Encoding.UTF8.GetString(files.Contents[2].Reveal());
        // A leak may be cut anywhere: each piece is looked for by itself.
        var pieces = ((string[])[key, Envelope.Pack(files)[Envelope.Version.Length..]]).SelectMany(secret => secret.Chunk(24)).Where(p => p.Length == 24).Select(p => new string(p)).ToList();
        using var layers = run.Machine.HoldLayers();

        var seen = await run.Machine.RunAsync("cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ | tr '\\0' '\\n'; journalctl --no-pager; dmesg; true");
        // Until the runner deletes it, the key stands in one file, which only the runner's user can reach.
        var file = await run.Machine.RunAsync($"stat --format='%a %U' /run/mayfly/runner {Runners}; cat {Runners}");
        var held = await SearchAsync(run, layers, pieces);
        await run.Machine.RunAsync($"for root in '' /run/mayfly/job-root /run; do tail -c 100 {Runners} > $root/planted; done");
        var planted = await SearchAsync(run, layers, pieces);
        await run.Machine.RunAsync("rm /planted /run/mayfly/job-root/planted /run/planted; touch /run/mayfly/job-root/tmp/go");
        await run.EndAsync();
        var left = await SearchAsync(pieces, layers.Folder);

        Assert.Contains(key, file, StringComparison.Ordinal); // it is what is looked for
        Assert.StartsWith("700 runner\n600 runner\n", file, StringComparison.Ordinal);
        Assert.Contains("mayfly-agent\nservice", seen, StringComparison.Ordinal); // every process was seen
        Assert.Contains("Runner.Listener", seen, StringComparison.Ordinal);
        Assert.All(pieces, piece => Assert.DoesNotContain(piece, seen, StringComparison.Ordinal));
        Assert.Equal(["/run/actions-runner/.credentials_rsaparams", Runners], held);
        Assert.Equal(["/job-root.upper/planted", "/root.upper/planted", "/run/planted"], planted.Except(held)); // it would be found
        Assert.True(File.Exists(layers.Folder + "/job-root.upper/tmp/go")); // what the machine wrote was there to be searched
        Assert.Empty(left);
    }

    /// <summary>Files with a piece of the secret: in the layers above the image that the machine and its job write to, and in every
    /// file system of their own, in memory, as the system and the runner have them mounted.</summary>
    private static async Task<IReadOnlyList<string>> SearchAsync(LightRun run, MachineLayers layers, IReadOnlyList<string> pieces)
    {
        var found = await SearchAsync(pieces, layers.Folder);
        foreach (var id in (int[])[run.Machine.InitProcessId(), run.Machine.ProcessIds("Runner.Listener")[0]])
        {
            var mounts = File.ReadLines($"/proc/{id}/mountinfo").Select(line => line.Split(' ')).Where(mount => !NotSearched.Contains(mount[Array.IndexOf(mount, "-") + 1]));
            found = [.. found, .. await SearchAsync(pieces, $"/proc/{id}/root", [.. mounts.Select(mount => mount[4])])];
        }

        return [.. found.Distinct().Order(StringComparer.Ordinal)];
    }

    /// <returns>Without the root.</returns>
    private static async Task<IReadOnlyList<string>> SearchAsync(IReadOnlyList<string> pieces, string root, params string[] folders)
    {
        var patterns = Path.GetTempFileName();
        try
        {
            await File.WriteAllLinesAsync(patterns, pieces, TestContext.Current.CancellationToken);
            // A folder tells find of a file that something else, such as a device, may be mounted over: grep looks again.
            using var find = Process.Start(new ProcessStartInfo("timeout",
                ["60", "find", .. folders.DefaultIfEmpty("").Select(folder => root + folder), "-xdev", "-type", "f", "-exec", "grep", "-laF", "--devices=skip", "-f", patterns, "{}", "+"])
                { RedirectStandardOutput = true })!;
            var found = await find.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken);
            await find.WaitForExitAsync(TestContext.Current.CancellationToken);
            return [.. found.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(path => path[root.Length..])];
        }
        finally
        {
            File.Delete(patterns);
        }
    }
}
