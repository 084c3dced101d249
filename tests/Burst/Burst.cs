using System.Globalization;
using Mayfly.Lab;
using Mayfly.Lab.Ec2;
using Mayfly.Lab.GitHub;
using Mayfly.Lab.Machines;

namespace Mayfly.Burst;

/// <summary>What a burst came to.</summary>
/// <param name="Took">By the lab's clock, from the first job queued until the last one started.</param>
/// <param name="Allowed">What the services' buckets allow for so many, at best.</param>
/// <param name="ResidentBytes">The most memory that the controller's process held at any time.</param>
/// <param name="Throttled">Calls that a service refused for its limits.</param>
internal sealed record BurstResult(TimeSpan Took, TimeSpan Allowed, long ResidentBytes, int Throttled)
{
    public double Ratio => Took / Allowed;
}

/// <summary>
/// Many jobs queued at one moment, EC2, SSM and GitHub with their real limits, machines that only pretend to boot, and a
/// clock that is moved by hand: the lab's here, and the controller's, which is a process of its own and follows it. The
/// lab's clock moves first, so that a bucket of the controller's is never ahead of the service's; work that is overlooked
/// when the clock moves on makes the burst longer, never shorter.
/// </summary>
internal sealed class Burst : IAsyncDisposable
{
    /// <summary>Where the controller's clock starts.</summary>
    public const string StartVariable = "MAYFLY_BURST_START";

    /// <summary>From a launch until its runner listens; what a real one takes.</summary>
    public static readonly TimeSpan Boot = new MachineScript().Pending + new MachineScript().Boot + new MachineScript().Connect;

    /// <summary>So far both clocks go at once; a bucket gives a token in as much time.</summary>
    private static readonly TimeSpan Step = TimeSpan.FromSeconds(0.5);

    private readonly HandMovedTime _time;
    private readonly ControllerProcess _controller;
    private readonly HttpClient _http = new() { Timeout = TimeSpan.FromMinutes(2) };
    private volatile Task _following = Task.CompletedTask;

    private Burst(Lab.Lab lab, HandMovedTime time, ControllerProcess controller) => (Lab, _time, _controller) = (lab, time, controller);

    public Lab.Lab Lab { get; }

    /// <param name="folder">For the store and the secrets; empty.</param>
    /// <param name="onLine">Called for each line of the controller's log.</param>
    public static async Task<Burst> StartAsync(string folder, Action<string> onLine)
    {
        // The SDK that asks for the account's number signs by the system's clock: both begin there.
        var start = TimeProvider.System.GetUtcNow();
        var time = new HandMovedTime(start);
        var lab = await Mayfly.Lab.Lab.StartAsync(new LabOptions
        {
            Time = time,
            Machine = static (lab, instance) => new ScriptedMachine(lab, instance, new MachineScript()),
            GitHub = new GitHubOptions { RunnerKeys = 4 },
        });
        lab.Templates.Load(Demo.LaunchTemplate, "ami-0123456789abcdef0");
        lab.GitHub.Limits.PerHour = 10_000; // of registrations, as GitHub documents them
        lab.GitHub.Webhooks.Lanes = 8;
        var controller = await ControllerProcess.StartAsync(lab, Path.Combine(AppContext.BaseDirectory, "mayfly-burst.dll"), folder, null, onLine, new Dictionary<string, string>
        {
            [StartVariable] = start.ToString("O", CultureInfo.InvariantCulture),
            ["Mayfly__LookEvery"] = "30", // as it is by default
        });
        return new Burst(lab, time, controller);
    }

    /// <summary>What the services' buckets allow for so many at best: each holds some at the start and gives the rest at its rate.</summary>
    public TimeSpan Allowed(int jobs)
    {
        var registrations = Lab.GitHub.Limits.PointsPerMinute / 5;
        return new[]
        {
            Lab.Ec2.Rates.TimeFor("CreateFleet", jobs), Lab.Ec2.Rates.TimeFor(RequestLimits.LaunchedInstances, jobs), Lab.Ssm.Rates.TimeFor("PutParameter", jobs),
            TimeSpan.FromMinutes((jobs - 1) / registrations), // GitHub counts by the minute
        }.Max();
    }

    /// <summary>Queues all jobs at one moment, and goes on until each has been done and every machine is gone.</summary>
    /// <exception cref="InvalidOperationException">A job had no machine or more than one, or something was left behind.</exception>
    /// <exception cref="TimeoutException">It took twice what the buckets allow, and more.</exception>
    public async Task<BurstResult> RunAsync(int jobs, CancellationToken cancel)
    {
        var began = _time.GetUtcNow();
        // A label of its own each, so that a runner takes its own job and no other.
        var queued = await Task.WhenAll(Enumerable.Range(0, jobs).Select(i => Lab.GitHub.Jobs.QueueAsync("build", ["mayfly", $"job-{i}"], [])));
        if (queued.FirstOrDefault(q => q.Status != 202) is { Job: not null } refused)
            throw new InvalidOperationException($"the webhook of job {refused.Job.Id} was answered {refused.Status}");

        var allowed = Allowed(jobs);
        await using (_time.CreateTimer(_ => _following = FollowAsync(cancel), null, Step, Step))
        {
            await _time.RunAsync(
                () => _following.IsFaulted || (queued.All(q => q.Job.State == JobState.Completed) && Lab.Fleet.Instances.All(i => i.State == InstanceState.Terminated)),
                () => !_following.IsCompleted || Lab.Requests > 0 || !Lab.GitHub.Webhooks.Settled.IsCompleted, Step, (allowed * 2) + TimeSpan.FromMinutes(10), cancel);
        }

        try
        {
            await _following;
        }
        catch (HttpRequestException e)
        {
            throw new InvalidOperationException($"the controller does not answer any more: {e.Message}; its log tells why", e);
        }

        Check(queued.Length == Lab.Fleet.Instances.Count, $"{Lab.Fleet.Instances.Count} machines were launched for {jobs} jobs");
        Check(queued.All(q => q.Job is { Conclusion: "success" }), "a job did not succeed");
        Check(queued.Select(q => q.Job.Runner).Distinct().Count() == jobs, "a runner had two jobs");
        Check(Lab.Ssm.Parameters.Count == 0, "a parameter was left");
        Check(Lab.GitHub.Runners.All.Count == 0, "a runner was left");
        var throttled = Lab.Ec2.Rates.Refused.Values.Sum() + Lab.Ssm.Rates.Refused.Values.Sum() + Lab.GitHub.Limits.Refused;
        return new BurstResult(queued.Max(q => q.Job.Started!.Value) - began, allowed, MostResident(), throttled);
    }

    public async ValueTask DisposeAsync()
    {
        _http.Dispose();
        await _controller.DisposeAsync();
        await Lab.DisposeAsync();
    }

    /// <summary>The controller's clock goes one step behind the lab's.</summary>
    private async Task FollowAsync(CancellationToken cancel)
    {
        using var answer = await _http.PostAsync(new Uri(_controller.Address, $"clock?ticks={Step.Ticks}"), null, cancel);
        answer.EnsureSuccessStatusCode();
    }

    private long MostResident() => 1024 * long.Parse(
        File.ReadLines($"/proc/{_controller.ProcessId}/status").First(l => l.StartsWith("VmHWM:", StringComparison.Ordinal)).Split(' ', StringSplitOptions.RemoveEmptyEntries)[1],
        CultureInfo.InvariantCulture);

    private static void Check(bool isSo, string otherwise)
    {
        if (!isSo)
            throw new InvalidOperationException(otherwise);
    }
}
