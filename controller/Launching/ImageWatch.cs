using System.Collections.Concurrent;
using Mayfly.Contract;
using Mayfly.Controller.Reconciliation;

namespace Mayfly.Controller.Launching;

/// <summary>Keeps an eye on the runners of all images that the policy launches. Every controller looks, since each launches.</summary>
internal sealed partial class ImageWatch(AwsSites sites, GitHubView github, PolicySource policy, Settings settings, TimeProvider time, ILogger<ImageWatch> log) : BackgroundService
{
    private static readonly TimeSpan LookEvery = TimeSpan.FromHours(1);

    /// <summary>Before the name of a parameter that holds an AMI's id.</summary>
    private const string ByParameter = "resolve:ssm:";

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
        catch (Exception e) when (!cancel.IsCancellationRequested)
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
            catch (Exception e) when (!cancel.IsCancellationRequested)
            {
                LogNotSeen($"{source}", e.Message);
            }
        }
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        var changed = new Wake(time);
        policy.Changed += changed.Set;
        while (!stoppingToken.IsCancellationRequested)
        {
            await LookAsync(stoppingToken);
            await changed.WaitAsync(policy.Current.ImageSources.All(s => AgeOf(s) is RunnerAge.Fresh) ? LookEvery : LookSoon, stoppingToken);
        }
    }

    private async Task<RunnerAge> FindAsync(ImageSource source, IReadOnlyCollection<ReleaseSeen> releases, CancellationToken cancel)
    {
        var site = sites.At(source.Site);
        var image = source.Image is not { } own ? await site.Ec2.FindTemplateImageAsync(source.LaunchTemplate, cancel)
            : own.StartsWith(ByParameter, StringComparison.Ordinal) ? await site.Ssm.FindTextAsync(own[ByParameter.Length..], cancel)
            : own;
        if (image is null)
            return new RunnerAge.Unknown("it names no image");
        if (await site.Ec2.FindImageTagsAsync(image, cancel) is not { } tags)
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
