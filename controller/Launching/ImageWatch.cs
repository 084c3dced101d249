using Mayfly.Aws;
using Mayfly.Contract;
using Mayfly.Controller.Reconciliation;

namespace Mayfly.Controller.Launching;

/// <summary>Keeps an eye on the runner of the image that the launch template launches. Every controller looks, since each launches.</summary>
internal sealed partial class ImageWatch(Ec2Client ec2, GitHubView github, Settings settings, TimeProvider time, ILogger<ImageWatch> log) : BackgroundService
{
    private static readonly TimeSpan LookEvery = TimeSpan.FromHours(1);

    /// <summary>A new image is waited for, or somebody did not answer.</summary>
    private static readonly TimeSpan LookSoon = TimeSpan.FromMinutes(5);

    /// <summary>As of the last look.</summary>
    public RunnerAge Age { get; private set; } = new RunnerAge.Unknown("it was not looked at yet");

    public async Task LookAsync(CancellationToken cancel)
    {
        RunnerAge age;
        try
        {
            age = await FindAsync(cancel);
        }
        catch (Exception e) when (e is AwsException or GitHubException or HttpRequestException or TaskCanceledException or InvalidDataException && !cancel.IsCancellationRequested)
        {
            LogNotSeen(e.Message); // what was seen before holds
            return;
        }

        if (age != Age)
            Say(age);
        Age = age;
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        while (!stoppingToken.IsCancellationRequested)
        {
            await LookAsync(stoppingToken);
            await Task.Delay(Age is RunnerAge.Fresh ? LookEvery : LookSoon, time, stoppingToken);
        }
    }

    private async Task<RunnerAge> FindAsync(CancellationToken cancel)
    {
        if (await ec2.FindTemplateImageAsync(settings.LaunchTemplate, cancel) is not { } image)
            return new RunnerAge.Unknown($"launch template {settings.LaunchTemplate} names no image");
        if (await ec2.FindImageTagsAsync(image, cancel) is not { } tags)
            return new RunnerAge.Unknown($"{image}, which launch template {settings.LaunchTemplate} names, is not there");
        return RunnerAge.Of(image, tags.GetValueOrDefault(Tags.RunnerVersion), tags.GetValueOrDefault(Tags.RunnerReleased),
            await github.RunnerReleasesAsync(settings.Installations[0], cancel), time.GetUtcNow());
    }

    private void Say(RunnerAge age)
    {
        switch (age)
        {
            case RunnerAge.TooOld:
                LogTooOld(age.Reason);
                break;
            case RunnerAge.Fresh:
                LogFresh(age.Reason);
                break;
            default:
                LogOld(age.Reason);
                break;
        }
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "{Reason}")]
    private partial void LogFresh(string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "{Reason}")]
    private partial void LogOld(string reason);

    [LoggerMessage(Level = LogLevel.Error, Message = "no machine is launched: {Reason}")]
    private partial void LogTooOld(string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "could not see how old the image's runner is: {Reason}")]
    private partial void LogNotSeen(string reason);
}
