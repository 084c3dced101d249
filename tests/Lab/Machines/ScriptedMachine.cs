using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Mayfly.Contract;
using Mayfly.Lab.Aws;
using Mayfly.Lab.Ec2;
using Mayfly.Lab.GitHub;

namespace Mayfly.Lab.Machines;

/// <summary>
/// A machine without a process that goes through a machine's whole life by the lab's clock: it becomes running, takes its
/// configuration and deletes it at its source (so that SSM's rates count), its runner listens at the lab's GitHub, does one
/// job, and it powers off; its console holds the agent's own lines. Thousands cost little. Given to
/// <see cref="LabOptions.Machine"/>: <c>(lab, instance) => new ScriptedMachine(lab, instance, new MachineScript())</c>.
/// </summary>
internal sealed class ScriptedMachine : IMachine, IDisposable
{
    /// <summary>GitHub's lock on a job that nobody renews any more lasts this long; the job has failed then.</summary>
    private static readonly TimeSpan LockLasts = TimeSpan.FromMinutes(10);

    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly CancellationTokenSource _kill = new();
    private readonly CancellationToken _killed;
    private readonly List<ConsoleEvent> _events = [];
    private readonly Lab _lab;
    private readonly Instance _instance;
    private readonly MachineScript _script;
    private readonly MachineFault _fault;
    private readonly TimeProvider _time;
    private DateTimeOffset _kernelStarted;
    private ConsoleEnding? _ending;
    private Runner? _runner;
    private Job? _job;

    public ScriptedMachine(Lab lab, Instance instance, MachineScript script)
    {
        (_lab, _instance, _script, _time) = (lab, instance, script, lab.Options.Time);
        (_fault, _killed) = (script.FaultOf(instance), _kill.Token);
    }

    public Task Ended => _ended.Task;

    public async Task StartAsync()
    {
        try
        {
            await DelayAsync(_fault == MachineFault.StaysPending ? Timeout.InfiniteTimeSpan : _script.Pending);
        }
        catch (OperationCanceledException)
        {
            return; // killed before it ran
        }

        _ = LiveAsync();
    }

    /// <summary>Its power is cut: it does nothing any more, and GitHub hears of its job only by hearing nothing.</summary>
    public void Kill()
    {
        _kill.Cancel();
        _ended.TrySetResult();
    }

    public void Dispose() => _kill.Dispose();

    public string ReadConsole()
    {
        var text = new StringBuilder();
        lock (_events)
        {
            foreach (var e in _events)
                text.Append(ConsoleLine.Format(e)).Append('\n');
            if (_ending is not null)
                text.Append(ConsoleLine.Format(_ending)).Append('\n');
        }

        return text.ToString();
    }

    private async Task LiveAsync()
    {
        try
        {
            var (ending, step, detail) = await BootAsync();
            Tell(Step.End, Milestone.Ending, $"{ending}: {detail}");
            lock (_events)
                _ending = new ConsoleEnding(ending, step.Number, detail, [.. _events]);
            await DelayAsync(_script.PowerOff);
            _ended.TrySetResult();
        }
        catch (OperationCanceledException) when (_killed.IsCancellationRequested)
        {
            await LoseJobAsync();
        }
        finally
        {
            if (_runner is not null)
                _runner.Session = null;
        }
    }

