using System.Net;
using System.Text.Json;
using Mayfly.Aws;
using Mayfly.Contract;
using Mayfly.Controller.Seen;

namespace Mayfly.Controller.Reconciliation;

/// <summary>Does what a <see cref="Plan"/> says, each act after one more look at what it concerns.</summary>
internal sealed partial class Doer(Store store, AwsSites sites, GitHubApp github, GitHubView view, SpotBreaker spot, QueueWake queue, TimeProvider time, ILogger<Doer> log)
{
    /// <summary>Of ten parameters. SSM takes five such calls a second from an account; launches and agents need theirs.</summary>
    private static readonly TimeSpan BetweenDeletions = TimeSpan.FromMilliseconds(500);

    private const int NamesOfOneDeletion = 10;

    /// <summary>What was done of these acts, each by itself: one that fails is planned anew.</summary>
    public async Task DoAsync(IReadOnlyList<Act> acts, CancellationToken cancel)
    {
        var ended = new List<(Site Site, string Name)>();
        foreach (var act in acts)
        {
            try
            {
                await DoAsync(act, ended, cancel);
            }
            catch (Exception e) when (!cancel.IsCancellationRequested)
            {
                // Whatever it is: one act must not keep the others from being done, in this look and in every one to come.
                LogFailed(act.GetType().Name, e.Message);
            }
        }

        if (ended.Count > 0)
            await DoAsync([.. ended.GroupBy(e => e.Site, (site, names) => new Act.DeleteParameters(site, [.. names.Select(n => n.Name)]))], cancel);
    }

    private Task DoAsync(Act act, List<(Site Site, string Name)> ended, CancellationToken cancel) => act switch
    {
        Act.EndMachine end => EndMachineAsync(end, ended, cancel),
        Act.DeleteParameters delete => DeleteParametersAsync(sites.At(delete.Site), delete.Names, cancel),
        Act.RemoveRunner remove => RemoveRunnerAsync(remove, cancel),
        Act.ReadConsole read => ReadConsoleAsync(read, cancel),
        Act.AskForJob ask => AskForJobAsync(ask, cancel),
        Act.RunAgain again => RunAgainAsync(again, cancel),
        Act.ForgetRerun forget => ForgetRerunAsync(forget.Launch, forget.Reason),
        _ => throw new InvalidOperationException("an act that nobody does"),
    };

    private async Task EndMachineAsync(Act.EndMachine end, List<(Site Site, string Name)> ended, CancellationToken cancel)
    {
        var launch = await store.Launches.FindAsync(end.Id);
        if ((launch?.State, launch?.InstanceId, launch?.TookJob) != (end.Launch?.State, end.Launch?.InstanceId, end.Launch?.TookJob))
            return; // it has moved on
        if (end.HasRunner && await view.FindRunnerAsync(end.Repo, LaunchRecord.RunnerPrefix + end.Id.Key, cancel) is { } runner)
        {
            // The runner goes first: once it is gone, no job can begin on the machine. GitHub keeps one that has a job.
            if ((runner.IsBusy || !await github.DeleteRunnerAsync(end.Repo, runner.Id, cancel)) && !end.EvenIfBusy)
            {
                LogBusy(end.Machine.InstanceId, end.Id, end.Reason);
                return;
            }
        }

        await sites.At(end.Site).Ec2.TerminateAsync(end.Machine.InstanceId, cancel);
        ended.Add((end.Site, ConfigParameter.NameFor(end.Machine.InstanceId)));
        LogEndedMachine(end.Machine.InstanceId, end.Id, end.Reason);
        queue.Set();
    }

    private async Task DeleteParametersAsync(AwsSite site, IReadOnlyList<string> names, CancellationToken cancel)
    {
        var alive = (await site.Ec2.DescribeTaggedAsync(Tags.Launch, cancel)).Where(m => m.State is "pending" or "running").Select(m => ConfigParameter.NameFor(m.InstanceId)).ToHashSet();
        var deleted = 0;
        foreach (var some in names.Where(n => !alive.Contains(n)).Chunk(NamesOfOneDeletion))
        {
            if (deleted > 0)
                await Task.Delay(BetweenDeletions, time, cancel);
            await site.Ssm.DeleteManyAsync(some, cancel);
            deleted += some.Length;
        }

        if (deleted > 0)
            LogDeleted(deleted);
    }

