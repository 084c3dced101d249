using System.Security.Cryptography;
using Amazon;
using Amazon.Runtime;
using Mayfly.Controller.Reconciliation;
using Mayfly.Controller.Seen;
using Mayfly.Lab;
using Mayfly.Lab.Ec2;
using Mayfly.Lab.GitHub;
using Mayfly.Lab.Machines;
using Microsoft.Extensions.Logging.Abstractions;

namespace Mayfly.Controller.Tests;

/// <summary>Reconciliation against the lab in one process, by a clock that is moved by hand.</summary>
internal sealed class ReconcileBed : IAsyncDisposable
{
    private readonly string _folder;
    private readonly Launcher _launcher;

    private ReconcileBed(Lab.Lab lab, Store store, ManualTime time, Dictionary<string, PretendMachine> machines, string folder, string policy)
    {
        (Lab, Store, Time, Machines, _folder) = (lab, store, time, machines, folder);
        Settings = Some.Settings() with
        {
            GitHubApi = lab.GitHubAddress, AppId = lab.GitHub.Options.AppId, Repositories = [lab.GitHub.Options.FullName], Policy = policy,
            CreateFleetPace = 1000, TerminatePace = 1000, DescribePace = 1000, PutParameterPace = 1000, DeleteParameterPace = 1000, GitHubPoints = 1_000_000, // buckets go by the machine's clock
        };
        Sites = new AwsSites(new KeyChain(new BasicAWSCredentials(lab.User.Id, lab.User.Secret)), new AwsAccount("aws", lab.Options.Account, lab.Options.Region), Settings, time);
        Policy = new PolicySource(new PolicyRead(PolicyFile.Parse(policy, File.ReadAllText(policy), Settings), ""), Settings, Sites.At(Sites.Home).Ssm, time, NullLogger<PolicySource>.Instance);
        App = new GitHubApp(new HttpClient { BaseAddress = lab.GitHubAddress }, Settings, RSA.Create(lab.GitHub.Options.AppKey.ExportParameters(includePrivateParameters: true)), time);
        View = new GitHubView(App);
        Repositories = new Repositories(store, View, Settings, time, NullLogger<Repositories>.Instance);
        var spot = new SpotBreaker(Settings, time);
        _launcher = new Launcher(App, new Launching.Fleet(Sites, spot, Settings, store.Launches, NullLogger<Launching.Fleet>.Instance), Sites, Settings, store.Launches, time);
        var queue = new QueueWake(time);
        var health = Some.Health(store, time);
        var heart = new Heart(store, health, time, NullLogger<Heart>.Instance);
        Intake = new Intake(store, Policy, new InboxWake(time), queue, health, NullLogger<Intake>.Instance);
        Redelivery = new Redelivery(store, View, Settings, time, NullLogger<Redelivery>.Instance);
        Listing = new QueueListing(Intake, View, Repositories, NullLogger<QueueListing>.Instance);
        Image = new ImageWatch(Sites, View, Policy, Settings, time, NullLogger<ImageWatch>.Instance);
        Scheduler = new Scheduler(store, _launcher, Policy, heart, Image, queue, health, Sites, App, time, NullLogger<Scheduler>.Instance);
        Teller = new RefusalTeller(store.Launches, App, Policy, heart, time, NullLogger<RefusalTeller>.Instance);
        Reconciler = new Reconciler(
            new Look(store, Sites, Policy, View, Repositories, Settings, time, NullLogger<Look>.Instance),
            new Doer(store, Sites, App, View, spot, queue, time, NullLogger<Doer>.Instance),
            heart, Settings, NullLogger<Reconciler>.Instance);
    }

    public Lab.Lab Lab { get; }

    public Store Store { get; }

    public ManualTime Time { get; }

    public Dictionary<string, PretendMachine> Machines { get; }

    public Settings Settings { get; }

    public PolicySource Policy { get; }

    public AwsSites Sites { get; }

    public GitHubApp App { get; }

    public GitHubView View { get; }

    public Repositories Repositories { get; }

    public Intake Intake { get; }

    public Redelivery Redelivery { get; }

    public QueueListing Listing { get; }

    public ImageWatch Image { get; }

    public Scheduler Scheduler { get; }

    public RefusalTeller Teller { get; }

    public Reconciler Reconciler { get; }

