using Mayfly.Aws;
using Mayfly.Contract;
using Mayfly.Lab;
using Mayfly.Lab.Aws;
using Mayfly.Lab.Ec2;
using Mayfly.Lab.GitHub;
using Mayfly.Lab.Machines;

namespace Mayfly.Bench;

/// <summary>
/// A lab whose machines are the image's root as a container on this machine's kernel, and a machine in it: the real agent as
/// a service of the image's own systemd, without a virtual machine's slowness in between.
/// </summary>
internal sealed class LightMachine : IAsyncDisposable
{
    private const string ImageId = "ami-0123456789abcdef0";
    private const string Label = "bench";

    /// <summary>Ends a machine whose measurement hangs. The longest job runs for three minutes.</summary>
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(6);

    private readonly Lab.Lab _lab;
    private readonly Runner _runner;
    private readonly Instance _instance;

    private readonly string _folder;

    private LightMachine(Lab.Lab lab, Runner runner, Instance instance, string folder) => (_lab, _runner, _instance, _folder) = (lab, runner, instance, folder);

    public NspawnMachine Machine => (NspawnMachine)_instance.Machine!;

    /// <summary>Where the machine finds SSM and EC2.</summary>
    public string AwsAddress => $"http://{LabNetwork.Inside}:{_lab.AwsAddress.Port}";

    /// <param name="unitDropIn">For the agent's unit; empty for none.</param>
    public static async Task<LightMachine> StartAsync(Bed bed, bool spot, string unitDropIn, CancellationToken cancel)
    {
        var lab = await Lab.Lab.StartAsync(new LabOptions
        {
            Inside = LabNetwork.Inside,
            Imds = LabNetwork.Metadata,
            Machine = (lab, instance) => Container(lab, instance, bed, unitDropIn),
        });
        lab.Templates.Load(Demo.LaunchTemplate, ImageId);
        var runner = lab.GitHub.Runners.Register(Label, [Label], "_work");
        var query = new Dictionary<string, string> { ["MinCount"] = "1", ["MaxCount"] = "1", ["LaunchTemplate.LaunchTemplateName"] = "mayfly" };
        if (spot)
            query["InstanceMarketOptions.MarketType"] = "spot";
        var id = lab.Fleet.RunInstances(new QueryInput(query)).SelectMany(e => e.DescendantsAndSelf()).First(e => e.Name.LocalName == "instanceId").Value;
        var machine = new LightMachine(lab, runner, lab.Fleet.Find(id), bed.Folder);
        await machine.StoreConfigAsync(cancel);
        return machine;
    }

    /// <summary>Stores the runner's configuration for this machine, as the controller would.</summary>
    public async Task StoreConfigAsync(CancellationToken cancel)
    {
        using var files = RunnerFiles.ParseJitConfig(_runner.EncodeJitConfig(_lab.GitHub.PublicAddress));
        Environment.SetEnvironmentVariable("AWS_ENDPOINT_URL_SSM", _lab.AwsAddress.AbsoluteUri);
        using var connection = AwsConnection.To("ssm", _lab.Options.Region, new AwsKeys(_lab.User.Id, _lab.User.Secret, null), TimeSpan.FromSeconds(10), TimeProvider.System);
        await new SsmClient(connection).PutSecureStringAsync(ConfigParameter.NameFor(_instance.Id), Envelope.Pack(files),
            new Dictionary<string, string> { [ConfigParameter.InstanceTag] = _instance.Arn }, cancel);
    }

    public Task QueueAsync(string step) => _lab.GitHub.Jobs.QueueAsync("bench", [Label], [step]);

    /// <exception cref="InvalidOperationException">The machine ended before: carries its console.</exception>
    public async Task WaitForAsync(string milestone, CancellationToken cancel)
    {
        var first = await _lab.Journal.WaitForAsync(e => e is { Source: "console", Name: Milestone.Ending } or { Source: "ec2", Name: "instance terminated" } || e.Name == milestone, Limit, cancel);
        if (first.Name != milestone)
            throw new InvalidOperationException($"the machine ended before '{milestone}':\n{Machine.ReadConsole()}");
    }

    /// <summary>Waits for a file below the machine's <c>/run/mayfly</c>.</summary>
    public Task WaitForFileAsync(string name, CancellationToken cancel) => WaitUntilAsync(Path.Combine(_folder, $"{_instance.Id}.run", name), File.Exists, cancel);

    /// <summary>What a file of the machine says, once it says something.</summary>
    /// <param name="path">As the machine's first process sees it.</param>
    public async Task<string> WaitForTextAsync(string path, CancellationToken cancel)
    {
        var file = $"/proc/{Machine.InitProcessId()}/root{path}";
        await WaitUntilAsync(file, f => new FileInfo(f) is { Exists: true, Length: > 0 }, cancel);
        return await File.ReadAllTextAsync(file, cancel);
    }

    private async Task WaitUntilAsync(string file, Func<string, bool> isThere, CancellationToken cancel)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromMinutes(1));
        while (!isThere(file))
        {
            if (limit.IsCancellationRequested || Machine.Ended.IsCompleted)
                throw new InvalidOperationException($"no '{Path.GetFileName(file)}' from the machine:\n{Machine.ReadConsole()}");
            await Task.Delay(TimeSpan.FromMilliseconds(20), TimeProvider.System, cancel);
        }
    }

    public async ValueTask DisposeAsync()
    {
        Machine.Kill();
        await Machine.Ended;
        await _lab.DisposeAsync();
    }

    private static NspawnMachine Container(Lab.Lab lab, Instance instance, Bed bed, string unitDropIn)
    {
        var aws = $"http://{LabNetwork.Inside}:{lab.AwsAddress.Port}";
        return new NspawnMachine(instance, new NspawnOptions(Path.Combine(bed.Image, "root.part"),
            $"AWS_ENDPOINT_URL_SSM={aws}\nAWS_ENDPOINT_URL_EC2={aws}\n", bed.Folder, Limit)
        {
            UnitDropIn = _ => unitDropIn,
            OnConsoleLine = (i, line) =>
            {
                if (ConsoleLine.ParseEvent(line) is { } e)
                    lab.Journal.Record("console", e.Name, i.Id, e.Detail);
            },
        });
    }
}