    private async Task RemoveRunnerAsync(Act.RemoveRunner remove, CancellationToken cancel)
    {
        if (await view.FindRunnerAsync(remove.Repo, remove.Runner.Name, cancel) is not { IsOnline: false, IsBusy: false } runner || runner.Id != remove.Runner.Id)
            return;
        if (await github.DeleteRunnerAsync(remove.Repo, runner.Id, cancel))
            LogRemoved(runner.Name, remove.Repo.FullName, remove.Reason);
    }

    private async Task ReadConsoleAsync(Act.ReadConsole read, CancellationToken cancel)
    {
        var console = "";
        try
        {
            console = read.Machine is { } machine ? await sites.At(read.Site).Ec2.GetConsoleOutputAsync(machine.InstanceId, cancel) : "";
        }
        catch (AwsException e)
        {
            LogFailed(nameof(Act.ReadConsole), e.Message);
        }

        var launch = read.Launch;
        if (Epitaph.Of(console, read.Machine?.StateReason, read.Passed) is not { } epitaph)
            return; // more may come
        var seen = time.GetUtcNow() - read.Passed;
        await store.Launches.EndedAsync(launch.Id, epitaph.Words, JsonSerializer.Serialize(epitaph.Events, TimelineJson.Default.IReadOnlyListConsoleEvent),
            epitaph.IsInterruption && launch.Order.Spot == SpotMode.Rerun ? Rerun.Wanted : null, read.Machine is { } ended ? Usage.Of(ended, Moments.From(launch, ended.LaunchTime, seen, epitaph.Events).LastWord, seen) : null);
        if (epitaph.IsInterruption && read.Machine is { } taken)
        {
            var kinds = Pools.KindsOf(launch.Order);
            foreach (var kind in SpotBreaker.FamilyOf(taken.InstanceType) is var family && kinds.Contains(family) ? [family] : kinds)
                spot.Failed(kind, launch.Order.Region);
        }

        LastWords.Tell(launch, read.Machine?.LaunchTime, seen, epitaph);
        LogEnded(launch.InstanceId!, launch.Id.Repository, launch.JobId, epitaph.Words);
        queue.Set();
    }

    private async Task AskForJobAsync(Act.AskForJob ask, CancellationToken cancel)
    {
        var launch = ask.Launch;
        var job = await view.FindJobAsync(launch.Repo, launch.JobId, cancel);
        switch (job?.Status)
        {
            case null or "completed" or "in_progress":
                var (action, runner, conclusion) = job is null
                    ? (JobAction.Completed, null, "deleted") // with its run
                    : (job.Status == "completed" ? JobAction.Completed : JobAction.InProgress, job.RunnerName is { Length: > 0 } name ? name : null, job.Conclusion);
                await store.Launches.RecordAsync(new WorkflowJob(
                    action, launch.Repo.Installation, launch.Repo.FullName, launch.JobId, launch.RunId, launch.Attempt, launch.Name, launch.Labels, runner, conclusion));
                LogLearned(launch.Id.Repository, launch.JobId, action.ToString(), runner ?? "no runner", conclusion ?? "");
                break;
            case "queued" when ask.Then == IfQueued.Replace && await store.Queue.ReplaceAsync(launch):
                LogReplaced(launch.JobId, launch.Id.Repository, launch.Machine + 1, await WhyReplacedAsync(launch));
                queue.Set();
                break;
            case "queued" when ask.Then == IfQueued.Refuse:
                var reason = $"none of its {launch.Machine} machines ran it, and a job is given no more; the last one: {await WhyReplacedAsync(launch)}. Run the job again once that is mended";
                if (await store.Queue.RefuseAnotherAsync(launch, reason))
                    LogRefused(launch.JobId, launch.Id.Repository, reason);
                break;
        }
    }

