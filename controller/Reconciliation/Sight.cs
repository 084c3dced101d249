using Mayfly.Aws;

namespace Mayfly.Controller.Reconciliation;

/// <summary>A runner as GitHub lists it.</summary>
internal sealed record RunnerSeen(long Id, string Name, bool IsOnline, bool IsBusy);

/// <summary>
/// What one look found: the world first and the store after it, so that whatever the world holds stands in the store already
/// if it is ours. What could not be looked at is not there, and nothing follows from that.
/// </summary>
internal sealed record Sight
{
    public required DateTimeOffset At { get; init; }

    /// <summary>By site, as far as EC2 answered there.</summary>
    public required IReadOnlyDictionary<Site, SiteSeen> Sites { get; init; }

    /// <summary>Whether EC2 answered at every site that there is anything at.</summary>
    public required bool IsWhole { get; init; }

    /// <summary>By repository, as far as this look came.</summary>
    public IReadOnlyDictionary<string, IReadOnlyList<RunnerSeen>> Runners { get; init; } = new Dictionary<string, IReadOnlyList<RunnerSeen>>();

    /// <summary>As <see cref="Launches.UnsettledAsync"/> gives them, and those that the machines and runners are named after.</summary>
    public required IReadOnlyList<LaunchRecord> Launches { get; init; }

    /// <summary>Repositories that this controller serves, by name; machines of others are not its own to end.</summary>
    public required IReadOnlyDictionary<string, Repo> Repositories { get; init; }

    /// <summary>Limits of machines that do not say theirs.</summary>
    public required TimeSpan IdleTimeout { get; init; }

    /// <inheritdoc cref="IdleTimeout"/>
    public required TimeSpan JobTimeout { get; init; }
}

/// <summary>What was found at one site.</summary>
/// <param name="Machines">Every one that bears <see cref="Contract.Tags.Launch"/>, other controllers' too.</param>
/// <param name="Parameters">Configurations at their source.</param>
internal sealed record SiteSeen(IReadOnlyList<InstanceDescription> Machines, IReadOnlyList<ParameterDescription> Parameters);

/// <summary>Something that a look found odd.</summary>
/// <param name="Kind">Of what.</param>
/// <param name="Repository">Empty where it belongs to none.</param>
internal readonly record struct Oddity(string Kind, string Id, string Repository = "");

/// <summary>Since when each oddity has been seen in every look, or was last acted on.</summary>
internal sealed record Memory(IReadOnlyDictionary<Oddity, DateTimeOffset> Since)
{
    public static readonly Memory None = new(new Dictionary<Oddity, DateTimeOffset>());
}
