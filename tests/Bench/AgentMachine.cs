using System.Collections.Concurrent;
using System.Globalization;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Mayfly.Contract;
using Mayfly.Lab;
using Mayfly.Lab.Machines;

namespace Mayfly.Bench;

/// <summary>What one boot of the image took, in milliseconds.</summary>
/// <param name="Scratch">From the verified root to scratch, mounted.</param>
/// <param name="Initrd">From PID 1's first act to the handover.</param>
/// <param name="InitrdProcessor">Processor time of PID 1 and its programs within that.</param>
/// <param name="PowerOnToRunner">From QEMU's start, firmware included, to the runner's.</param>
internal sealed record BootTimes(double Scratch, double Initrd, double InitrdProcessor, double PowerOnToRunner);

/// <summary>Boots the image with a scratch volume of 900 GiB, gives it a job through the controller, and switches it off when
/// its runner starts.</summary>
internal static partial class AgentMachine
{
    public const int ScratchGiB = 900;

    private const string ImageId = "ami-0123456789abcdef0";
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(4);

    public static async Task<BootTimes> BootAsync(Bed bed, string folder, CancellationToken cancel)
    {
        Directory.CreateDirectory(folder);
        QemuMachine? machine = null;
        var told = new ConcurrentDictionary<string, ConsoleEvent>();
        await using var lab = await Lab.Lab.StartAsync(new LabOptions
        {
            Inside = LabNetwork.Inside,
            Imds = LabNetwork.Metadata,
            Machine = (lab, instance) => machine = new QemuMachine(instance, new QemuOptions(Path.Combine(bed.Image, "disk.raw"),
                $"AWS_ENDPOINT_URL_SSM=http://{LabNetwork.Inside}:{lab.AwsAddress.Port}\n", folder, Limit)
            {
                OnConsoleLine = (i, line) =>
                {
                    if (ConsoleLine.ParseEvent(line) is not { } e)
                        return;
                    told[e.Name] = e;
                    lab.Journal.Record("console", e.Name, i.Id, e.Detail);
                },
            }, TimeProvider.System),
        });
        lab.Templates.Load(TemplateWith(ScratchGiB), ImageId);
        await using var controller = await ControllerProcess.StartAsync(lab, bed.Controller, Path.Combine(folder, "controller"), aws: null, _ => { });
        _ = await lab.GitHub.Jobs.QueueAsync("bench", ["mayfly"], ["true"]);
        var started = await lab.Journal.WaitForAsync(e => e is { Source: "console", Name: Milestone.RunnerStarted or Milestone.Ending }, Limit, cancel);
        if (started.Name != Milestone.RunnerStarted)
            throw new InvalidOperationException($"the machine ended before its runner started: {started.Detail}");
        var laid = InitrdTimes().Match(told[Milestone.ViewLaid].Detail);
        var result = new BootTimes(
            1000 * (told[Milestone.ScratchReady].At - told[Milestone.RootVerified].At),
            1000 * (told[Milestone.ViewLaid].At - Number(laid.Groups[1].Value)),
            1000 * Number(laid.Groups[2].Value),
            (started.At - machine!.PoweredOn).TotalMilliseconds);
        machine.Kill();
        await machine.Ended;
        return result;
    }

    private static string TemplateWith(int gibibytes)
    {
        var template = JsonNode.Parse(Demo.LaunchTemplate)!;
        template["LaunchTemplateData"]!["BlockDeviceMappings"]![0]!["Ebs"]!["VolumeSize"] = gibibytes;
        return template.ToJsonString();
    }

    private static double Number(string text) => double.Parse(text, CultureInfo.InvariantCulture);

    [GeneratedRegex(@"in the initrd since ([\d.]+) s, ([\d.]+) s of CPU")]
    private static partial Regex InitrdTimes();
}