    private async Task<(string Ending, Step Step, string Detail)> BootAsync()
    {
        _kernelStarted = _time.GetUtcNow();
        if (_fault == MachineFault.NeverBoots)
            await DelayAsync(Timeout.InfiniteTimeSpan);
        Tell(null, Milestone.KernelStarted);
        await DelayAsync(_script.Boot);
        Tell(Step.VerifyRoot, Milestone.RootVerified, "pretended");
        Tell(Step.EncryptScratch, Milestone.ScratchReady, "pretended");
        Tell(Step.EncryptSwap, Milestone.SwapReady, "pretended");
        Tell(Step.LayWritableView, Milestone.ViewLaid);
        Tell(Step.LearnIdentity, Milestone.IdentityLearned, $"{_instance.Id}, {_instance.Type} in {_instance.Zone}");
        if (await TakeConfigAsync() is not { } envelope)
            return ("config-absent", Step.TakeConfig, "no configuration appeared");
        Tell(Step.CloseDoor, Milestone.DoorClosed);
        Tell(Step.StartRunner, Milestone.RunnerStarted);
        _runner = _lab.GitHub.Runners.TryFind(RunnerIn(envelope));
        if (_runner is null)
            return ("runner-refused", Step.Watch, "GitHub refused the runner's configuration or session; it may have been used or removed before");
        if (_fault == MachineFault.NeverListens)
            await DelayAsync(Timeout.InfiniteTimeSpan);
        await DelayAsync(_script.Connect);
        Tell(Step.Watch, Milestone.RunnerConnected);
        (_runner.Session, _runner.Listened) = (Guid.NewGuid(), true);
        Tell(Step.Watch, Milestone.RunnerListening);
        _lab.Journal.Record("github", "runner listening", _runner.Name, _instance.Id);
        return await TakeJobAsync(_runner);
    }

    private async Task<(string Ending, Step Step, string Detail)> TakeJobAsync(Runner runner)
    {
        var seconds = int.TryParse(_instance.Tags.GetValueOrDefault(Tags.IdleTimeout), NumberStyles.None, CultureInfo.InvariantCulture, out var given) ? given : 300;
        var jobs = _lab.GitHub.Jobs;
        var end = _time.GetUtcNow().AddSeconds(seconds);
        while (true)
        {
            var change = jobs.NextChange;
            if (runner.IsRemoved)
                return ("runner-exited", Step.Watch, "the runner exited with 0 before it did a job");
            if (jobs.Offer(runner) is { } offered)
                return await DoAsync(jobs.Acquire(runner, offered.MessageId));
            if (_instance.WhenSpotNoticed.IsCompleted)
                return ("spot-interrupted-idle", Step.Watch, "EC2 takes this spot instance back; no job had begun");
            var left = end - _time.GetUtcNow();
            if (left <= TimeSpan.Zero)
                return ("idle", Step.Watch, $"no job came within {seconds} s ({Tags.IdleTimeout}); another runner may have taken it, or it was cancelled");
            // Looks again now and then, since a removal and an offer that lapses are no changes.
            var longest = TimeSpan.FromSeconds(30);
            await Task.WhenAny(jobs.IsWithinAsync(change, left < longest ? left : longest, _killed), _instance.WhenSpotNoticed);
            _killed.ThrowIfCancellationRequested();
        }
    }

    private async Task<(string Ending, Step Step, string Detail)> DoAsync(Job job)
    {
        _job = job;
        _lab.Journal.Record("github", "job assigned", $"{job.Id}", _runner!.Name);
        _lab.GitHub.Jobs.Start(job);
        Tell(Step.Watch, Milestone.JobStarted, job.Name);
        using var done = CancellationTokenSource.CreateLinkedTokenSource(_killed);
        var work = Task.Delay(_fault == MachineFault.HangsInJob ? Timeout.InfiniteTimeSpan : _script.JobTakes(job), _time, done.Token);
        var first = await Task.WhenAny(work, job.WhenCancelRequested, _instance.WhenSpotNoticed);
        _killed.ThrowIfCancellationRequested();
        var isInterrupted = first == _instance.WhenSpotNoticed;
        var conclusion = isInterrupted ? "failure" : first == work ? _script.Conclusion(job) : "cancelled";
        _lab.GitHub.Jobs.Complete(job, conclusion);
        _lab.GitHub.Runners.Remove(_runner, "its one job is done");
        await done.CancelAsync(); // only now: who is called by it may be late, and the clock may have moved on
        if (isInterrupted)
            return ("spot-interrupted", Step.Watch, "EC2 takes this spot instance back; the job was stopped in time for GitHub to hear of it, and can be run again");
        Tell(Step.Watch, Milestone.JobDone, conclusion);
        return (conclusion switch { "success" => "job-succeeded", "cancelled" => "job-canceled", _ => "job-failed" }, Step.Watch, "the runner did its one job");
    }

