using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using Mayfly.Contract;
using Mayfly.Lab.Ec2;
using Mayfly.Lab.Machines;

namespace Mayfly.Lab;

/// <summary>
/// The main job on real input: GitHub sends a webhook, the published controller launches an instance, which is the built
/// image in a virtual machine, and the runner on it does one job. Fails if any part of it did not happen.
/// </summary>
internal static class Demo
{
    private const string ImageId = "ami-0123456789abcdef0";
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(4);

    /// <summary>What the job runs. It fails if the job could see what it should not.</summary>
    private static readonly string[] Steps =
    [
        "echo \"hello from $(hostname), as $(id -un) in $(pwd)\"",
        "test \"$(id -u)\" = 1001",
        "git init -q . && echo 'one job, one machine' > README && test -s README",
        "! curl -s --max-time 3 -o /dev/null -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' http://169.254.169.254/latest/api/token",
    ];

    /// <summary>A moment of the timeline: its name, which event it is, and who tells of it.</summary>
    private static readonly (string Name, string Source, string Event)[] Moments =
    [
        ("queued", "github", "webhook queued"),
        ("launched", "ec2", "instance launched"),
        ("kernel", "console", Milestone.KernelStarted),
        ("root verified", "console", Milestone.RootVerified),
        ("scratch", "console", Milestone.ScratchReady),
        ("swap", "console", Milestone.SwapReady),
        ("config taken", "console", Milestone.ConfigTaken),
        ("config deleted", "console", Milestone.ConfigDeleted),
        ("door closed", "console", Milestone.DoorClosed),
        ("runner listening", "console", Milestone.RunnerListening),
        ("job started", "console", Milestone.JobStarted),
        ("job done", "console", Milestone.JobDone),
        ("terminated", "ec2", "instance terminated"),
    ];

    public static string LaunchTemplate => File.ReadAllText(Path.Combine(AppContext.BaseDirectory, "launch-template.json"));

