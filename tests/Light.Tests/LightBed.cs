using System.Collections.Concurrent;
using Mayfly.Contract;
using Mayfly.Lab.Aws;
using Mayfly.Lab.Ec2;
using Mayfly.Lab.GitHub;
using Mayfly.Lab.Machines;
using Mayfly.Light.Tests;
using Mayfly.Machine.Tests;
using Xunit;

[assembly: AssemblyFixture(typeof(LightBed))]
[assembly: CollectionBehavior(MaxParallelThreads = 3)] // a light machine mostly waits

namespace Mayfly.Light.Tests;

/// <summary>One lab for all tests of this project; its instances are the built image as containers, several at a time.</summary>
public sealed class LightBed : IAsyncLifetime
{
    /// <summary>Tells the bed, not the agent: what the runner's phases may take, as a factor.</summary>
    public const string PatienceTag = "light:patience";

    /// <summary>The same: a line for the agent's unit.</summary>
    public const string UnitTag = "light:unit";

    /// <summary>The same: a further argument for systemd-nspawn.</summary>
    public const string ArgumentTag = "light:argument";

    /// <summary>The same: by which host the machine finds AWS, if not by the lab's address.</summary>
    public const string AwsHostTag = "light:aws-host";

    private const string ImageId = "ami-0123456789abcdef0";

    /// <summary>Ends a machine that a test has forgotten. Longer than any test waits.</summary>
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(4);

    private readonly string _folder = Directory.CreateTempSubdirectory("mayfly-light-").FullName;
    private readonly ConcurrentDictionary<string, ConcurrentQueue<string>> _consoles = new();
    private int _count;

    /// <summary>Whether this started in a fresh namespace: only that has no device but the loopback. Machines bring theirs.</summary>
    internal static bool IsPossible { get; } = File.ReadLines("/proc/net/dev").Skip(2).Count() <= 1;

    internal Lab.Lab Lab { get; private set; } = null!;

    public async ValueTask InitializeAsync()
    {
        if (!IsPossible)
            return;
        await LabNetwork.LayAsync();
        Lab = await Mayfly.Lab.Lab.StartAsync(new Lab.LabOptions
        {
            Inside = LabNetwork.Inside,
            Imds = LabNetwork.Metadata,
            Machine = (lab, instance) => new NspawnMachine(instance, new NspawnOptions(Built.Path("artifacts/image/root.part"), AwsEnvironment(lab, instance), _folder, Limit)
            {
                OnConsoleLine = OnConsoleLine,
                Arguments = instance => instance.Tags.TryGetValue(ArgumentTag, out var argument) ? [argument] : [],
                UnitDropIn = instance => $"[Service]\nEnvironment=MAYFLY_PATIENCE={instance.Tags.GetValueOrDefault(PatienceTag, "1")}\n{instance.Tags.GetValueOrDefault(UnitTag, "")}\n",
            }),
        });
        Lab.Templates.Load(Mayfly.Lab.Demo.LaunchTemplate, ImageId);
        Environment.SetEnvironmentVariable("AWS_ENDPOINT_URL_SSM", Lab.AwsAddress.AbsoluteUri);
    }

    /// <summary>Registers a runner and launches a machine for it, as the controller would.</summary>
    /// <param name="fault">One of <see cref="RunnerFault"/> that is the registration's.</param>
    /// <param name="prepare">Done to the runner before the machine starts.</param>
    /// <param name="tags">Of the instance, beside its launch.</param>
    internal Task<LightRun> LaunchAsync(bool spot = false, string? fault = null, Action<Runner>? prepare = null, params (string Key, string Value)[] tags) =>
        LaunchWithAsync(null, spot, fault, prepare, tags);

    /// <summary>The same with this in its parameter instead of the runner's configuration.</summary>
    internal Task<LightRun> LaunchWithAsync(string envelope) => LaunchWithAsync(envelope, spot: false, fault: null, prepare: null, []);

    private async Task<LightRun> LaunchWithAsync(string? envelope, bool spot, string? fault, Action<Runner>? prepare, (string Key, string Value)[] tags)
    {
        if (!IsPossible)
            Assert.Skip("light machines need a network namespace of their own: run ./build.sh --target=Test");
        _ = Built.Image;
        var label = $"light-{Interlocked.Increment(ref _count)}";
        var runner = Lab.GitHub.Runners.Register(label, [label], "_work");
        runner.Fault = fault;
        prepare?.Invoke(runner);
        var query = new Dictionary<string, string>
        {
            ["MinCount"] = "1", ["MaxCount"] = "1", ["LaunchTemplate.LaunchTemplateName"] = "mayfly", ["TagSpecification.1.ResourceType"] = "instance",
            ["TagSpecification.1.Tag.1.Key"] = Tags.Launch, ["TagSpecification.1.Tag.1.Value"] = label,
        };
        if (spot)
            query["InstanceMarketOptions.MarketType"] = "spot";
        for (var i = 0; i < tags.Length; i++)
        {
            query[$"TagSpecification.1.Tag.{i + 2}.Key"] = tags[i].Key;
            query[$"TagSpecification.1.Tag.{i + 2}.Value"] = tags[i].Value;
        }

        var id = Lab.Fleet.RunInstances(new QueryInput(query)).SelectMany(e => e.DescendantsAndSelf()).First(e => e.Name.LocalName == "instanceId").Value;
        var instance = Lab.Fleet.Find(id);
        using var files = RunnerFiles.ParseJitConfig(runner.EncodeJitConfig(Lab.GitHub.PublicAddress));
        using var connection = Aws.AwsConnection.To("ssm", Lab.Options.Region, new Aws.AwsKeys(Lab.User.Id, Lab.User.Secret, null), TimeSpan.FromSeconds(60), TimeProvider.System);
        await new Aws.SsmClient(connection).PutSecureStringAsync(ConfigParameter.NameFor(id), envelope ?? Envelope.Pack(files),
            new Dictionary<string, string> { [ConfigParameter.InstanceTag] = instance.Arn }, TestContext.Current.CancellationToken);
        return new LightRun(Lab, instance, runner, label, ConsoleOf(id));
    }

    public async ValueTask DisposeAsync()
    {
        if (Lab is not null)
        {
            var alive = Lab.Fleet.Instances.Select(i => i.Machine!.Ended).ToList();
            await Lab.DisposeAsync();
            await Task.WhenAll(alive);
        }

        Directory.Delete(_folder, recursive: true);
    }

    private static string AwsEnvironment(Lab.Lab lab, Instance instance)
    {
        var address = $"http://{instance.Tags.GetValueOrDefault(AwsHostTag, $"{LabNetwork.Inside}")}:{lab.AwsAddress.Port}";
        return $"AWS_ENDPOINT_URL_SSM={address}\nAWS_ENDPOINT_URL_EC2={address}\n";
    }

    private ConcurrentQueue<string> ConsoleOf(string instanceId) => _consoles.GetOrAdd(instanceId, _ => new ConcurrentQueue<string>());

    private void OnConsoleLine(Instance instance, string line)
    {
        ConsoleOf(instance.Id).Enqueue(line);
        if (ConsoleLine.ParseEvent(line) is { } e)
            Lab.Journal.Record("console", e.Name, instance.Id, e.Detail);
    }
}
