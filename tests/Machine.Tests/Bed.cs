using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using System.Text.Json.Nodes;
using Mayfly.Contract;
using Mayfly.Lab;
using Mayfly.Lab.Aws;
using Mayfly.Lab.Ec2;
using Mayfly.Lab.Machines;
using Xunit;

[assembly: CollectionBehavior(DisableTestParallelization = true)] // two emulated machines at once take twice as long each

namespace Mayfly.Machine.Tests;

/// <summary>A lab whose instances are the built image in virtual machines.</summary>
internal sealed class Bed : IAsyncDisposable
{
    /// <summary>A machine is up in 20 s where nothing else runs; CI's may be ten times slower.</summary>
    public static readonly TimeSpan Limit = TimeSpan.FromMinutes(4);

    /// <summary>A machine that is waited for in vain lives so much longer, to be asked why.</summary>
    private static readonly TimeSpan TimeToTell = TimeSpan.FromSeconds(30);

    private const string ImageId = "ami-0123456789abcdef0";

    /// <summary>What a check looks at.</summary>
    public const int Guarantees = 13;

    /// <summary>The template's device for scratch and swap; its first is the root.</summary>
    private const string ScratchDevice = "/dev/sdb";

    private static bool s_networkLaid;

    private readonly string _folder = Directory.CreateTempSubdirectory("mayfly-bed-").FullName;
    private readonly ConcurrentQueue<string> _console = new();

