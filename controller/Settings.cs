using System.Globalization;

namespace Mayfly.Controller;

/// <summary>A setting that is missing or wrong: names the key, the value and the way out.</summary>
internal sealed class SettingsException(string message) : Exception(message);

/// <summary>
/// All that an operator sets, read once and checked before anything starts. Keys stand below <c>Mayfly</c> in
/// appsettings.json, or in the environment as <c>Mayfly__GitHub__AppId</c>. Secrets come as files, never as values.
/// </summary>
internal sealed record Settings
{
    /// <summary>GitHub's own App; an Enterprise Server has its API below <c>/api/v3</c>.</summary>
    public required Uri GitHubApi { get; init; }

    public required long AppId { get; init; }

    public required string PrivateKeyFile { get; init; }

    public required string WebhookSecretFile { get; init; }

    /// <summary>Installations whose events are taken.</summary>
    public required IReadOnlyList<long> Installations { get; init; }

    /// <summary><c>owner/name</c>, or <c>owner/*</c> for all of an owner's.</summary>
    public required IReadOnlyList<string> Repositories { get; init; }

    public required string LaunchTemplate { get; init; }

    /// <summary>Instance types in order of preference; empty takes the launch template's.</summary>
    public required IReadOnlyList<string> InstanceTypes { get; init; }

    public required string Region { get; init; }

    /// <summary>Whether configurations travel by instance tags, the weaker way, instead of SSM parameters.</summary>
    public required bool ConfigInTags { get; init; }

    public required string Database { get; init; }

    /// <summary>The label that a job must bear for a machine to be launched.</summary>
    public required string Label { get; init; }

    public required long RunnerGroup { get; init; }

    public required TimeSpan IdleTimeout { get; init; }

    public required TimeSpan JobTimeout { get; init; }

    /// <summary>How often machines that ended are looked for.</summary>
    public required TimeSpan LookEvery { get; init; }

    /// <summary>Bytes of a webhook's body. GitHub's own limit is 25 MB; workflow_job events stay far below one.</summary>
    public required int MaxBody { get; init; }

    /// <exception cref="SettingsException">The first setting that is missing or wrong.</exception>
    public static Settings From(IConfiguration configuration)
    {
        var section = configuration.GetSection("Mayfly");
        return new Settings
        {
            GitHubApi = Uri.TryCreate(Text("GitHub:Api", "https://api.github.com/"), UriKind.Absolute, out var api) && api.Scheme is "https" or "http"
                ? new Uri(api.AbsoluteUri.TrimEnd('/') + "/") // without it, a path such as /api/v3 would be replaced instead of followed
                : throw Wrong("GitHub:Api", section["GitHub:Api"], "an http or https address"),
            AppId = Number("GitHub:AppId", null, 1, long.MaxValue),
            PrivateKeyFile = ExistingFile("GitHub:PrivateKeyFile"),
            WebhookSecretFile = ExistingFile("GitHub:WebhookSecretFile"),
            Installations = [.. List("GitHub:Installations").Select(text => long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var id)
                ? id
                : throw Wrong("GitHub:Installations", text, "an installation's number"))],
            Repositories = [.. List("GitHub:Repositories").Select(text => text.Split('/') is [{ Length: > 0 }, { Length: > 0 }]
                ? text
                : throw Wrong("GitHub:Repositories", text, "owner/name or owner/*"))],
            RunnerGroup = Number("GitHub:RunnerGroup", 1, 1, long.MaxValue),
            Label = Text("Label", "mayfly"),
            LaunchTemplate = Text("LaunchTemplate", "mayfly"),
            InstanceTypes = section["InstanceTypes"] is { Length: > 0 } ? List("InstanceTypes") : [],
            Region = Environment.GetEnvironmentVariable("AWS_REGION") is { Length: > 0 } region
                ? region
                : throw new SettingsException("AWS_REGION is not set; set it to the region that the launch template is in"),
            ConfigInTags = Text("Config", "ssm") switch
            {
                "ssm" => false,
                "tags" => true,
                var other => throw Wrong("Config", other, "ssm or tags"),
            },
            Database = Text("Database", "/var/lib/mayfly/controller.db"),
            IdleTimeout = TimeSpan.FromSeconds(Number("IdleTimeout", 300, 1, 86_400)),
            JobTimeout = TimeSpan.FromSeconds(Number("JobTimeout", 21_600, 1, 432_000)),
            LookEvery = TimeSpan.FromSeconds(Number("LookEvery", 30, 1, 3600)),
            MaxBody = (int)Number("MaxBody", 1 << 20, 1 << 10, 25_000_000),
        };

        string Text(string key, string? byDefault) => section[key] is { Length: > 0 } value
            ? value
            : byDefault ?? throw new SettingsException($"Mayfly:{key} is not set; see docs/controller.md");

        long Number(string key, long? byDefault, long least, long most)
        {
            var text = Text(key, byDefault?.ToString(CultureInfo.InvariantCulture));
            return long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var value) && value >= least && value <= most
                ? value
                : throw Wrong(key, text, $"a whole number from {least} to {most}");
        }

        string ExistingFile(string key)
        {
            var path = Text(key, null);
            return File.Exists(path) ? path : throw Wrong(key, path, "a file that exists and can be read");
        }

        IReadOnlyList<string> List(string key) =>
            Text(key, null).Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries) is { Length: > 0 } items
                ? items
                : throw Wrong(key, section[key], "a list separated by commas");

        static SettingsException Wrong(string key, string? value, string wanted) => new($"Mayfly:{key}='{value}': {wanted} is wanted; see docs/controller.md");
    }

    public bool Lists(string repository) => Repositories.Any(listed =>
        string.Equals(listed, repository, StringComparison.OrdinalIgnoreCase)
        || (listed.EndsWith("/*", StringComparison.Ordinal) && repository.StartsWith(listed[..^1], StringComparison.OrdinalIgnoreCase)));
}
