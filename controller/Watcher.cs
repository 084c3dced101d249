using System.Text.Json;
using Mayfly.Aws;
using Mayfly.Contract;

namespace Mayfly.Controller;

/// <summary>Looks for machines that have ended and reads their last words from the serial console: the agent never talks
/// to the controller.</summary>
internal sealed partial class Watcher(Store store, Heart heart, Ec2Client ec2, Settings settings, TimeProvider time, ILogger<Watcher> log) : BackgroundService
{
    /// <summary>Machines that were seen terminated, since when: their consoles may come later.</summary>
    private readonly Dictionary<string, DateTimeOffset> _gone = [];

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(settings.LookEvery, time);
        while (await timer.WaitForNextTickAsync(stoppingToken))
        {
            try
            {
                if (heart.Leads)
                    await LookAsync(stoppingToken);
            }
            catch (Exception e) when (!stoppingToken.IsCancellationRequested)
            {
                LogFailed(e.Message); // the next look is soon, and finds all that this one did not
            }
        }
    }

    private async Task LookAsync(CancellationToken cancel)
    {
        var alive = await store.Launches.AliveAsync();
        if (alive.Count == 0)
            return;
        var machines = (await ec2.DescribeTaggedAsync(Tags.Launch, cancel)).ToDictionary(m => m.InstanceId);
        foreach (var launch in alive)
        {
            var machine = machines.GetValueOrDefault(launch.InstanceId!);
            if (machine is not null && machine.State != "terminated")
                continue;
            var console = "";
            try
            {
                console = machine is null ? "" : await ec2.GetConsoleOutputAsync(machine.InstanceId, cancel);
            }
            catch (AwsException e)
            {
                LogFailed(e.Message);
            }

            var since = machine is null ? launch.ChangedAt : _gone.GetValueOrDefault(machine.InstanceId, time.GetUtcNow());
            _gone[launch.InstanceId!] = since;
            if (Epitaph.Of(console, machine?.StateReason, time.GetUtcNow() - since) is not { } epitaph)
                continue;
            await store.Launches.EndedAsync(launch.Id, epitaph.Words, JsonSerializer.Serialize(epitaph.Events, TimelineJson.Default.IReadOnlyListConsoleEvent));
            _gone.Remove(launch.InstanceId!);
            LogEnded(launch.InstanceId!, launch.Id.Repository, launch.Id.Key, epitaph.Words);
        }
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "{Instance} of job {Key} of {Repository} ended: {Ending}")]
    private partial void LogEnded(string instance, string repository, string key, string ending);

    [LoggerMessage(Level = LogLevel.Warning, Message = "could not look for ended machines: {Reason}")]
    private partial void LogFailed(string reason);
}

/// <summary>What is kept of a machine that has ended.</summary>
internal sealed record Epitaph(string Words, IReadOnlyList<ConsoleEvent> Events)
{
    /// <summary>EC2 shows a console's last lines some time after the machine's end.</summary>
    public static readonly TimeSpan ConsoleLimit = TimeSpan.FromMinutes(5);

    /// <summary>DescribeInstances lags behind a launch by seconds, and forgets a machine an hour after its end.</summary>
    public static readonly TimeSpan NameLimit = TimeSpan.FromMinutes(10);

    /// <param name="stateReason">Why it ended, as EC2 says; null if EC2 does not name the machine.</param>
    /// <param name="passed">Since it was first seen so.</param>
    /// <returns>Null: wait for more.</returns>
    public static Epitaph? Of(string console, string? stateReason, TimeSpan passed)
    {
        var lines = console.Split('\n');
        if (lines.Select(ConsoleLine.ParseEnding).LastOrDefault(e => e is not null) is { } ending)
            return new Epitaph($"{ending.Ending}: {ending.Detail}", ending.Events);
        if (stateReason is null)
            return passed < NameLimit ? null : new Epitaph("unknown: EC2 no longer names the machine", []);
        return passed < ConsoleLimit
            ? null
            : new Epitaph($"unknown: the console holds no ending; EC2 says: {stateReason}", [.. lines.Select(ConsoleLine.ParseEvent).OfType<ConsoleEvent>()]);
    }
}

[System.Text.Json.Serialization.JsonSerializable(typeof(IReadOnlyList<ConsoleEvent>))]
internal sealed partial class TimelineJson : System.Text.Json.Serialization.JsonSerializerContext;
