namespace Mayfly.Lab.GitHub;

/// <summary>What GitHub answers instead of a result.</summary>
internal sealed class GitHubFault(int status, string message) : Exception(message)
{
    public int Status { get; } = status;
}
