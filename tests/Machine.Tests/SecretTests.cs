using System.Collections.Concurrent;
using System.Text;
using Mayfly.Contract;
using Mayfly.Lab;
using Xunit;

namespace Mayfly.Machine.Tests;

/// <summary>After a whole run, everything that can be had of it is searched for the runner's configuration: what the machine
/// wrote to its console, kernel log included, its volume with scratch and swap, the controller's log and files, and, from
/// within the job, every command line and environment that it can see. The volume is ciphertext: what is written through its
/// encryption only <c>Light.Tests/ProcessSecretTests</c> can search, since no job and nobody else sees a machine's disk in plain text.</summary>
public sealed class SecretTests
{
    [Theory]
    [InlineData("ssm")]
    [InlineData("tags")]
    public async Task A_run_leaves_its_configuration_nowhere(string source)
    {
        var volume = "";
        await using var bed = await Bed.MakeAsync(prepareVolume: path => volume = path);
        var envelopes = new ConcurrentQueue<string>();
        bed.Lab.Journal.Recorded += e =>
        {
            if (e.Name == "parameter stored")
                envelopes.Enqueue(bed.Lab.Ssm.Parameters.Single().Value);
            if (e.Name == "tags set" && bed.Lab.Fleet.Find(e.Subject).Tags is var tags && ConfigTags.PiecesOf(tags.GetValueOrDefault(ConfigTags.CountKey), [.. tags.Keys]) is { } keys)
                envelopes.Enqueue(string.Concat(keys.Select(k => tags[k])));
        };
        var log = new ConcurrentQueue<string>();
        var folder = Path.Combine(bed.Folder, "controller");
        await using (var controller = await ControllerProcess.StartAsync(bed.Lab, Built.Controller, folder, aws: null, log.Enqueue, new Dictionary<string, string> { ["Mayfly__Config"] = source }))
        {
            // What the job may see of processes, its runner's listener among them, comes back as its log.
            var (job, _) = await bed.Lab.GitHub.Jobs.QueueAsync("look around", ["mayfly"], ["cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'; true"]);
            await bed.WaitForAsync("ec2", "instance terminated");
            Assert.Equal("job-succeeded", bed.Ending?.Ending);
            var seen = bed.Lab.GitHub.Broker.Logs[job.Id];
            Assert.Contains("Runner.Listener", seen, StringComparison.Ordinal); // it did see processes
            var text = string.Join('\n', [.. bed.Console, .. log, seen]);

            var envelope = Assert.Single(envelopes);
            using var files = Envelope.Unpack(Encoding.ASCII.GetBytes(envelope));
            var key = Encoding.ASCII.GetString(files.Contents[2].Reveal());
            var secrets = Pieces(envelope[Envelope.Version.Length..]).Concat(Pieces(key)).ToList();
            Assert.All(secrets, secret => Assert.DoesNotContain(secret, text, StringComparison.Ordinal));
            AssertHoldsNone(volume, secrets);
            foreach (var file in Directory.EnumerateFiles(folder, "*", SearchOption.AllDirectories).Where(f => Path.GetFileName(f).StartsWith("controller.db", StringComparison.Ordinal)))
                AssertHoldsNone(file, secrets);
        }

        Assert.DoesNotContain(Assert.Single(bed.Lab.Fleet.Instances).Tags.Keys, k => k.StartsWith(ConfigTags.Prefix, StringComparison.Ordinal));
        Assert.Empty(bed.Lab.Ssm.Parameters);
    }

    /// <summary>A leak may be cut anywhere: each piece is looked for by itself. Shorter ones would be found by chance.</summary>
    private static IEnumerable<string> Pieces(string secret) => secret.Chunk(24).Where(piece => piece.Length == 24).Select(piece => new string(piece));

    private static void AssertHoldsNone(string path, IReadOnlyList<string> secrets)
    {
        var needles = System.Buffers.SearchValues.Create([.. secrets], StringComparison.Ordinal);
        using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        var buffer = new byte[4 << 20];
        var kept = 0;
        // A sparse volume is mostly holes, which read as zeros.
        while (file.Read(buffer.AsSpan(kept)) is var read and > 0)
        {
            if (buffer.AsSpan(0, kept + read).ContainsAnyExcept((byte)0))
                Assert.Equal(-1, Encoding.Latin1.GetString(buffer, 0, kept + read).AsSpan().IndexOfAny(needles));
            var length = kept + read;
            kept = Math.Min(23, length);
            buffer.AsSpan(length - kept, kept).CopyTo(buffer);
        }
    }
}
