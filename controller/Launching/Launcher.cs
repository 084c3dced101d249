using System.Globalization;
using System.Net;
using Mayfly.Aws;
using Mayfly.Contract;

namespace Mayfly.Controller.Launching;

/// <summary>A launch that cannot succeed by being tried again; the reason is for people.</summary>
internal sealed class LaunchRefusedException(string reason, Exception? inner = null) : Exception(reason, inner)
{
    /// <summary>Whether the job's user may read the reason: it names no account and no role.</summary>
    public bool IsForUser { get; init; }
}

/// <summary>The job no longer waits for a runner.</summary>
internal sealed class JobGoneException() : Exception("the job no longer waits for a runner");

/// <summary>
/// One job, one machine: asks GitHub for a runner's configuration and EC2 for an instance at the same time, then stores
/// the configuration under the instance's name. If a part fails, all of it is undone. Killed at any point and made again,
/// it finds what it made before: the instance by its client token, the runner by its name, the parameter by the instance,
/// and in the store whether the machine may have been given its configuration, for then a job may run on it.
/// </summary>
internal sealed class Launcher(GitHubApp github, Fleet fleet, AwsSites sites, Settings settings, Launches launches, TimeProvider time)
{
    /// <summary>Undoing has its own end: it also happens while the controller is asked to stop.</summary>
    public static readonly TimeSpan UndoLimit = TimeSpan.FromSeconds(20);

    /// <summary>Tries to tag an instance, a second apart: for seconds after a launch not all of EC2 knows it.</summary>
    private const int TagTries = 10;

    private static readonly TimeSpan TagPause = TimeSpan.FromSeconds(1);

    /// <param name="launch">As it was claimed.</param>
    /// <param name="cancel">Stops it where it stands; what was made is undone.</param>
    /// <param name="member">Stops even that: the launch may be another's now (<see cref="Heart.Member"/>).</param>
    /// <returns>The instance's id.</returns>
    /// <exception cref="LaunchRefusedException">It would fail every time.</exception>
    /// <exception cref="JobGoneException">The job needs no machine any more.</exception>
    public async Task<string> LaunchAsync(LaunchRecord launch, CancellationToken cancel, CancellationToken member)
    {
        var (spent, site) = (launch.Spent, sites.At(launch.Order.Site));
        if (launch.InstanceId is { } earlier)
        {
            if (await SettleAsync(launch, earlier, cancel, member) is not { } undone)
                return earlier;
            spent = undone;
        }

        if ((launch.Tries > 1 || launch.Machine > 1) && !await github.IsQueuedAsync(launch.Repo, launch.JobId, cancel))
            throw new JobGoneException();

        var registering = RegisterAsync(launch, cancel);
        var starting = fleet.LaunchAsync(launch, spent, cancel);
        try
        {
            await Task.WhenAll(registering, starting);
            using var runner = await registering;
            var instance = await starting;
            // Whether it fits its parameter can only be seen once GitHub has answered; to wait for that before EC2 is asked
            // would cost every job the difference. The machine has taken no configuration yet and is undone below.
            var envelope = Envelope.Pack(runner.Files);
            await launches.StoringAsync(launch.Id, instance);
            await StoreAsync(site, instance, envelope, cancel);
            return instance;
        }
        catch (Exception e) when (e is not ClaimLostException && !member.IsCancellationRequested)
        {
            (await OutcomeAsync(registering))?.Dispose();
            if (await UndoAsync(launch, await OutcomeAsync(starting), member) is null)
                return await starting; // the parameter was stored although its answer was lost, and the job runs
            throw e switch
            {
                EnvelopeException unusable => new LaunchRefusedException(unusable.Message, unusable),
                GitHubException { IsFinal: true } refused => new LaunchRefusedException(refused.Message, refused),
                AwsException aws when LaunchTroubles.IsLasting(aws.Code) => new LaunchRefusedException(aws.Message, aws),
                _ => e,
            };
        }
        catch
        {
            (await OutcomeAsync(registering))?.Dispose();
            throw;
        }
    }

    /// <summary>An earlier try came as far as a machine.</summary>
    /// <returns>Null if that machine has its configuration, or had it; how many client tokens are spent if it is gone.</returns>
    private async Task<int?> SettleAsync(LaunchRecord launch, string instance, CancellationToken cancel, CancellationToken member)
    {
        // Without a configuration at its source, either the agent has taken it or it was never stored. A job that waits no longer was taken
        // by the machine, as far as anyone can tell; one that waits is given a new machine, for this runner is deleted first.
        if (launch.State == LaunchState.Storing && (await IsStoredAsync(sites.At(launch.Order.Site), instance, cancel) || !await github.IsQueuedAsync(launch.Repo, launch.JobId, cancel)))
            return null;
        return await UndoAsync(launch, instance, member);
    }

