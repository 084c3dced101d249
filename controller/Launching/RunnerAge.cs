using System.Globalization;
using Mayfly.Controller.Reconciliation;

namespace Mayfly.Controller.Launching;

/// <summary>
/// How old the runner on an image is. GitHub gives no job to a runner that is not brought up to date within 30 days of a new
/// release: each machine would start, wait and end.
/// https://docs.github.com/actions/reference/runners/self-hosted-runners#runner-software-updates-on-self-hosted-runners
/// </summary>
internal abstract record RunnerAge(string Reason)
{
    /// <summary>From this long after the successor's release it is told of.</summary>
    public static readonly TimeSpan WarnFrom = TimeSpan.FromDays(14);

    /// <summary>From this long after the successor's release no machine is launched.</summary>
    public static readonly TimeSpan RefuseFrom = TimeSpan.FromDays(30);

    public static readonly RunnerAge NotSeen = new Unknown("it was not looked at yet");

    /// <summary>It cannot be told; machines are launched.</summary>
    public sealed record Unknown(string Reason) : RunnerAge(Reason);

    public sealed record Fresh(string Reason) : RunnerAge(Reason);

    public sealed record Old(string Reason) : RunnerAge(Reason);

    public sealed record TooOld(string Reason) : RunnerAge(Reason);

    /// <param name="image">The AMI's id, for people.</param>
    /// <param name="version">The runner's on it, such as <c>2.336.0</c>; null if the image does not say.</param>
    /// <param name="released">The day of that release, as the image says it; null if it does not.</param>
    /// <param name="releases">Those that GitHub lists, in any order.</param>
    public static RunnerAge Of(string image, string? version, string? released, IReadOnlyCollection<ReleaseSeen> releases, DateTimeOffset now)
    {
        if (releases.Count == 0)
            return new Unknown("GitHub lists no releases of the runner");
        if (VersionOf(version) is not { } own)
            return new Unknown($"{image} does not say which runner is on it ({Contract.Tags.RunnerVersion}='{version}')");
        var successor = releases.Where(r => r is { Draft: false, Prerelease: false, PublishedAt: not null } && VersionOf(r.TagName) > own).MinBy(r => r.PublishedAt);
        var said = $"runner {version}{(string.IsNullOrEmpty(released) ? "" : $" of {released}")} on {image}";
        if (successor is null)
            return new Fresh($"{said} is the newest");
        var at = successor.PublishedAt!.Value;
        var words = $"{said} was followed by {successor.TagName.TrimStart('v')} on {Day(at)}";
        return now - at >= RefuseFrom ? new TooOld($"{words}, and from {Day(at + RefuseFrom)} on GitHub gives it no job; build and roll out a new image")
            : now - at >= WarnFrom ? new Old($"{words}; from {Day(at + RefuseFrom)} on GitHub gives it no job and no machine is launched; build and roll out a new image")
            : new Fresh(words);
    }

    private static Version? VersionOf(string? text) => Version.TryParse(text?.TrimStart('v'), out var version) ? version : null;

    private static string Day(DateTimeOffset at) => at.UtcDateTime.ToString("yyyy-MM-dd", CultureInfo.InvariantCulture);
}
