using System.Security.Cryptography;
using Mayfly.Aws;
using Mayfly.Controller.Reconciliation;
using Mayfly.Controller.Seen;
using Mayfly.Lab;
using Mayfly.Lab.Ec2;
using Mayfly.Lab.GitHub;
using Mayfly.Lab.Machines;
using Microsoft.Extensions.Hosting.Internal;
using Microsoft.Extensions.Logging.Abstractions;

namespace Mayfly.Controller.Tests;

/// <summary>Reconciliation against the lab in one process, by a clock that is moved by hand.</summary>
internal sealed class ReconcileBed : IAsyncDisposable
{
    private readonly string _folder;
    private readonly AwsConnection _ec2;
    private readonly AwsConnection _ssm;
    private readonly Launcher _launcher;

    private ReconcileBed(Lab.Lab lab, Store store, ManualTime time, Dictionary<string, PretendMachine> machines, string folder)
    {
        (Lab, Store, Time, Machines, _folder) = (lab, store, time, machines, folder);
        Settings = Some.Settings() with { GitHubApi = lab.GitHubAddress, AppId = lab.GitHub.Options.AppId, Repositories = [lab.GitHub.Options.FullName] };
        (_ec2, _ssm) = (Connect("ec2"), Connect("ssm"));
        var (ec2, ssm) = (new Ec2Client(_ec2), new SsmClient(_ssm));
        App = new GitHubApp(new HttpClient { BaseAddress = lab.GitHubAddress }, Settings, RSA.Create(lab.GitHub.Options.AppKey.ExportParameters(includePrivateParameters: true)), time);
        View = new GitHubView(App);
        Repositories = new Repositories(store, View, Settings, time, NullLogger<Repositories>.Instance);
        _launcher = new Launcher(App, new Launching.Fleet(ec2, new SpotBreaker(Settings, time), Settings, store.Launches, NullLogger<Launching.Fleet>.Instance), ec2, ssm, new AwsAccount("aws", lab.Options.Account, lab.Options.Region), Settings, store.Launches, time);
        var queue = new QueueWake(time);
        var heart = new Heart(store, time, NullLogger<Heart>.Instance);
        Intake = new Intake(store, new PolicySource(new PolicyRead(Policy.Of(Settings), ""), Settings, ssm, time, NullLogger<PolicySource>.Instance), new InboxWake(time), queue, new Health(store, heart, new ApplicationLifetime(NullLogger<ApplicationLifetime>.Instance), time), NullLogger<Intake>.Instance);
        Redelivery = new Redelivery(store, View, Settings, time, NullLogger<Redelivery>.Instance);
        Listing = new QueueListing(Intake, View, Repositories, NullLogger<QueueListing>.Instance);
        Image = new ImageWatch(ec2, View, Settings, time, NullLogger<ImageWatch>.Instance);
        Reconciler = new Reconciler(
            new Look(store, ec2, ssm, View, Repositories, Settings, time, NullLogger<Look>.Instance),
            new Doer(store, ec2, ssm, App, View, new SpotBreaker(Settings, time), queue, time, NullLogger<Doer>.Instance),
            heart, Settings, time, NullLogger<Reconciler>.Instance);
    }

    public Lab.Lab Lab { get; }

    public Store Store { get; }

    public ManualTime Time { get; }

    public Dictionary<string, PretendMachine> Machines { get; }

    public Settings Settings { get; }

    public GitHubApp App { get; }

    public GitHubView View { get; }

    public Repositories Repositories { get; }

    public Intake Intake { get; }

    public Redelivery Redelivery { get; }

    public QueueListing Listing { get; }

    public ImageWatch Image { get; }

    public Reconciler Reconciler { get; }

    public IReadOnlyList<Instance> Living => [.. Lab.Fleet.Instances.Where(i => i.State is InstanceState.Pending or InstanceState.Running)];

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public static async Task<ReconcileBed> StartAsync()
    {
        var time = new ManualTime(new DateTimeOffset(2026, 11, 21, 12, 0, 0, TimeSpan.Zero));
        var machines = new Dictionary<string, PretendMachine>();
        var lab = await Mayfly.Lab.Lab.StartAsync(new LabOptions { Time = time, Machine = (_, instance) => machines[instance.Id] = new PretendMachine() });
        lab.Templates.Load(Demo.LaunchTemplate, "ami-0123456789abcdef0");
        foreach (var service in (string[])["EC2", "SSM"])
            Environment.SetEnvironmentVariable($"AWS_ENDPOINT_URL_{service}", lab.AwsAddress.AbsoluteUri.TrimEnd('/'));
        var folder = Directory.CreateTempSubdirectory("mayfly-reconcile-").FullName;
        return new ReconcileBed(lab, await Store.OpenAsync(Path.Combine(folder, "controller.db"), Some.Lease, time), time, machines, folder);
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
        var claimed = Assert.Single(await Store.Queue.ClaimAsync(1, (waiting, _, _) => waiting.FirstOrDefault()));
        var instance = await _launcher.LaunchAsync(claimed, Cancel, Cancel);
        await Store.Launches.LaunchedAsync(claimed.Id, instance);
        return (await FindAsync(claimed), Lab.Fleet.Find(instance));
    }

    public async Task<LaunchRecord> FindAsync(LaunchRecord launch) => (await Store.Launches.FindAsync(launch.Id))!;

    /// <summary>What a webhook would have told.</summary>
    public Task RecordAsync(Job job, JobAction action) => Store.Launches.RecordAsync(JobOf(job, action));

    /// <summary>A look at once, and another after a time.</summary>
    public async Task LooksAsync(TimeSpan apart)
    {
        await Reconciler.PassAsync(Cancel);
        Time.Move(apart);
        await Reconciler.PassAsync(Cancel);
    }

    public static WorkflowJob JobOf(Job job, JobAction action) =>
        new(action, 87_654_321, "octo-org/octo-repo", job.Id, job.RunId, job.Attempt, job.Name, job.Labels, job.Runner?.Name, job.Conclusion);

    public async ValueTask DisposeAsync()
    {
        _ec2.Dispose();
        _ssm.Dispose();
        App.Dispose();
        await Store.DisposeAsync();
        await Lab.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }

    private AwsConnection Connect(string service) =>
        AwsConnection.To(service, Lab.Options.Region, new AwsKeys(Lab.User.Id, Lab.User.Secret, null), TimeSpan.FromSeconds(10), Time);
}