    /// <summary>A runner of the same name is what an earlier try left behind: its configuration is lost, so it is replaced.</summary>
    private async Task<RegisteredRunner> RegisterAsync(LaunchRecord launch, CancellationToken cancel)
    {
        try
        {
            return await github.RegisterAsync(launch.Repo, launch.Runner, launch.Labels, cancel);
        }
        catch (GitHubException e) when (e.Status == HttpStatusCode.Conflict)
        {
            if (await github.FindRunnerAsync(launch.Repo, launch.Runner, cancel) is { } stale)
                await github.DeleteRunnerAsync(launch.Repo, stale, cancel);
            return await github.RegisterAsync(launch.Repo, launch.Runner, launch.Labels, cancel);
        }
    }

    private async Task StoreAsync(AwsSite site, string instance, string envelope, CancellationToken cancel)
    {
        if (settings.ConfigInTags)
        {
            await TagAsync(site, instance, ConfigTags.Split(envelope), cancel);
            return;
        }

        var name = ConfigParameter.NameFor(instance);
        var tags = new Dictionary<string, string> { [ConfigParameter.InstanceTag] = site.Account.InstanceArn(instance) };
        try
        {
            await site.Ssm.PutSecureStringAsync(name, envelope, tags, cancel);
        }
        catch (AwsException e) when (e.Code == "ParameterAlreadyExists")
        {
            // Ours: nothing was stored for this machine before this call, whose first try was carried out and its answer lost.
        }
    }

    private async Task TagAsync(AwsSite site, string instance, IReadOnlyDictionary<string, string> tags, CancellationToken cancel)
    {
        for (var attempt = 1; ; attempt++)
        {
            try
            {
                await site.Ec2.CreateTagsAsync(instance, tags, cancel);
                return;
            }
            catch (AwsException e) when (e.Code == "InvalidInstanceID.NotFound" && attempt < TagTries)
            {
                await Task.Delay(TagPause, time, cancel);
            }
        }
    }

    private async Task<bool> IsStoredAsync(AwsSite site, string instance, CancellationToken cancel) => settings.ConfigInTags
        ? (await site.Ec2.DescribeTaggedAsync(ConfigTags.CountKey, cancel)).Any(i => i.InstanceId == instance)
        : await site.Ssm.ExistsAsync(ConfigParameter.NameFor(instance), cancel);

    /// <summary>Takes back what was made. The runner goes first: once it is gone, no job can begin on the machine.</summary>
    /// <returns>Null if a job runs on the machine already: then nothing was taken back. Else how many client tokens are spent.</returns>
    private async Task<int?> UndoAsync(LaunchRecord launch, string? instance, CancellationToken member)
    {
        using var passed = new CancellationTokenSource(UndoLimit, time);
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(passed.Token, member);
        if (instance is not null)
            await launches.UndoingAsync(launch.Id, instance);
        if (await github.FindRunnerAsync(launch.Repo, launch.Runner, limit.Token) is { } runner && !await github.DeleteRunnerAsync(launch.Repo, runner, limit.Token))
            return null;
        if (instance is null)
            return launch.Spent;
        var site = sites.At(launch.Order.Site);
        await IgnoreAsync(() => site.Ec2.TerminateAsync(instance, limit.Token), "InvalidInstanceID.NotFound");
        if (settings.ConfigInTags) // EC2 shows a terminated instance's tags for an hour
            await IgnoreAsync(() => site.Ec2.DeleteTagsAsync(instance, ConfigTags.Keys, limit.Token), "InvalidInstanceID.NotFound");
        await IgnoreAsync(() => site.Ssm.DeleteAsync(ConfigParameter.NameFor(instance), limit.Token), "ParameterNotFound");
        return await launches.UndoneAsync(launch.Id);
    }

    private static async Task<T?> OutcomeAsync<T>(Task<T> task)
        where T : class
    {
        await Task.WhenAny(task);
        return task.IsCompletedSuccessfully ? task.Result : null;
    }

    private static async Task IgnoreAsync(Func<Task> call, string code)
    {
        try
        {
            await call();
        }
        catch (AwsException e) when (e.Code == code)
        {
        }
    }
}
