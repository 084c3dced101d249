using System.Collections.Concurrent;
using System.Diagnostics;
using System.Text.Json.Nodes;
using Mayfly.Aws;
using Mayfly.Contract;
using Mayfly.Lab;
using Mayfly.Lab.Aws;
using Mayfly.Lab.Ec2;
using Mayfly.Lab.GitHub;
using Mayfly.Lab.Machines;

namespace Mayfly.Bench;

/// <summary>One boot from power-on, firmware included, until its runner listens for jobs.</summary>
/// <param name="PowerOnToAgent">Seconds until the agent, or the script in its place, runs as a service.</param>
/// <param name="Reads">Of the root disk.</param>
/// <param name="Console">Each line with the seconds since power-on at which it was seen.</param>
internal sealed record BootRun(double PowerOnToAgent, double PowerOnToListening, DiskReads Reads, IReadOnlyList<(double At, string Line)> Console);

/// <summary>Boots a root disk in a virtual machine: the image's, whose agent takes its configuration from SSM, or the
/// baseline's, whose script has it in its user data.</summary>
internal static class RootBoot
{
    private const string ImageId = "ami-0123456789abcdef0";
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(4);
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(20);

    /// <summary>What the agent's first line as a service says.</summary>
    public const string ServiceBegan = "the agent runs as a service";

    /// <summary>How the line begins in which the agent tells how long systemd's units took.</summary>
    public const string UnitsTold = "systemd took: ";

    /// <param name="extra">Further arguments for QEMU.</param>
    /// <param name="interrupt">Whether to end it by a non-maskable interrupt, and to wait until it has written what that makes
    /// it write.</param>
    /// <param name="tell">Whether the agent is to tell of systemd's units, which makes it read more.</param>
    public static Task<BootRun> OfImageAsync(Bed bed, string folder, IReadOnlyList<string> extra, bool tell, CancellationToken cancel, bool interrupt = false) =>
        RunAsync(Path.Combine(bed.Image, "disk.raw"), folder, tell, StoreAsync, _ => Task.FromResult(extra), line => Told(line)?.Detail == ServiceBegan,
            [line => Told(line)?.Name == Milestone.RunnerListening, .. tell ? new Func<string, bool>[] { line => Told(line)?.Detail.StartsWith(UnitsTold, StringComparison.Ordinal) == true } : []], interrupt, cancel);

    public static Task<BootRun> OfBaselineAsync(Bed bed, string folder, CancellationToken cancel) =>
        RunAsync(bed.Baseline, folder, tell: false, (_, _, _, _) => Task.CompletedTask, config => SeedAsync(folder, config, cancel),
            line => line == "bench: agent", [line => line.EndsWith(": Listening for Jobs", StringComparison.Ordinal)], interrupt: false, cancel);

    private static async Task<BootRun> RunAsync(
        string disk, string folder, bool tell, Func<Lab.Lab, Instance, string, CancellationToken, Task> storeAsync, Func<string, Task<IReadOnlyList<string>>> extraAsync,
        Func<string, bool> isAgent, Func<string, bool>[] until, bool interrupt, CancellationToken cancel)
    {
        Directory.CreateDirectory(folder);
        var clock = Stopwatch.StartNew();
        var told = new ConcurrentQueue<(double At, string Line)>();
        var last = new TaskCompletionSource<DiskReads>(TaskCreationOptions.RunContinuationsAsynchronously);
        QemuMachine? machine = null;
        IReadOnlyList<string> extra = [];
        await using var lab = await Lab.Lab.StartAsync(new LabOptions
        {
            Inside = LabNetwork.Inside,
            Imds = LabNetwork.Metadata,
            Machine = (lab, instance) => machine = new QemuMachine(instance, new QemuOptions(disk, $"AWS_ENDPOINT_URL_SSM=http://{LabNetwork.Inside}:{lab.AwsAddress.Port}\n", folder, Limit)
            {
                Extra = extra,
                OnConsoleLine = (i, line) =>
                {
                    told.Enqueue(((TimeProvider.System.GetUtcNow() - machine!.PoweredOn).TotalSeconds, line));
                    if (until.Any(seen => seen(line)) && until.All(seen => told.Any(t => seen(t.Line))))
                        _ = FinishAsync(machine, last, interrupt);
                },
            }, TimeProvider.System),
        });
        lab.Templates.Load(Template(tell), ImageId);
        var config = lab.GitHub.Runners.Register("bench", ["mayfly"], "_work").EncodeJitConfig(lab.GitHub.PublicAddress);
        extra = await extraAsync(config);
        var query = new Dictionary<string, string> { ["MinCount"] = "1", ["MaxCount"] = "1", ["LaunchTemplate.LaunchTemplateName"] = "mayfly" };
        _ = lab.Fleet.RunInstances(new QueryInput(query)).ToList();
        var instance = lab.Fleet.Instances.Single();
        await storeAsync(lab, instance, config, cancel);
        while (machine is null)
            await Task.Delay(Pause, TimeProvider.System, cancel);
        await Task.WhenAny(last.Task, machine.Ended);
        if (!until.All(seen => told.Any(t => seen(t.Line))))
            throw new InvalidOperationException($"the machine ended before its runner listened:\n{string.Join('\n', told.TakeLast(30).Select(t => t.Line))}");
        machine.Kill();
        await machine.Ended;
        var console = told.ToList();
        return new BootRun(console.First(l => isAgent(l.Line)).At, console.First(l => until[0](l.Line)).At, await last.Task, console);
    }