    /// <summary>Bound, and listening once the machine has told all that its check found.</summary>
    private readonly Socket _checked = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);

    private readonly TimeSpan _limit;

    private readonly IReadOnlyDictionary<string, string> _tags;

    private Bed(TimeSpan limit, IReadOnlyDictionary<string, string> tags) => (_limit, _tags) = (limit, tags);

    public Lab.Lab Lab { get; private set; } = null!;

    public string Folder => _folder;

    public ConcurrentQueue<string> ControllerLog { get; } = new();

    /// <summary>All that the machines wrote to their serial consoles.</summary>
    public IReadOnlyList<string> Console => [.. _console];

    public ConsoleEnding? Ending => Console.Select(ConsoleLine.ParseEnding).LastOrDefault(e => e is not null);

    /// <param name="tags">For each instance, as an operator would put them into the launch template.</param>
    /// <param name="instanceType">Instead of the template's.</param>
    /// <param name="volumeGiB">Size of the template's scratch volume.</param>
    /// <param name="machine">Alters how machines are made.</param>
    /// <param name="limit">Instead of <see cref="Limit"/>.</param>
    public static async Task<Bed> MakeAsync(
        string? disk = null, Action<string>? prepareVolume = null, IReadOnlyDictionary<string, string>? tags = null, string? instanceType = null, int? volumeGiB = null,
        Func<QemuOptions, QemuOptions>? machine = null, TimeSpan? limit = null)
    {
        await LayNetworkAsync();
        var bed = new Bed(limit ?? Limit, tags ?? new Dictionary<string, string>());
        disk ??= Built.Image;
        bed.Lab = await Mayfly.Lab.Lab.StartAsync(new LabOptions
        {
            Inside = LabNetwork.Inside,
            Imds = LabNetwork.Metadata,
            Machine = (lab, instance) =>
            {
                var options = new QemuOptions(disk,
                    $"AWS_ENDPOINT_URL_SSM=http://{LabNetwork.Inside}:{lab.AwsAddress.Port}\nAWS_ENDPOINT_URL_EC2=http://{LabNetwork.Inside}:{lab.AwsAddress.Port}\n", bed._folder, bed._limit + TimeToTell)
                {
                    OnConsoleLine = bed.OnConsoleLine,
                    PrepareVolume = prepareVolume,
                };
                return new QemuMachine(instance, machine?.Invoke(options) ?? options, TimeProvider.System);
            },
        });
        bed.Lab.Templates.Load(Template(tags, instanceType, volumeGiB), ImageId);
        return bed;
    }

    /// <summary>Runs one job on one machine, with the published controller, until the machine has ended.</summary>
    /// <returns>What its steps printed, line by line.</returns>
    public async Task<IReadOnlyList<string>> RunJobAsync(params string[] steps)
    {
        await using var controller = await ControllerProcess.StartAsync(Lab, Built.Controller, Path.Combine(_folder, "controller"), aws: null, ControllerLog.Enqueue, await WritePolicyAsync());
        var (job, status) = await Lab.GitHub.Jobs.QueueAsync("tested", ["mayfly"], steps);
        Assert.Equal(202, status);
        await WaitForAsync("ec2", "instance terminated");
        var output = Lab.GitHub.Broker.StepsOutput(job.Id);
        Assert.True(job.Conclusion == "success", $"the job's conclusion is {job.Conclusion}, the machine's ending {Ending?.Ending}; its steps printed:\n{string.Join('\n', output)}");
        return output;
    }

    /// <summary>A job's step that ends once the check is through that begins with the job.</summary>
    public string StepUntilChecked()
    {
        _checked.Bind(new IPEndPoint(LabNetwork.Inside, 0));
        var told = 0;
        Lab.Journal.Recorded += e =>
        {
            if (e.Source == "console" && e.Detail.StartsWith("check ", StringComparison.Ordinal) && Interlocked.Increment(ref told) == Guarantees)
                _checked.Listen();
        };
        var at = (IPEndPoint)_checked.LocalEndPoint!;
        return $"for try in $(seq {_limit.TotalSeconds:F0}); do (exec 3<> /dev/tcp/{at.Address}/{at.Port}) 2> /dev/null && break; sleep 1; done";
    }

    /// <summary>Of root and of egress the policy orders, whatever the launch template says.</summary>
    private async Task<Dictionary<string, string>> WritePolicyAsync()
    {
        var file = Path.Combine(_folder, "policy.yaml");
        await File.WriteAllTextAsync(file, $$"""
            default:
              allow: {sudo: true}
              defaults: {sudo: {{_tags.GetValueOrDefault(Tags.Sudo, "false")}}, egress: {{_tags.GetValueOrDefault(Tags.Egress, "open")}}}

            """);
        return new Dictionary<string, string> { ["Mayfly__Policy"] = file };
    }

    /// <summary>Launches a machine without a controller; parameters as RunInstances takes them.</summary>
    public Instance Launch(params (string Name, string Value)[] parameters)
    {
        var query = new Dictionary<string, string> { ["MinCount"] = "1", ["MaxCount"] = "1", ["LaunchTemplate.LaunchTemplateName"] = "mayfly" };
        foreach (var (name, value) in parameters)
            query[name] = value;
        _ = Lab.Fleet.RunInstances(new QueryInput(query));
        return Lab.Fleet.Instances.Single();
    }

    /// <summary>Ends the machine as TerminateInstances does.</summary>
    public void Terminate() => _ = Lab.Fleet.Terminate(new QueryInput(new Dictionary<string, string> { ["InstanceId.1"] = Lab.Fleet.Instances.Single().Id }));

    /// <summary>Stores a parameter as the controller would.</summary>
    public async Task StoreAsync(Instance instance, string envelope)
    {
        var credentials = new Aws.AwsKeys(Lab.User.Id, Lab.User.Secret, null);
        Environment.SetEnvironmentVariable("AWS_ENDPOINT_URL_SSM", Lab.AwsAddress.AbsoluteUri);
        using var connection = Aws.AwsConnection.To("ssm", Lab.Options.Region, credentials, TimeSpan.FromSeconds(60), TimeProvider.System);
        await new Aws.SsmClient(connection).PutSecureStringAsync(ConfigParameter.NameFor(instance.Id), envelope,
            new Dictionary<string, string> { [ConfigParameter.InstanceTag] = instance.Arn }, CancellationToken.None);
    }

    /// <summary>Waits for an event; a machine that ends without it fails the test at once, with its last words.</summary>
    public async Task<LabEvent> WaitForAsync(string source, string name)
    {
        try
        {
            var first = await Lab.Journal.WaitForAsync(e => (e.Source == source && e.Name == name) || e is { Source: "ec2", Name: "instance terminated" },
                _limit, TestContext.Current.CancellationToken);
            return first.Name == name ? first : throw new InvalidOperationException($"the machine ended before '{name}': {Ending?.Ending}: {Ending?.Detail}; its console's last lines:\n{LastLines()}");
        }
        catch (TimeoutException e)
        {
            throw new TimeoutException($"{e.Message}\n{await ((QemuMachine)Lab.Fleet.Instances.Single().Machine!).DescribeAsync()}; its console's last lines:\n{LastLines()}", e);
        }

        string LastLines() => string.Join('\n', Console.TakeLast(30));
    }

    public async ValueTask DisposeAsync()
    {
        var alive = Lab.Fleet.Instances.Select(i => i.Machine!.Ended).ToList();
        await Lab.DisposeAsync();
        await Task.WhenAll(alive);
        _checked.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    private static async Task LayNetworkAsync()
    {
        // Only before the first machine: the kernel takes a machine's namespace, and its cable's end here, away in its own time.
        if (s_networkLaid)
            return;
        if (File.ReadLines("/proc/net/dev").Skip(2).Count() > 1)
            Assert.Skip("virtual machines need a network namespace of their own: run ./build.sh --target=Test");
        await LabNetwork.LayAsync();
        s_networkLaid = true;
    }

    private static string Template(IReadOnlyDictionary<string, string>? tags, string? instanceType, int? volumeGiB)
    {
        var template = JsonNode.Parse(Mayfly.Lab.Demo.LaunchTemplate)!;
        var data = template["LaunchTemplateData"]!;
        if (tags is not null)
        {
            data["TagSpecifications"] = new JsonArray(new JsonObject
            {
                ["ResourceType"] = "instance",
                ["Tags"] = new JsonArray([.. tags.Select(t => new JsonObject { ["Key"] = t.Key, ["Value"] = t.Value })]),
            });
        }

        if (instanceType is not null)
            data["InstanceType"] = instanceType;
        if (volumeGiB is not null)
            data["BlockDeviceMappings"]!.AsArray().Single(d => (string?)d!["DeviceName"] == ScratchDevice)!["Ebs"]!["VolumeSize"] = volumeGiB;
        return template.ToJsonString();
    }

    private void OnConsoleLine(Instance instance, string line)
    {
        _console.Enqueue(line);
        if (line.Contains("BdsDxe: failed to load", StringComparison.Ordinal))
            Lab.Journal.Record("firmware", "boot refused", instance.Id, line);
        if (ConsoleLine.ParseEvent(line) is { } e)
            Lab.Journal.Record("console", e.Name, instance.Id, e.Detail);
    }
}
