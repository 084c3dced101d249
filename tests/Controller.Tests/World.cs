using System.Collections.Concurrent;
using System.Diagnostics;
using Mayfly.Contract;
using Mayfly.Lab;
using Mayfly.Lab.Ec2;
using Mayfly.Lab.GitHub;
using Mayfly.Lab.Machines;

namespace Mayfly.Controller.Tests;

/// <summary>The lab with machines that only pretend, and the real controller as a process of its own beside it.</summary>
internal sealed class World : IAsyncDisposable
{
    public static readonly TimeSpan Limit = TimeSpan.FromSeconds(60);

    private readonly Journal _lines = new(TimeProvider.System);
    private readonly List<ControllerProcess> _controllers = [];
    private readonly HttpClient _http = new() { Timeout = Limit };

    private World(Lab.Lab lab, string folder) => (Lab, Folder) = (lab, folder);

    public Lab.Lab Lab { get; }

    public string Folder { get; }

    public ConcurrentDictionary<string, PretendMachine> Machines { get; private init; } = new();

    /// <summary>The newest process.</summary>
    public ControllerProcess Controller => _controllers[^1];

    public IEnumerable<string> Log => _lines.Events.Select(e => e.Detail);

    public IReadOnlyList<Instance> Living => [.. Lab.Fleet.Instances.Where(i => i.State is InstanceState.Pending or InstanceState.Running)];

    public static async Task<World> StartAsync(LabOptions? options = null, bool controller = true)
    {
        var machines = new ConcurrentDictionary<string, PretendMachine>();
        var lab = await Mayfly.Lab.Lab.StartAsync((options ?? new LabOptions()) with { Machine = (_, instance) => machines[instance.Id] = new PretendMachine() });
        lab.Templates.Load(Demo.LaunchTemplate, "ami-0123456789abcdef0");
        lab.GitHub.Webhooks.Patience = Limit; // what is late on a busy machine is no outage
        var world = new World(lab, Directory.CreateTempSubdirectory("mayfly-controller-test-").FullName) { Machines = machines };
        if (controller)
            await world.StartControllerAsync();
        return world;
    }

    public Task<ControllerProcess> StartControllerAsync(IReadOnlyDictionary<string, string>? settings = null) => ControllerProcess.StartAsync(
        Lab, Path.Combine(AppContext.BaseDirectory, "mayfly-controller.dll"), Folder, null, line => _lines.Record("controller", "line", "", line), settings, onStarted: _controllers.Add);

    /// <summary>Waits for a line of the controller's log that holds all these words, past or to come.</summary>
    /// <exception cref="TimeoutException">None came; names the words.</exception>
    public async Task<string> LineAsync(params string[] words)
    {
        try
        {
            return (await _lines.WaitForAsync(e => words.All(w => e.Detail.Contains(w, StringComparison.Ordinal)), Limit, TestContext.Current.CancellationToken)).Detail;
        }
        catch (TimeoutException e)
        {
            throw new TimeoutException($"'{string.Join("' and '", words)}': {e.Message}", e);
        }
    }

    public Task<LabEvent> EventAsync(string source, string name) =>
        Lab.Journal.WaitForAsync(e => e.Source == source && e.Name == name, Limit, TestContext.Current.CancellationToken);

    /// <summary>Kills the controller the first time that something happens in the lab, before the lab answers.</summary>
    public Task KillAt(string source, string name) => KillWhen(kill => Lab.Journal.Recorded += e =>
    {
        if (e.Source == source && e.Name == name)
            kill();
    });

    /// <param name="listen">Is given what kills the controller, the first time that it is called.</param>
    public Task KillWhen(Action<Action> listen)
    {
        var killed = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        listen(() =>
        {
            if (killed.Task.IsCompleted)
                return;
            using var process = Process.GetProcessById(Controller.ProcessId);
            process.Kill();
            process.WaitForExit();
            killed.TrySetResult();
        });
        return killed.Task.WaitAsync(Limit, TestContext.Current.CancellationToken);
    }

    /// <summary>What the store on the disk holds.</summary>
    public async Task<T> StoredAsync<T>(Func<Store, Task<T>> read)
    {
        await using var store = await Store.OpenAsync(Path.Combine(Folder, "controller.db"), Some.Lease, TimeProvider.System);
        return await read(store);
    }

    public Task<LaunchRecord?> LaunchOfAsync(Job job) => StoredAsync(s => s.Launches.FindAsync(new LaunchId(Lab.GitHub.Options.FullName, $"{job.Id}-1")));