    public static ConsoleEvent? Told(string line) => ConsoleLine.ParseEvent(line);

    private static async Task FinishAsync(QemuMachine machine, TaskCompletionSource<DiskReads> last, bool interrupt)
    {
        try
        {
            using var monitor = await QemuMonitor.ConnectAsync(machine.MonitorSocket, CancellationToken.None);
            var reads = await monitor.ReadsAsync("root", CancellationToken.None);
            if (interrupt)
            {
                _ = await monitor.ExecuteAsync("inject-nmi", null, CancellationToken.None);
                await machine.Ended;
            }

            last.TrySetResult(reads);
        }
        catch (Exception e) when (e is IOException or System.Net.Sockets.SocketException or InvalidOperationException or OperationCanceledException)
        {
            last.TrySetException(e);
        }
    }

    /// <summary>Stores the runner's configuration for the machine, as the controller would.</summary>
    private static async Task StoreAsync(Lab.Lab lab, Instance instance, string config, CancellationToken cancel)
    {
        using var files = RunnerFiles.ParseJitConfig(config);
        Environment.SetEnvironmentVariable("AWS_ENDPOINT_URL_SSM", lab.AwsAddress.AbsoluteUri);
        using var connection = AwsConnection.To("ssm", lab.Options.Region, new AwsKeys(lab.User.Id, lab.User.Secret, null), TimeSpan.FromSeconds(10), TimeProvider.System);
        await new SsmClient(connection).PutSecureStringAsync(ConfigParameter.NameFor(instance.Id), Envelope.Pack(files),
            new Dictionary<string, string> { [ConfigParameter.InstanceTag] = instance.Arn }, cancel);
    }

    /// <summary>A disk with user data, as cloud-init finds it without a metadata service that serves any.</summary>
    private static async Task<IReadOnlyList<string>> SeedAsync(string folder, string config, CancellationToken cancel)
    {
        var (seed, userData, metaData) = (Path.Combine(folder, "seed.raw"), Path.Combine(folder, "user-data"), Path.Combine(folder, "meta-data"));
        var script = await File.ReadAllTextAsync(Path.Combine(AppContext.BaseDirectory, "baseline", "user-data.sh"), cancel);
        await File.WriteAllTextAsync(userData, script.Replace("@CONFIG@", config, StringComparison.Ordinal), cancel);
        await File.WriteAllTextAsync(metaData, "instance-id: bench\nlocal-hostname: bench\n", cancel);
        _ = await ScriptMachine.RunAsync("/usr/sbin/mkfs.vfat", ["-n", "CIDATA", "-C", seed, "1024"], cancel);
        _ = await ScriptMachine.RunAsync("/usr/bin/mcopy", ["-i", seed, userData, metaData, "::/"], cancel);
        return ["-drive", $"id=seed,if=none,format=raw,snapshot=on,file={seed}", "-device", "nvme,drive=seed,serial=seed"];
    }

    private static string Template(bool tell)
    {
        var template = JsonNode.Parse(Demo.LaunchTemplate)!;
        template["LaunchTemplateData"]!["TagSpecifications"] = new JsonArray(new JsonObject
        {
            ["ResourceType"] = "instance",
            ["Tags"] = new JsonArray(new JsonObject { ["Key"] = Tags.Check, ["Value"] = tell ? "true" : "false" }),
        });
        return template.ToJsonString();
    }
}