    public IReadOnlyList<Instance> Living => [.. Lab.Fleet.Instances.Where(i => i.State is InstanceState.Pending or InstanceState.Running)];

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    /// <param name="policy">As in a policy file.</param>
    public static async Task<ReconcileBed> StartAsync(string policy = "", GitHubOptions? github = null)
    {
        var time = new ManualTime(new DateTimeOffset(2026, 11, 21, 12, 0, 0, TimeSpan.Zero));
        var machines = new Dictionary<string, PretendMachine>();
        var lab = await Mayfly.Lab.Lab.StartAsync(new LabOptions { Time = time, GitHub = github ?? new GitHubOptions(), Machine = (_, instance) => machines[instance.Id] = new PretendMachine() });
        lab.Templates.Load(Demo.LaunchTemplate, "ami-0123456789abcdef0");
        lab.LiftLimits();
        foreach (var service in (string[])["EC2", "SSM", "STS"])
            Environment.SetEnvironmentVariable($"AWS_ENDPOINT_URL_{service}", lab.AwsAddress.AbsoluteUri.TrimEnd('/'));
        var folder = Directory.CreateTempSubdirectory("mayfly-reconcile-").FullName;
        var file = Path.Combine(folder, "policy.yaml");
        await File.WriteAllTextAsync(file, policy);
        var bed = new ReconcileBed(lab, await Store.OpenAsync(Path.Combine(folder, "controller.db"), Some.Lease, time), time, machines, folder, file);
        bed.Move(TimeSpan.Zero);
        return bed;
    }

    /// <summary>Queues a job at GitHub and in the store, and launches its machine.</summary>
    public async Task<(Job Job, LaunchRecord Launch, Instance Instance)> LaunchAsync(params string[] labels)
    {
        var (job, _) = await Lab.GitHub.Jobs.QueueAsync("build", labels is [] ? ["mayfly"] : labels, []);
        await Intake.FoundAsync([JobOf(job, JobAction.Queued)]);
        var (launch, instance) = await LaunchNextAsync();
        return (job, launch, instance);
    }

    /// <summary>Launches the machine of the launch that waits.</summary>
    public async Task<(LaunchRecord Launch, Instance Instance)> LaunchNextAsync()
    {
        var launch = await LaunchNextRecordAsync();
        return (launch, Lab.Fleet.Find(launch.InstanceId!));
    }

    /// <summary>The same, wherever the machine is.</summary>
    public async Task<LaunchRecord> LaunchNextRecordAsync()
    {
        var claimed = Assert.Single(await ClaimAsync());
        var instance = await _launcher.LaunchAsync(claimed, Cancel, Cancel);
        await Store.Launches.LaunchedAsync(claimed.Id, instance);
        return await FindAsync(claimed);
    }

    /// <summary>One try of the launch that is due, as the scheduler makes it.</summary>
    public Task<LaunchRecord> TryAsync() => TryUntilAsync(Cancel);

    /// <param name="stop">Asks it to stop.</param>
    public async Task<LaunchRecord> TryUntilAsync(CancellationToken stop)
    {
        var claimed = Assert.Single(await ClaimAsync());
        await Scheduler.LaunchAsync(claimed, stop);
        return await FindAsync(claimed);
    }

    /// <summary>Takes a launch up and leaves it again, as a controller does that ends.</summary>
    public async Task TakeUpAsync() => Store.Queue.Left(Assert.Single(await ClaimAsync()).Id);

    public async Task AssertNothingToTryAsync() => Assert.Empty(await ClaimAsync());

    public async Task<LaunchRecord> FindAsync(LaunchRecord launch) => (await Store.Launches.FindAsync(launch.Id))!;

    private Task<List<LaunchRecord>> ClaimAsync() => Store.Queue.ClaimAsync(1, (waiting, _, _) => waiting.FirstOrDefault());

    /// <summary>What a webhook would have told.</summary>
    public Task RecordAsync(Job job, JobAction action) => Store.Launches.RecordAsync(JobOf(job, action));

    /// <summary>A look at once, and another after a time.</summary>
    public async Task LooksAsync(TimeSpan apart)
    {
        await Reconciler.PassAsync(Cancel);
        Move(apart);
        await Reconciler.PassAsync(Cancel);
    }

    public void Move(TimeSpan by)
    {
        Time.Move(by);
        if (Policy.Current.Sites.Any(s => s.Role is not null))
            TellSdk();
    }

    /// <summary>AWSSDK signs its calls, those that assume roles, by a clock of its own. It is one for all tests of the process, so those that set it run alone.</summary>
    private void TellSdk() => AWSConfigs.ManualClockCorrection = Time.GetUtcNow() - TimeProvider.System.GetUtcNow();

    public static WorkflowJob JobOf(Job job, JobAction action) =>
        new(action, 87_654_321, "octo-org/octo-repo", job.Id, job.RunId, job.Attempt, job.Name, job.Labels, job.Runner?.Name, job.Conclusion);

    public async ValueTask DisposeAsync()
    {
        if (Policy.Current.Sites.Any(s => s.Role is not null))
            AWSConfigs.ManualClockCorrection = null;
        Sites.Dispose();
        Policy.Dispose();
        App.Dispose();
        await Store.DisposeAsync();
        await Lab.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }
}