    /// <summary>Its console may have been read since the look.</summary>
    private async Task<string> WhyReplacedAsync(LaunchRecord launch) => launch.TookJob is { } other && other != launch.JobId
        ? $"its runner took job {other}"
        : (await store.Launches.FindAsync(launch.Id))?.Ending ?? "the machine has ended";

    private async Task RunAgainAsync(Act.RunAgain again, CancellationToken cancel)
    {
        // First written down: the next attempt may be queued before GitHub's answer is here.
        if (!await store.Launches.RerunAsync(again.Launch, again.Job, Rerun.Wanted))
        {
            await ForgetRerunAsync(again.Launch, "somebody ran it again");
            return;
        }

        try
        {
            await view.RerunAsync(again.Launch.Repo, again.Job, cancel);
        }
        catch (GitHubException e) when (e is { IsFinal: true, Status: HttpStatusCode.Forbidden } && !e.Message.Contains("not accessible", StringComparison.Ordinal))
        {
            LogNotYet(again.Job, again.Launch.Id.Repository, e.Message); // the run's other jobs go on
            return;
        }
        catch (GitHubException e) when (e.IsFinal)
        {
            await ForgetRerunAsync(again.Launch, e.Status == HttpStatusCode.Forbidden ? $"{e.Message}; give the App the permission Actions: write" : e.Message);
            return;
        }

        await store.Launches.RerunAsync(again.Launch, again.Job, Rerun.Asked);
        LogAgain(again.Job, again.Launch.Id.Repository, again.Launch.InstanceId ?? "");
    }

    private async Task ForgetRerunAsync(LaunchRecord launch, string reason)
    {
        await store.Launches.RerunAsync(launch, launch.TookJob ?? launch.JobId, Rerun.GivenUp);
        LogForgotten(launch.TookJob ?? launch.JobId, launch.Id.Repository, reason);
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "ended {Instance} of {Launch}: {Reason}")]
    private partial void LogEndedMachine(string instance, LaunchId launch, string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "left {Instance} of {Launch} alone, since its runner has a job: {Reason}")]
    private partial void LogBusy(string instance, LaunchId launch, string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "deleted {Count} parameters whose machines are gone")]
    private partial void LogDeleted(int count);

    [LoggerMessage(Level = LogLevel.Warning, Message = "removed runner {Runner} of {Repository}: {Reason}")]
    private partial void LogRemoved(string runner, string repository, string reason);

    [LoggerMessage(Level = LogLevel.Information, Message = "{Instance} of job {Job} of {Repository} ended: {Ending}")]
    private partial void LogEnded(string instance, string repository, long job, string ending);

    [LoggerMessage(Level = LogLevel.Information, Message = "GitHub was asked for job {Job} of {Repository}: {Action}, {Runner} {Conclusion}")]
    private partial void LogLearned(string repository, long job, string action, string runner, string conclusion);

    [LoggerMessage(Level = LogLevel.Warning, Message = "job {Job} of {Repository} is queued again for machine {Machine}: {Reason}")]
    private partial void LogReplaced(long job, string repository, int machine, string reason);

    [LoggerMessage(Level = LogLevel.Error, Message = "no machine for job {Job} of {Repository}: {Reason}")]
    private partial void LogRefused(long job, string repository, string reason);

    [LoggerMessage(Level = LogLevel.Information, Message = "interrupted job {Job} of {Repository} cannot be run again yet: {Reason}")]
    private partial void LogNotYet(long job, string repository, string reason);

    [LoggerMessage(Level = LogLevel.Information, Message = "job {Job} of {Repository} is run again on demand, since EC2 took {Instance} back")]
    private partial void LogAgain(long job, string repository, string instance);

    [LoggerMessage(Level = LogLevel.Warning, Message = "interrupted job {Job} of {Repository} is not run again: {Reason}")]
    private partial void LogForgotten(long job, string repository, string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "{Act} was not done, and is planned again: {Reason}")]
    private partial void LogFailed(string act, string reason);
}
