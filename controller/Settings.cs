using System.Globalization;

namespace Mayfly.Controller;

/// <summary>
/// All that an operator sets, read once and checked before anything starts. Keys stand below <c>Mayfly</c> in
/// appsettings.json, or in the environment as <c>Mayfly__GitHub__AppId</c>. Secrets come as files, never as values.
/// The one line of a property is all of its setting: key, default, bounds, and the words for the reference, which is the
/// table in docs/controller.md.
/// </summary>
internal sealed record Settings(SettingSource Source)
{
    public long AppId { get; init; } = Source.Number("GitHub:AppId", null, 1, long.MaxValue, "the App's number");

    public string PrivateKeyFile { get; init; } = Source.Reference("GitHub:PrivateKeyFile", null, "the App's private key, in PEM, as GitHub gave it");

    public string WebhookSecretFile { get; init; } = Source.Reference("GitHub:WebhookSecretFile", null, "the webhook's secret; an empty one is refused. Two lines, while it is being changed: both are taken");

    public IReadOnlyList<long> Installations { get; init; } = Source.List<long>("GitHub:Installations", null, "an installation's number", "the installations whose events are taken", IsNumber);

    public IReadOnlyList<string> Repositories { get; init; } = Source.List<string>("GitHub:Repositories", null, "`owner/name` or `owner/*`", "the repositories that are served; `owner/*` is all of an owner's", IsRepository);

    public Uri GitHubApi { get; init; } = Followed(Source.Address("GitHub:Api", "https://api.github.com/", "for GitHub Enterprise Server `https://HOST/api/v3`"));

    public long RunnerGroup { get; init; } = Source.Number("GitHub:RunnerGroup", 1, 1, long.MaxValue, "id of the runner group that runners join; 1 is GitHub's own *Default*");

    public string Label { get; init; } = Source.Text("Label", "mayfly", "a job is served if it bears this label");

    public string LaunchTemplate { get; init; } = Source.Text("LaunchTemplate", "mayfly", "name of the launch template; its default version is launched");

    public IReadOnlyList<string> InstanceTypes { get; init; } = Source.List<string>("InstanceTypes", "", "an instance type", "in order of preference; none takes the launch template's own", IsType);

    /// <summary>Empty: by these settings alone.</summary>
    public string Policy { get; init; } = Source.Reference("Policy", "", "the policy, see [policy.md](policy.md); read again when it changes; none launches by these settings alone");

    /// <summary>Whether configurations travel by instance tags, the weaker way, instead of SSM parameters.</summary>
    public bool ConfigInTags { get; init; } = Source.Choice("Config", ["ssm", "tags"], "how a configuration reaches its machine: by a SecureString parameter, or by instance tags (weaker, see below)") == "tags";

    public string Database { get; init; } = Source.Text("Database", "/var/lib/mayfly/controller.db", "SQLite file, or PostgreSQL's connection string (`Host=...;Database=...;Username=...;Passfile=...`) where several controllers share one; made and migrated at start");

    public string DatabasePasswordFile { get; init; } = Source.Reference("DatabasePasswordFile", "", "the password of PostgreSQL's user, where its connection string has no `Passfile`");

    public TimeSpan Lease { get; init; } = Source.Seconds("Lease", 30, 3, 3600, "after which a controller that is silent counts as gone, and another takes up what it was at");

    public TimeSpan IdleTimeout { get; init; } = Source.Seconds("IdleTimeout", 300, 1, 86_400, "that a runner may wait for its job");

    public TimeSpan JobTimeout { get; init; } = Source.Seconds("JobTimeout", 21_600, 1, 432_000, "that a job may run");

    public TimeSpan LookEvery { get; init; } = Source.Seconds("LookEvery", 30, 1, 3600, "between two looks at all machines, parameters and runners");

    public TimeSpan FindEvery { get; init; } = Source.Seconds("FindEvery", 120, 1, 86_400, "between two looks for deliveries that failed and queued jobs that nobody told of");

    /// <summary>Longer than GitHub can send a delivery again, which it is told apart from a new one by, and longer than a job may run.</summary>
    public TimeSpan Keep { get; init; } = TimeSpan.FromDays(Source.Number("Keep", 30, 7, 3650, "days for which deliveries and launches are kept once they are settled; younger ones tell what is known already"));

