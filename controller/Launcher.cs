using System.Globalization;
using System.Net;
using Mayfly.Aws;
using Mayfly.Contract;

namespace Mayfly.Controller;

/// <summary>A launch that cannot succeed by being tried again; the reason is for people.</summary>
internal sealed class LaunchRefusedException(string reason, Exception? inner = null) : Exception(reason, inner);

/// <summary>The account and partition that instances live in, for their ARNs.</summary>
internal sealed record AwsAccount(string Partition, string Id, string Region)
{
    public string InstanceArn(string instanceId) => $"arn:{Partition}:ec2:{Region}:{Id}:instance/{instanceId}";
}

/// <summary>
/// One job, one machine: asks GitHub for a runner's configuration and EC2 for an instance at the same time, then stores
/// the configuration under the instance's name. Made again after a crash it finds what it made before: the runner by its
/// name, the instance by its client token, the parameter by the instance. If any part fails, all of it is undone.
/// </summary>
internal sealed class Launcher(GitHubApp github, Ec2Client ec2, SsmClient ssm, AwsAccount account, Settings settings)
{
    /// <summary>Undoing has its own end: it also happens while the controller is asked to stop.</summary>
    private static readonly TimeSpan UndoLimit = TimeSpan.FromSeconds(20);

    /// <param name="undone">Launches of this job that were undone: part of the client token, which EC2 refuses once its
    /// instance is gone.</param>
    /// <returns>The instance's id.</returns>
    /// <exception cref="LaunchRefusedException">It would fail every time.</exception>
    public async Task<string> LaunchAsync(WorkflowJob job, Decision.Launch launch, int undone, CancellationToken cancel)
    {
        var name = $"mayfly-{job.Key}";
        var registering = RegisterAsync(job, name, cancel);
        var starting = StartAsync(job, launch, undone, cancel);
        try
        {
            await Task.WhenAll(registering, starting);
            using var runner = await registering;
            var instance = await starting;
            // What does not fit its parameter can only be seen once GitHub has answered; the machine that was started
            // meanwhile has taken no configuration yet and is undone below.
            await StoreAsync(instance, Envelope.Pack(runner.Files), cancel);
            return instance;
        }
        catch (Exception e)
        {
            await UndoAsync(job, registering, starting);
            throw e switch
            {
                EnvelopeException unusable => new LaunchRefusedException(unusable.Message, unusable),
                GitHubException { Status: HttpStatusCode.NotFound or HttpStatusCode.Forbidden or HttpStatusCode.UnprocessableEntity } refused =>
                    new LaunchRefusedException(refused.Message, refused),
                AwsException aws when IsFinal(aws.Code) => new LaunchRefusedException(aws.Message, aws),
                _ => e,
            };
        }
    }

    /// <summary>A runner of the same name is what an earlier try left behind: its configuration is lost, so it is replaced.</summary>
    private async Task<RegisteredRunner> RegisterAsync(WorkflowJob job, string name, CancellationToken cancel)
    {
        try
        {
            return await github.RegisterAsync(job, name, cancel);
        }
        catch (GitHubException e) when (e.Status == HttpStatusCode.Conflict)
        {
            if (await github.FindRunnerAsync(job, name, cancel) is { } stale)
                await github.DeleteRunnerAsync(job, stale, cancel);
            return await github.RegisterAsync(job, name, cancel);
        }
    }

    private async Task<string> StartAsync(WorkflowJob job, Decision.Launch launch, int undone, CancellationToken cancel)
    {
        var fleet = await ec2.CreateInstantFleetAsync(new FleetRequest(
            settings.LaunchTemplate, string.Create(CultureInfo.InvariantCulture, $"mayfly-{job.Key}-{undone}"), settings.InstanceTypes, launch.Spot,
            new Dictionary<string, string>
            {
                [Tags.Launch] = TagValue($"{job.Repository}:{job.Key}"),
                [Tags.Config] = "ssm",
                [Tags.IdleTimeout] = settings.IdleTimeout.TotalSeconds.ToString(CultureInfo.InvariantCulture),
                [Tags.JobTimeout] = settings.JobTimeout.TotalSeconds.ToString(CultureInfo.InvariantCulture),
            }), cancel);
        if (fleet.Instances is [var instance, ..])
            return instance.InstanceId;
        var errors = string.Join("; ", fleet.Errors.Select(e => $"{e.InstanceType} {e.AvailabilityZone}: {e.Code}: {e.Message}"));
        throw fleet.Errors.Any(e => !IsFinal(e.Code))
            ? new AwsException("CreateFleet", fleet.Errors[0].Code, errors, HttpStatusCode.OK)
            : new LaunchRefusedException($"EC2 launched nothing: {errors}");
    }

    private async Task StoreAsync(string instance, string envelope, CancellationToken cancel)
    {
        var name = ConfigParameter.NameFor(instance);
        var tags = new Dictionary<string, string> { [ConfigParameter.InstanceTag] = account.InstanceArn(instance) };
        try
        {
            await ssm.PutSecureStringAsync(name, envelope, tags, cancel);
        }
        catch (AwsException e) when (e.Code == "ParameterAlreadyExists")
        {
            // An earlier try's: its runner has been replaced, so its configuration is worthless.
            await ssm.DeleteAsync(name, cancel);
            await ssm.PutSecureStringAsync(name, envelope, tags, cancel);
        }
    }

    private async Task UndoAsync(WorkflowJob job, Task<RegisteredRunner> registering, Task<string> starting)
    {
        using var limit = new CancellationTokenSource(UndoLimit);
        if (await OutcomeAsync(starting) is { } instance)
        {
            await ec2.TerminateAsync(instance, limit.Token);
            await IgnoreAsync(() => ssm.DeleteAsync(ConfigParameter.NameFor(instance), limit.Token), "ParameterNotFound");
        }

        if (await OutcomeAsync(registering) is { } runner)
            await github.DeleteRunnerAsync(job, runner.Id, limit.Token);
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

    /// <summary>Codes that waiting does not mend: quotas, permissions, what the operator set wrongly.
    /// Capacity and throttling pass. https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html</summary>
    private static bool IsFinal(string code) => code is "VcpuLimitExceeded" or "InstanceLimitExceeded" or "VolumeLimitExceeded" or "MaxIOPSLimitExceeded"
        or "UnauthorizedOperation" or "AuthFailure" or "AccessDeniedException" or "InvalidParameterValue" or "MissingParameter" or "UnknownParameter"
        or "IdempotentParameterMismatch" or "IdempotentInstanceTerminated" or "ParameterLimitExceeded" or "ValidationException"
        || code.StartsWith("InvalidLaunchTemplate", StringComparison.Ordinal) || code.StartsWith("InvalidAMI", StringComparison.Ordinal);

    /// <summary>A tag's value holds at most 256 characters.</summary>
    private static string TagValue(string text) => text.Length <= 256 ? text : text[..256];
}
