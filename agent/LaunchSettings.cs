using System.Globalization;
using Mayfly.Contract;

namespace Mayfly.Agent;

/// <summary>Where the runner's configuration comes from.</summary>
internal enum ConfigSource
{
    Ssm,
    Tags,
}

/// <summary>What a job may connect to, the metadata service aside.</summary>
internal enum EgressMode
{
    /// <summary>Whatever the subnet allows.</summary>
    Open,

    /// <summary>The same, and every new destination is told of once.</summary>
    Audit,

    /// <summary>Only what the image's list and the launch's name.</summary>
    Allow,
}

/// <summary>What the launch's tags ask for.</summary>
/// <param name="Launch">For people: repository, job and attempt; empty if not set.</param>
/// <param name="Sudo">Whether the job's user may become the sandbox's root.</param>
/// <param name="EgressAllow">Host names, <c>*.</c> in front for all below, and networks, for <see cref="EgressMode.Allow"/>.</param>
/// <param name="ScratchGiB">The least that scratch has to hold; null takes what there is.</param>
/// <param name="SwapGiB">Size of swap, 0 for none; null for the default that fits the machine.</param>
/// <param name="Check">Whether the console is to tell of each guarantee.</param>
internal sealed record LaunchSettings(
    string Launch, ConfigSource Config, TimeSpan IdleTimeout, TimeSpan JobTimeout, bool Sudo, EgressMode Egress, IReadOnlyList<string> EgressAllow,
    int? ScratchGiB, int? SwapGiB, bool Check)
{
    public static readonly IReadOnlyList<string> Keys =
    [
        Tags.Launch, Tags.Config, Tags.IdleTimeout, Tags.JobTimeout, Tags.Sudo, Tags.Egress, Tags.EgressAllow, Tags.ScratchGiB, Tags.SwapGiB, Tags.Check,
    ];

    /// <summary>GitHub offers a job again after a minute; five leave room for a slow queue.</summary>
    private const int DefaultIdleSeconds = 300;

    /// <summary>GitHub's own default limit of a job, six hours.</summary>
    private const int DefaultJobSeconds = 21600;

    /// <summary>The largest EBS volume, 64 TiB.</summary>
    private const int MostGiB = 65_536;

    /// <exception cref="EndingException">A tag's value is out of range: names tag, value and range.</exception>
    public static LaunchSettings From(IReadOnlyDictionary<string, string> tags)
    {
        return new LaunchSettings(
            tags.GetValueOrDefault(Tags.Launch, ""),
            OneOf(Tags.Config, ("ssm", ConfigSource.Ssm), ("tags", ConfigSource.Tags)),
            TimeSpan.FromSeconds(Number(Tags.IdleTimeout, 1, 86_400, "seconds") ?? DefaultIdleSeconds),
            TimeSpan.FromSeconds(Number(Tags.JobTimeout, 1, 432_000, "seconds") ?? DefaultJobSeconds),
            OneOf(Tags.Sudo, ("false", false), ("true", true)),
            OneOf(Tags.Egress, ("open", EgressMode.Open), ("audit", EgressMode.Audit), ("allow", EgressMode.Allow)),
            tags.GetValueOrDefault(Tags.EgressAllow, "").Split(' ', StringSplitOptions.RemoveEmptyEntries),
            Number(Tags.ScratchGiB, 1, MostGiB, "GiB"),
            Number(Tags.SwapGiB, 0, MostGiB, "GiB"),
            OneOf(Tags.Check, ("false", false), ("true", true)));

        int? Number(string key, int least, int most, string unit)
        {
            if (!tags.TryGetValue(key, out var value))
                return null;
            return int.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out var number) && number >= least && number <= most
                ? number
                : throw Bad(key, value, $"a whole number of {unit} from {least} to {most} is wanted");
        }

        // The first choice is the default.
        T OneOf<T>(string key, params ReadOnlySpan<(string Name, T Value)> choices)
        {
            if (!tags.TryGetValue(key, out var value))
                return choices[0].Value;
            var names = new List<string>();
            foreach (var choice in choices)
            {
                if (choice.Name == value)
                    return choice.Value;
                names.Add($"'{choice.Name}'");
            }

            throw Bad(key, value, $"one of {string.Join(", ", names)} is wanted");
        }
    }

    private static EndingException Bad(string key, string value, string way) =>
        new(Ending.NotProved(Step.LearnIdentity, $"tag {key}='{value}': {way}"));
}