    public int SpotFailures { get; init; } = (int)Source.Number("Spot:Failures", 5, 1, 1000, "spot instances of a family that were refused or interrupted before `spot=auto` and `spot=rerun` go on demand");

    public TimeSpan SpotWindow { get; init; } = Source.Seconds("Spot:Window", 600, 1, 86_400, "within which they count");

    public TimeSpan SpotPause { get; init; } = Source.Seconds("Spot:Pause", 900, 1, 86_400, "for which spot is not asked for then");

    /// <summary>Calls a second; likewise the other paces.</summary>
    public double CreateFleetPace { get; init; } = Source.PerMinute("Pace:CreateFleet", 120, "`CreateFleet`: launches; EC2's bucket for new instances gives 2 a second back");

    public double TerminatePace { get; init; } = Source.PerMinute("Pace:TerminateInstances", 300, "`TerminateInstances`");

    public double DescribePace { get; init; } = Source.PerMinute("Pace:Describe", 600, "`DescribeInstances`, of `GetConsoleOutput` and of `DescribeSpotPriceHistory`, each");

    public double TagPace { get; init; } = Source.PerMinute("Pace:Tags", 300, "`CreateTags` and of `DeleteTags`, each; launches do not count");

    public double PutParameterPace { get; init; } = Source.PerMinute("Pace:PutParameter", 180, "`PutParameter`; AWS documents 2,400, accounts were held to 180 to 600");

    public double DeleteParameterPace { get; init; } = Source.PerMinute("Pace:DeleteParameter", 180, "`DeleteParameter`; the account has 300, and every machine deletes its own");

    /// <summary>Points a minute.</summary>
    public double GitHubPoints { get; init; } = Source.Number("Pace:GitHubPoints", 900, 60, 1_000_000, "points a minute of an installation: 5 for a call that changes something, 1 for another");

    /// <summary>Calls an hour.</summary>
    public double GitHubCalls { get; init; } = Source.Number("Pace:GitHubCalls", 10_000, 60, 10_000_000, "calls an hour of an installation");

    public bool LogAsJson { get; init; } = Source.Choice("Log", ["text", "json"], "lines for people, or one JSON object a line with each value under its name") == "json";

    /// <summary>workflow_job events stay far below the default.</summary>
    public int MaxBody { get; init; } = (int)Source.Number("MaxBody", 1 << 20, 1 << 10, 25_000_000, "bytes of a webhook's body; GitHub's own limit is 25 MB");

    /// <summary>Every AWS program's own variable, so that it is set in one place.</summary>
    public string Region { get; init; } = "";

    /// <summary>Every setting, in the order of the reference.</summary>
    public static IReadOnlyList<Setting> Reference => Defaults.Source.Asked;

    /// <summary>Every default; nothing where a setting has none.</summary>
    public static Settings Defaults => new(new SettingSource(null));

    /// <summary>For whoever asks what can be set: the table in docs/controller.md.</summary>
    public static string ReferenceTable => $"| key | default | wanted | what |\n|---|---|---|---|\n{string.Concat(Reference.Select(s => s.Row + "\n"))}";

    /// <exception cref="SettingsException">The first setting that is missing, wrong or not known.</exception>
    public static Settings From(IConfiguration configuration)
    {
        var settings = new Settings(new SettingSource(configuration.GetSection("Mayfly")));
        settings.Source.RefuseOthers();
        return settings with
        {
            Region = Environment.GetEnvironmentVariable("AWS_REGION") is { Length: > 0 } region
                ? region
                : throw new SettingsException("AWS_REGION is not set; set it to the region that the launch template is in"),
        };
    }

    public bool Lists(string repository) => Repositories.Any(listed =>
        string.Equals(listed, repository, StringComparison.OrdinalIgnoreCase)
        || (listed.EndsWith("/*", StringComparison.Ordinal) && repository.StartsWith(listed[..^1], StringComparison.OrdinalIgnoreCase)));

    /// <summary>Without its last slash, a path such as /api/v3 would be replaced instead of followed.</summary>
    private static Uri Followed(Uri address) => new(address.AbsoluteUri.TrimEnd('/') + "/");

    private static bool IsNumber(string text, out long value) => long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out value);

    private static bool IsRepository(string text, out string value) => (value = text).Split('/') is [{ Length: > 0 }, { Length: > 0 }];

    /// <summary>EC2 knows which there are; what is wrong is seen at the first launch.</summary>
    private static bool IsType(string text, out string value) => (value = text).Length > 0;
}
