using System.Security.Cryptography;

namespace Mayfly.Lab.GitHub;

/// <summary>The GitHub App, its installation, its repository and its webhook.</summary>
internal sealed record GitHubOptions
{
    public long AppId { get; init; } = 1_234_567;

    public long InstallationId { get; init; } = 87_654_321;

    public string Owner { get; init; } = "octo-org";

    public string Repository { get; init; } = "octo-repo";

    public string WebhookSecret { get; init; } = RandomNumberGenerator.GetHexString(40, lowercase: true);

    /// <summary>The App's key: GitHub keeps the public half, the controller signs with the private one.</summary>
    public RSA AppKey { get; init; } = RSA.Create(2048);

    /// <summary>So many keys are shared by all runners; null makes one for each, as GitHub does, which takes tens of
    /// milliseconds a runner. For tests with thousands of them.</summary>
    public int? RunnerKeys { get; init; }

    public string FullName => $"{Owner}/{Repository}";
}