    /// <summary>Reads the envelope and deletes it at its source, as often as it takes; null if none came.</summary>
    private async Task<string?> TakeConfigAsync()
    {
        var isInTags = _instance.Tags.GetValueOrDefault(Tags.Config) == "tags";
        var source = isInTags ? "tags" : ConfigParameter.NameFor(_instance.Id);
        var end = _time.GetUtcNow() + _script.ConfigWait;
        string? envelope;
        while ((envelope = isInTags ? FromTags() : FromParameter(source)) is null)
        {
            if (_time.GetUtcNow() >= end)
                return null;
            await DelayAsync(TimeSpan.FromSeconds(2));
        }

        Tell(Step.TakeConfig, Milestone.ConfigTaken, source);
        for (var pause = TimeSpan.FromSeconds(1); !isInTags && !IsDeleted(source); pause = pause < TimeSpan.FromSeconds(8) ? pause * 2 : pause)
            await DelayAsync(pause * (0.5 + Random.Shared.NextDouble()));
        if (isInTags)
            _instance.Retag(_instance.Tags.RemoveRange(ConfigTags.Keys), _time.GetUtcNow());
        Tell(Step.TakeConfig, Milestone.ConfigDeleted, $"{source}, and no longer readable");
        return envelope;
    }

    private string? FromTags()
    {
        var tags = _instance.Tags;
        return ConfigTags.PiecesOf(tags.GetValueOrDefault(ConfigTags.CountKey), [.. tags.Keys]) is { } keys ? string.Concat(keys.Select(k => tags[k])) : null;
    }

    private string? FromParameter(string name)
    {
        try
        {
            return Home.Ssm.Call("GetParameter", new JsonObject { ["Name"] = name, ["WithDecryption"] = true }, Role)["Parameter"]!["Value"]!.GetValue<string>();
        }
        catch (AwsFault)
        {
            return null; // not there yet, or throttled
        }
    }

    private bool IsDeleted(string name)
    {
        try
        {
            _ = Home.Ssm.Call("DeleteParameter", new JsonObject { ["Name"] = name }, Role);
            return true;
        }
        catch (AwsFault fault)
        {
            return fault.Code == "AccessDeniedException"; // by the scoped policy: it is gone
        }
    }

    /// <summary>The account and region that it was launched in, by its ARN.</summary>
    private Place Home => _lab.PlaceIn(_instance.Arn.Split(':')[4], _instance.Arn.Split(':')[3]);

    private Principal Role => new($"AROALAB:{_instance.Id}", $"arn:aws:sts::{Home.Account}:assumed-role/mayfly-runner/{_instance.Id}", _instance.Arn);

    private static long RunnerIn(string envelope)
    {
        using var files = Envelope.Unpack(Encoding.ASCII.GetBytes(envelope));
        using var settings = JsonDocument.Parse(files.Contents[0].RevealMemory());
        return long.Parse(settings.RootElement.GetProperty("AgentId").GetString()!, CultureInfo.InvariantCulture);
    }

    private async Task LoseJobAsync()
    {
        if (_job is not { } job || _runner is not { } runner)
            return;
        await Task.Delay(LockLasts, _time);
        _lab.GitHub.Jobs.Complete(job, "failure");
        _lab.GitHub.Runners.Remove(runner, "it lost communication with the server");
    }

    private void Tell(Step? step, string name, string detail = "")
    {
        lock (_events)
            _events.Add(new ConsoleEvent(Math.Round((_time.GetUtcNow() - _kernelStarted).TotalSeconds, 3), step?.Number ?? 0, name, detail));
    }

    private Task DelayAsync(TimeSpan time) => Task.Delay(time, _time, _killed);
}
