using System.Collections.Concurrent;
using Mayfly.Aws;
using Mayfly.Contract;
using Mayfly.Controller.Reconciliation;

namespace Mayfly.Controller.Launching;

/// <summary>Keeps an eye on the runners of all images that the policy launches. Every controller looks, since each launches.</summary>
internal sealed partial class ImageWatch(AwsSites sites, GitHubView github, PolicySource policy, Settings settings, TimeProvider time, ILogger<ImageWatch> log) : BackgroundService
{
    private static readonly TimeSpan LookEvery = TimeSpan.FromHours(1);

    /// <summary>A new image is waited for, or somebody did not answer.</summary>
    private static readonly TimeSpan LookSoon = TimeSpan.FromMinutes(5);

    private readonly ConcurrentDictionary<ImageSource, RunnerAge> _ages = new();

    /// <summary>As of the last look.</summary>
    public RunnerAge AgeOf(ImageSource source) => _ages.GetValueOrDefault(source) ?? RunnerAge.NotSeen;

    public async Task LookAsync(CancellationToken cancel)
    {
        IReadOnlyCollection<ReleaseSeen> releases;
        try
        {
            releases = await github.RunnerReleasesAsync(settings.Installations[0], cancel);
        }
        catch (Exception e) when (IsPassing(e) && !cancel.IsCancellationRequested)
        {
            LogNotSeen("the runner's releases", e.Message); // what was seen before holds
            return;
        }

        foreach (var source in policy.Current.ImageSources)
        {
            try
            {
                var age = await FindAsync(source, releases, cancel);
                if (age != AgeOf(source))
                    Say(source, age);
                _ages[source] = age;
            }
            catch (Exception e) when (IsPassing(e) && !cancel.IsCancellationRequested)
            {
                LogNotSeen($"{source}", e.Message);
            }
        }
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        while (!stoppingToken.IsCancellationRequested)
        {
            await LookAsync(stoppingToken);
            await Task.Delay(policy.Current.ImageSources.All(s => AgeOf(s) is RunnerAge.Fresh) ? LookEvery : LookSoon, time, stoppingToken);
        }
    }

    private static bool IsPassing(Exception e) => e is AwsException or GitHubException or HttpRequestException or TimeoutException or TaskCanceledException or InvalidDataException;

    private async Task<RunnerAge> FindAsync(ImageSource source, IReadOnlyCollection<ReleaseSeen> releases, CancellationToken cancel)
    {
        var ec2 = sites.At(source.Site).Ec2;
        if (source.Image?.StartsWith("ami-", StringComparison.Ordinal) == false)
            return new RunnerAge.Unknown("EC2 looks the image up at each launch");
        if ((source.Image ?? await ec2.FindTemplateImageAsync(source.LaunchTemplate, cancel)) is not { } image)
            return new RunnerAge.Unknown("it names no image");
        if (await ec2.FindImageTagsAsync(image, cancel) is not { } tags)
            return new RunnerAge.Unknown($"{image} is not there");
        return RunnerAge.Of(image, tags.GetValueOrDefault(Tags.RunnerVersion), tags.GetValueOrDefault(Tags.RunnerReleased), releases, time.GetUtcNow());
    }

    private void Say(ImageSource source, RunnerAge age)
    {
        switch (age)
        {
            case RunnerAge.TooOld:
                LogTooOld(source, age.Reason);
                break;
            case RunnerAge.Fresh:
                LogFresh(source, age.Reason);
                break;
            default:
                LogOld(source, age.Reason);
                break;
        }
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "{Source}: {Reason}")]
    private partial void LogFresh(ImageSource source, string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "{Source}: {Reason}")]
    private partial void LogOld(ImageSource source, string reason);

    [LoggerMessage(Level = LogLevel.Error, Message = "no machine is launched from {Source}: {Reason}")]
    private partial void LogTooOld(ImageSource source, string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "could not look at {Source}: {Reason}")]
    private partial void LogNotSeen(string source, string reason);
}