    /// <summary>Until nobody is left to be told of a refusal; within the limit.</summary>
    public async Task UntilToldAsync()
    {
        using var limit = new CancellationTokenSource(Limit);
        while (await StoredAsync(s => s.TransactAsync(sql => sql.QueryAsync("SELECT count(*) FROM launch WHERE tell IS NOT NULL", row => row.Integer(0)))) is not [0])
            await Task.Delay(TimeSpan.FromMilliseconds(100), TimeProvider.System, limit.Token);
    }

    /// <summary>Sends an event as a delivery of its own, beside those that the lab's GitHub sends one after the other.</summary>
    public Task<int> PostAsync(byte[] body) => PostAsync(Controller, body, Guid.NewGuid());

    /// <exception cref="HttpRequestException">The controller is gone.</exception>
    public async Task<int> PostAsync(ControllerProcess controller, byte[] body, Guid id, string? secret = null)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, new Uri(controller.Address, "webhook")) { Content = new ByteArrayContent(body) };
        request.Headers.Add("X-GitHub-Event", "workflow_job");
        request.Headers.Add("X-GitHub-Delivery", $"{id}");
        request.Headers.Add("X-Hub-Signature-256", Webhooks.Sign(secret ?? Lab.GitHub.Options.WebhookSecret, body));
        using var response = await _http.SendAsync(request, TestContext.Current.CancellationToken);
        return (int)response.StatusCode;
    }

    /// <summary>One living machine, its parameter with its tag, and in it the configuration of the one registered runner.</summary>
    public async Task AssertLaunchedOnceAsync(Job job)
    {
        await LineAsync("launched i-", $"{job.Id}");
        var instance = Assert.Single(Living);
        var parameter = Assert.Single(Lab.Ssm.Parameters);
        Assert.Equal(ConfigParameter.NameFor(instance.Id), parameter.Name);
        Assert.Equal(("SecureString", "Standard"), (parameter.Type, parameter.Tier));
        Assert.Equal(new Dictionary<string, string> { ["mayfly:instance"] = instance.Arn }, parameter.Tags);
        var runner = Assert.Single(Lab.GitHub.Runners.All);
        Assert.Equal($"mayfly-{job.Id}-1", runner.Name);
        using var files = Envelope.Unpack(System.Text.Encoding.ASCII.GetBytes(parameter.Value));
        using var settings = System.Text.Json.JsonDocument.Parse(files.Contents[0].RevealMemory());
        Assert.Equal($"{runner.Id}", settings.RootElement.GetProperty("AgentId").GetString());
        var launch = (await LaunchOfAsync(job))!;
        Assert.Equal((LaunchState.Launched, instance.Id), (launch.State, launch.InstanceId));
    }

    /// <summary>A job that is given its machine, runs there and succeeds, and of which the controller has heard.</summary>
    public async Task<Job> RunJobAsync(IReadOnlyList<string> labels)
    {
        var (job, _) = await Lab.GitHub.Jobs.QueueAsync("build", labels, []);
        await AssertLaunchedOnceAsync(job);
        job.Runner = Lab.GitHub.Runners.All.Single();
        Lab.GitHub.Jobs.Start(job);
        Lab.GitHub.Jobs.Complete(job, "success");
        await LineAsync($"job {job.Id}", "Completed", "success");
        return job;
    }

    /// <summary>Nothing that a launch makes is left.</summary>
    public void AssertNothingLeft()
    {
        Assert.Empty(Living);
        Assert.Empty(Lab.Ssm.Parameters);
        Assert.Empty(Lab.GitHub.Runners.All);
    }

    /// <summary>The same, of a launch that would be tried again in a moment.</summary>
    public async Task StopWithNothingLeftAsync()
    {
        await StopControllerAsync();
        AssertNothingLeft();
    }

    /// <summary>Stops the controller as an operator does, so that it has finished what it was at.</summary>
    public async Task StopControllerAsync()
    {
        await Controller.DisposeAsync();
        _controllers.Remove(Controller);
    }

    public async Task StopAllAsync()
    {
        await Task.WhenAll(_controllers.Select(c => c.DisposeAsync().AsTask()));
        _controllers.Clear();
    }

    public async ValueTask DisposeAsync()
    {
        await StopAllAsync();
        await Lab.DisposeAsync();
        _http.Dispose();
        Directory.Delete(Folder, recursive: true);
    }
}
