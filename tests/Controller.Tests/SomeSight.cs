using Mayfly.Aws;
using Mayfly.Contract;
using Mayfly.Controller.Reconciliation;

namespace Mayfly.Controller.Tests;

/// <summary>What a look may find, for tests of what follows from it.</summary>
internal static class SomeSight
{
    public const string Repository = "octo-org/octo-repo";

    public static readonly DateTimeOffset Now = new(2026, 11, 21, 12, 0, 0, TimeSpan.Zero);

    public static readonly DateTimeOffset LongAgo = Now - TimeSpan.FromHours(1);

    /// <summary>Where all machines are, unless a test says otherwise.</summary>
    public static readonly Site Here = Order.Nothing.Site;

    /// <summary>Another account's machines, in another region.</summary>
    public static readonly Site Elsewhere = new("us-east-1", "arn:aws:iam::210987654321:role/mayfly-controller", "the-lab");

    public static Sight Of(IEnumerable<LaunchRecord>? launches = null, IEnumerable<InstanceDescription>? machines = null) => new()
    {
        At = Now,
        Launches = [.. launches ?? []],
        Sites = new Dictionary<Site, SiteSeen> { [Here] = new([.. machines ?? []], []) },
        IsWhole = true,
        Repositories = new Dictionary<string, Repo> { [Repository] = new Repo(87_654_321, Repository) },
        IdleTimeout = TimeSpan.FromMinutes(5),
        JobTimeout = TimeSpan.FromHours(6),
    };

    /// <summary>A launch of a job's machine, an hour old.</summary>
    public static LaunchRecord Launch(long job, LaunchState state = LaunchState.Launched, int machine = 1) => new()
    {
        Id = new LaunchId(Repository, machine == 1 ? $"{job}-1" : $"{job}-1-{machine}"),
        State = state,
        ChangedAt = LongAgo,
        Repo = new Repo(87_654_321, Repository),
        JobId = job,
        RunId = 1000 + job,
        Attempt = 1,
        Machine = machine,
        Name = "build",
        Labels = ["mayfly"],
        Order = Order.Nothing,
        QueuedAt = LongAgo + TimeSpan.FromSeconds(job),
        Tries = 1,
        Spent = 0,
        InstanceId = state is LaunchState.Launched or LaunchState.Ended or LaunchState.Storing or LaunchState.Undoing ? $"i-{job}-{machine}" : null,
        RunnerName = null,
        TookJob = null,
        Conclusion = null,
        Reason = null,
        Ending = null,
        Timeline = null,
    };

    /// <summary>A launch's machine, an hour old.</summary>
    public static InstanceDescription Machine(LaunchRecord launch, string state = "running") => new(
        launch.InstanceId ?? $"i-{launch.JobId}-{launch.Machine}", "m7i.large", state, state == "terminated" ? "Client.InstanceInitiatedShutdown" : "", LongAgo,
        new Dictionary<string, string> { [Tags.Launch] = $"{launch.Id}", [Tags.IdleTimeout] = "300", [Tags.JobTimeout] = "21600" });

    public static Sight WithRunners(this Sight sight, params RunnerSeen[] runners) =>
        sight with { Runners = new Dictionary<string, IReadOnlyList<RunnerSeen>> { [Repository] = runners } };

    public static Sight WithParameters(this Sight sight, params string[] names) => sight.With(parameters: [.. names.Select(n => new ParameterDescription(n, LongAgo))]);

    public static LaunchRecord At(this LaunchRecord launch, Site site) =>
        launch with { Order = launch.Order with { Region = site.Region, Role = site.Role, ExternalId = site.ExternalId } };

    public static Sight With(this Sight sight, IReadOnlyList<InstanceDescription>? machines = null, IReadOnlyList<ParameterDescription>? parameters = null) =>
        sight with { Sites = new Dictionary<Site, SiteSeen>(sight.Sites) { [Here] = new(machines ?? sight.Sites[Here].Machines, parameters ?? sight.Sites[Here].Parameters) } };

    /// <summary>With another site beside the usual one.</summary>
    public static Sight AndElsewhere(this Sight sight, IReadOnlyList<InstanceDescription> machines, IReadOnlyList<ParameterDescription>? parameters = null) =>
        sight with { Sites = new Dictionary<Site, SiteSeen>(sight.Sites) { [Elsewhere] = new(machines, parameters ?? []) } };

    /// <summary>The same, so much later.</summary>
    public static Sight After(this Sight sight, TimeSpan time) => sight with { At = sight.At + time };

    /// <summary>What is done in the end about something that stays as it is.</summary>
    public static IReadOnlyList<Act> Lasting(this Sight sight, TimeSpan? time = null) =>
        Plan.For(sight.After(time ?? Plan.Grace), Plan.For(sight, Memory.None).Memory).Acts;
}