    public static async Task<int> RunAsync(string[] arguments)
    {
        var options = arguments.Select(a => a.Split('=', 2)).ToDictionary(a => a[0].TrimStart('-'), a => a.Length > 1 ? a[1] : "");
        var (image, controllerProgram, output) = (options["image"], options["controller"], options["out"]);
        Directory.CreateDirectory(output);
        var folder = Directory.CreateTempSubdirectory("mayfly-demo-").FullName;
        try
        {
            await LabNetwork.LayAsync();
            Say($"runner on the image: {RunnerOf(image)}");
            return await RunAsync(image, controllerProgram, output, folder, options.GetValueOrDefault("aws-proxy"));
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static async Task<int> RunAsync(string image, string controllerProgram, string output, string folder, string? proxyCommand)
    {
        QemuOptions? qemu = null;
        await using var lab = await Lab.StartAsync(new LabOptions
        {
            Inside = LabNetwork.Inside,
            Imds = LabNetwork.Metadata,
            Machine = (_, instance) => instance.Spec.ImageId == ImageId ? new QemuMachine(instance, qemu!, TimeProvider.System) : null,
        });
        await using var proxy = proxyCommand is null ? null : await AwsProxy.StartAsync(lab, proxyCommand, Path.Combine(output, "proxy.log"));
        var port = (proxy?.Address ?? lab.AwsAddress).Port;
        qemu = new QemuOptions(Path.Combine(image, "disk.raw"), $"AWS_ENDPOINT_URL_SSM=http://{LabNetwork.Inside}:{port}\nAWS_ENDPOINT_URL_EC2=http://{LabNetwork.Inside}:{port}\n", folder, Limit)
        {
            OnConsoleLine = (instance, line) => OnConsoleLine(lab.Journal, instance, line),
        };
        lab.Templates.Load(LaunchTemplate, ImageId);
        Say($"lab: AWS {lab.AwsAddress}, GitHub {lab.GitHubAddress}, metadata service {LabNetwork.Metadata}");

        await using var controller = await ControllerProcess.StartAsync(lab, controllerProgram, Path.Combine(folder, "controller"), proxy?.Address, line => Say($"controller | {line}"));
        Say($"controller: {controller.Address}");

        var clock = Stopwatch.StartNew();
        lab.Journal.Recorded += e => Say($"{clock.Elapsed.TotalSeconds,7:F2} s  {e.Source,-8} {e.Name}{(e.Detail.Length > 0 ? ": " + e.Detail : "")}");
        var start = TimeProvider.System.GetUtcNow();
        var (job, status) = await lab.GitHub.Jobs.QueueAsync("demo", ["mayfly"], Steps);
        var failures = new List<string>();
        if (status != 202)
            failures.Add($"the webhook was answered with {status}, not 202");

        LabEvent? terminated = null;
        using var cancel = new CancellationTokenSource();
        try
        {
            terminated = await lab.Journal.WaitForAsync(e => e is { Source: "ec2", Name: "instance terminated" }, Limit, cancel.Token);
        }
        catch (TimeoutException e)
        {
            failures.Add(e.Message);
        }

        var log = lab.GitHub.Broker.Logs.GetValueOrDefault(job.Id, "");
        foreach (var line in log.Split('\n', StringSplitOptions.RemoveEmptyEntries))
            Say($"job log    | {line}");
        failures.AddRange(Check(lab, job.Id, terminated));

        var timeline = Moments.Select(m => (m.Name, m.Source, Event: lab.Journal.Events.FirstOrDefault(e => e.Source == m.Source && e.Name == m.Event))).ToList();
        failures.AddRange(timeline.Where(m => m.Event is null).Select(m => $"'{m.Name}' did not happen"));
        Write(output, lab, timeline, start);
        Print(timeline, start);
        foreach (var failure in failures)
            Say($"FAILED: {failure}");
        Say(failures.Count == 0
            ? "one job ran on one machine, and nothing is left: instance terminated, parameter gone, runner removed"
            : $"the demo failed; the serial console is in {Path.Combine(output, "console.log")}");
        return failures.Count == 0 ? 0 : 1;
    }

    private static IEnumerable<string> Check(Lab lab, long jobId, LabEvent? terminated)
    {
        var job = lab.GitHub.Jobs.Find(jobId);
        if (job.Conclusion != "success")
            yield return $"the job's conclusion is '{job.Conclusion}'";
        if (lab.Ssm.Parameters.Count > 0)
            yield return $"parameters are left: {string.Join(", ", lab.Ssm.Parameters.Select(p => p.Name))}";
        if (lab.GitHub.Runners.All.Count > 0)
            yield return $"runners are left: {string.Join(", ", lab.GitHub.Runners.All.Select(r => r.Name))}";
        if (lab.Fleet.Instances.Count != 1)
            yield return $"{lab.Fleet.Instances.Count} instances were launched for one job";
        if (terminated is not null && !terminated.Detail.StartsWith("Client.InstanceInitiatedShutdown", StringComparison.Ordinal))
            yield return $"the instance did not end by itself: {terminated.Detail}";
    }

    private static void OnConsoleLine(Journal journal, Instance instance, string line)
    {
        if (ConsoleLine.ParseEvent(line) is { } e)
            journal.Record("console", e.Name, instance.Id, $"step {e.Step}{(e.Detail.Length > 0 ? ", " + e.Detail : "")}");
    }

    private static void Write(string output, Lab lab, List<(string Name, string Source, LabEvent? Event)> timeline, DateTimeOffset start)
    {
        File.WriteAllText(Path.Combine(output, "console.log"), string.Concat(lab.Fleet.Instances.Select(i => i.Machine?.ReadConsole())));
        File.WriteAllText(Path.Combine(output, "timeline.json"), JsonSerializer.Serialize(
            timeline.Where(m => m.Event is not null).Select(m => new { name = m.Name, seconds = Math.Round((m.Event!.At - start).TotalSeconds, 3), source = m.Source }), Indented));
    }

    private static readonly JsonSerializerOptions Indented = new() { WriteIndented = true };

    private static void Print(List<(string Name, string Source, LabEvent? Event)> timeline, DateTimeOffset start)
    {
        Say("");
        Say($"{"moment",-18} {"seconds",8}  told by");
        foreach (var (name, source, e) in timeline)
            Say($"{name,-18} {(e is null ? "never" : (e.At - start).TotalSeconds.ToString("F2", CultureInfo.InvariantCulture)),8}  {source}");
        Say("");
    }

    private static string RunnerOf(string image)
    {
        using var manifest = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(image, "manifest.json")));
        var runner = manifest.RootElement.GetProperty("runner");
        return $"{(runner.GetProperty("kind").GetString() == "official" ? "the official one" : "the stand-in for the official one")}, version {runner.GetProperty("version").GetString()}";
    }

    private static void Say(string text) => Console.WriteLine($"demo: {text}");
}
