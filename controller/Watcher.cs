using System.Text.Json;
using Mayfly.Aws;
using Mayfly.Contract;

namespace Mayfly.Controller;

/// <summary>Looks for machines that have ended and reads their last words from the serial console: the agent never talks
/// to the controller.</summary>
internal sealed partial class Watcher(Store store, Ec2Client ec2, Settings settings, TimeProvider time, ILogger<Watcher> log) : BackgroundService
{
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(settings.LookEvery, time);
        while (await timer.WaitForNextTickAsync(stoppingToken))
        {
            try
            {
                await LookAsync(stoppingToken);
            }
            catch (Exception e) when (e is AwsException or HttpRequestException or TimeoutException)
            {
                LogFailed(e.Message);
            }
        }
    }

    private async Task LookAsync(CancellationToken cancel)
    {
        var alive = store.Alive();
        if (alive.Count == 0)
            return;
        var machines = (await ec2.DescribeTaggedAsync(Tags.Launch, cancel)).ToDictionary(m => m.InstanceId);
        foreach (var launch in alive)
        {
            // One that EC2 does not name yet was launched a moment ago: DescribeInstances lags behind.
            if (!machines.TryGetValue(launch.InstanceId!, out var machine) || machine.State != "terminated")
                continue;
            var lines = (await ec2.GetConsoleOutputAsync(machine.InstanceId, cancel)).Split('\n');
            var ending = lines.Select(ConsoleLine.ParseEnding).LastOrDefault(e => e is not null);
            var events = ending?.Events ?? [.. lines.Select(ConsoleLine.ParseEvent).OfType<ConsoleEvent>()];
            var word = ending is null ? $"unknown: the console holds no ending; EC2 says: {machine.StateReason}" : $"{ending.Ending}: {ending.Detail}";
            store.Ended(launch.Repository, launch.Key, word, JsonSerializer.Serialize(events, TimelineJson.Default.IReadOnlyListConsoleEvent));
            LogEnded(machine.InstanceId, launch.Repository, launch.Key, word);
        }
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "{Instance} of job {Key} of {Repository} ended: {Ending}")]
    private partial void LogEnded(string instance, string repository, string key, string ending);

    [LoggerMessage(Level = LogLevel.Warning, Message = "could not look for ended machines: {Reason}")]
    private partial void LogFailed(string reason);
}

[System.Text.Json.Serialization.JsonSerializable(typeof(IReadOnlyList<ConsoleEvent>))]
internal sealed partial class TimelineJson : System.Text.Json.Serialization.JsonSerializerContext;
