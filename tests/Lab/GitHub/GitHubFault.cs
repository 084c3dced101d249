namespace Mayfly.Lab.GitHub;

/// <summary>What GitHub answers instead of a result.</summary>
internal sealed class GitHubFault(int status, string message) : Exception(message)
{
    public int Status { get; } = status;

    /// <summary>When it may be tried again, for the header of that name; whole seconds go out.</summary>
    public TimeSpan? RetryAfter { get; init; }
}

/// <summary>What the services behind the runner answer instead of a result. The runner tells by the source, the kind and
/// the status whether to go on, to try again or to exit.
/// https://github.com/actions/runner/blob/main/src/Sdk/RSWebApi/Contracts/BrokerError.cs</summary>
internal sealed class RunnerFailure(int status, string source, string kind, string message) : Exception(message)
{
    public const string BrokerService = "actions-broker-listener";
    public const string RunService = "actions-run-service";

    public int Status { get; } = status;

    public string Service { get; } = source;

    public string Kind { get; } = kind;
}
