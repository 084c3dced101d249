using System.Diagnostics;
using System.Formats.Tar;
using System.Globalization;
using System.IO.Compression;
using System.Text.Json;
using Mayfly.Contract;
using Mayfly.Lab;
using Mayfly.Lab.Ec2;
using Mayfly.Machine.Tests;
using Xunit;

namespace Mayfly.Light.Tests;

/// <summary>The controller as it is shipped: what is in its container, and that it does its work there.</summary>
public sealed class ContainerTests(ITestOutputHelper output)
{
    private static readonly string[] Labels = ["mayfly"];
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(2);

    [Fact]
    public async Task It_holds_one_program_and_no_shell_and_stays_below_100_MB()
    {
        var entries = await ReadLayerAsync(Built.Container);
        var programs = entries.Where(e => e.Type == TarEntryType.RegularFile && (e.Mode & (UnixFileMode.UserExecute | UnixFileMode.GroupExecute | UnixFileMode.OtherExecute)) != 0).Select(e => e.Name);
        Assert.Equal(2, programs.Count());
        Assert.Contains("app/mayfly-controller", programs);
        Assert.Single(programs, p => Path.GetFileName(p).StartsWith("ld-linux", StringComparison.Ordinal));
        Assert.All(entries, e => Assert.Equal(UnixFileMode.None, e.Mode & (UnixFileMode.SetUser | UnixFileMode.SetGroup)));
        Assert.Equal(["var/lib/mayfly"], entries.Where(e => e.Owner != 0).Select(e => e.Name));
        Assert.InRange(entries.Sum(e => e.Length), 1, 100_000_000);
        output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"unpacked {entries.Sum(e => e.Length):N0} bytes, packed {new FileInfo(Built.Container).Length:N0}"));
    }

    [Fact]
    public async Task It_serves_with_a_read_only_root_and_no_rights_and_SIGTERM_loses_nothing_that_was_accepted()
    {
        using var container = await ControllerContainer.LoadAsync();
        await using var lab = await Mayfly.Lab.Lab.StartAsync(new LabOptions());
        lab.Templates.Load(Demo.LaunchTemplate, "ami-0123456789abcdef0");

        var clock = Stopwatch.StartNew();
        await using var first = await StartAsync(lab, container);
        output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"podman run to /healthz: {clock.Elapsed.TotalMilliseconds:F0} ms"));
        var status = await File.ReadAllLinesAsync($"/proc/{await container.ProcessIdAsync()}/status", TestContext.Current.CancellationToken);
        foreach (var line in (string[])["Uid:\t65532\t65532\t65532\t65532", "Gid:\t65532\t65532\t65532\t65532", "NoNewPrivs:\t1", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000"])
            Assert.Contains(line, status);

        await container.PodmanAsync("exec", ControllerContainer.Name, "/app/mayfly-controller", "--health");

        // SIGTERM in the middle of a stream of deliveries: while some are launched, others only stored, and one under way.
        var accepted = new List<long>();
        for (var stopping = Task.FromResult(-1); ;)
        {
            var (job, answer) = await lab.GitHub.Jobs.QueueAsync("build", Labels, []);
            if (answer != 202)
            {
                Assert.Equal(0, await stopping.WaitAsync(Limit, TestContext.Current.CancellationToken));
                break;
            }

            accepted.Add(job.Id);
            if (accepted.Count == 5)
                stopping = first.StopAsync();
        }

        await using var second = await StartAsync(lab, container);
        foreach (var id in accepted)
            await lab.Journal.WaitForAsync(e => e is { Source: "ssm", Name: "parameter stored" } && MachinesFor(id).Any(m => e.Subject == ConfigParameter.NameFor(m.Id)), Limit, TestContext.Current.CancellationToken);
        Assert.Equal(0, await second.StopAsync());
        Assert.All(accepted, id => Assert.Single(lab.Ssm.Parameters, p => p.Name == ConfigParameter.NameFor(Assert.Single(MachinesFor(id)).Id)));
        output.WriteLine($"accepted before it stopped: {accepted.Count}");

        IEnumerable<Instance> MachinesFor(long job) =>
            lab.Fleet.Instances.Where(i => i.State is InstanceState.Pending or InstanceState.Running && i.Tags[Tags.Launch].Contains($"{job}", StringComparison.Ordinal));
    }

    private Task<ControllerProcess> StartAsync(Lab.Lab lab, ControllerContainer container) =>
        ControllerProcess.StartAsync(lab, container.Program, container.Folder, null, output.WriteLine, new Dictionary<string, string>
        {
            ["ASPNETCORE_URLS"] = $"http://127.0.0.1:{ControllerProcess.FreePort()}", // by which the health check finds it
        });

    /// <summary>The entries of the only layer.</summary>
    private static async Task<IReadOnlyList<(string Name, TarEntryType Type, UnixFileMode Mode, int Owner, long Length)>> ReadLayerAsync(string archive)
    {
        var blobs = new Dictionary<string, byte[]>();
        await using (var file = File.OpenRead(archive))
        await using (var outer = new TarReader(file))
        {
            while (await outer.GetNextEntryAsync(copyData: true, TestContext.Current.CancellationToken) is { } entry)
            {
                using var content = new MemoryStream();
                await (entry.DataStream ?? Stream.Null).CopyToAsync(content, TestContext.Current.CancellationToken);
                blobs[entry.Name.TrimStart('.', '/')] = content.ToArray();
            }
        }

        var manifest = Json(blobs["index.json"]).GetProperty("manifests")[0];
        var layer = Assert.Single(Json(Blob(manifest)).GetProperty("layers").EnumerateArray());
        await using var inner = new TarReader(new GZipStream(new MemoryStream(Blob(layer)), CompressionMode.Decompress));
        var entries = new List<(string, TarEntryType, UnixFileMode, int, long)>();
        while (await inner.GetNextEntryAsync(copyData: false, TestContext.Current.CancellationToken) is { } entry)
            entries.Add((entry.Name.Trim('/'), entry.EntryType, entry.Mode, entry.Uid, entry.Length));
        return entries;

        byte[] Blob(JsonElement of) => blobs[$"blobs/{of.GetProperty("digest").GetString()!.Replace(':', '/')}"];
        static JsonElement Json(byte[] text) => JsonDocument.Parse(text).RootElement;
    }
}
