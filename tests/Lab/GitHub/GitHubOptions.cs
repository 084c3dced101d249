using System.Security.Cryptography;

namespace Mayfly.Lab.GitHub;

/// <summary>An account that installed the App, and the repositories that it gave to it.</summary>
/// <param name="Owner">An organisation.</param>
/// <param name="Repositories">Names without the owner.</param>
/// <param name="IsSuspended">It gets no tokens.</param>
internal sealed record Installation(long Id, string Owner, IReadOnlyList<string> Repositories, bool IsSuspended = false)
{
    public IEnumerable<string> FullNames => Repositories.Select(r => $"{Owner}/{r}");
}

/// <summary>The GitHub App, its installations, their repositories and its webhook.</summary>
internal sealed record GitHubOptions
{
    public long AppId { get; init; } = 1_234_567;

    public long InstallationId { get; init; } = 87_654_321;

    public string Owner { get; init; } = "octo-org";

    public string Repository { get; init; } = "octo-repo";

    /// <summary>More names of repositories in the first installation.</summary>
    public IReadOnlyList<string> OtherRepositories { get; init; } = [];

    public IReadOnlyList<Installation> OtherInstallations { get; init; } = [];

    /// <summary>What the App was given, as in its manifest: <c>read</c> or <c>write</c> by name.</summary>
    public IReadOnlyDictionary<string, string> Permissions { get; init; } = new Dictionary<string, string>
    {
        ["actions"] = "write", ["administration"] = "write", ["checks"] = "write", ["metadata"] = "read", ["organization_self_hosted_runners"] = "write",
    };

    public string WebhookSecret { get; init; } = RandomNumberGenerator.GetHexString(40, lowercase: true);

    /// <summary>The App's key: GitHub keeps the public half, the controller signs with the private one.</summary>
    public RSA AppKey { get; init; } = RSA.Create(2048);

    /// <summary>So many keys are shared by all runners; null makes one for each, as GitHub does, which takes tens of
    /// milliseconds a runner. For tests with thousands of them.</summary>
    public int? RunnerKeys { get; init; }

    public string FullName => $"{Owner}/{Repository}";

    public IReadOnlyList<Installation> Installations => [new(InstallationId, Owner, [Repository, .. OtherRepositories]), .. OtherInstallations];

    /// <summary>The installation that a repository is in; the first where none has it.</summary>
    public Installation InstallationOf(string repository) => Installations.FirstOrDefault(i => i.FullNames.Contains(repository)) ?? Installations[0];
}
