using Mayfly.Aws;
using Mayfly.Contract;

namespace Mayfly.Agent;

/// <summary>
/// The runner's single-use configuration. The only way to one is to take it, which deletes it at its source: a runner
/// cannot be started with a configuration that someone else could still read.
/// </summary>
internal sealed class JitConfig : IDisposable
{
    /// <summary>The controller stores the parameter within a second or two of the launch, long before a machine has
    /// booted; a controller that restarts in between needs a little longer.</summary>
    private static readonly TimeSpan WaitForParameter = TimeSpan.FromSeconds(90);

    private static readonly TimeSpan Pause = TimeSpan.FromSeconds(1);

    private JitConfig(RunnerFiles files) => Files = files;

    public RunnerFiles Files { get; }

    public static async Task<JitConfig> TakeAsync(SsmClient ssm, string instanceId, Narration narration, TimeProvider time, CancellationToken cancel)
    {
        var name = ConfigParameter.NameFor(instanceId);
        using var envelope = await WaitAndReadAsync(ssm, name, time, cancel);
        narration.Reached(Step.TakeConfig, Milestone.ConfigTaken, name);

        await DeleteAsync(ssm, name, cancel);
        narration.Reached(Step.TakeConfig, Milestone.ConfigDeleted, $"{name}, and no longer readable");

        // Only now: an envelope that cannot be used is deleted all the same.
        try
        {
            return new JitConfig(Envelope.Unpack(envelope.Reveal()));
        }
        catch (EnvelopeException e)
        {
            throw new EndingException(Ending.ConfigUnusable(e.Fault, $"{name}: {e.Message}"), e);
        }
    }

    public void Dispose() => Files.Dispose();

    private static async Task<Secret> WaitAndReadAsync(SsmClient ssm, string name, TimeProvider time, CancellationToken cancel)
    {
        var start = time.GetTimestamp();
        while (true)
        {
            try
            {
                return await ssm.GetDecryptedAsync(name, cancel);
            }
            catch (AwsException e) when ((IsGone(e) || e.IsThrottling || e.IsServerFault) && time.GetElapsedTime(start) < WaitForParameter)
            {
                // Not there yet, or many machines ask at once: both pass.
                await Task.Delay(Pause, time, cancel);
            }
            catch (AwsException e) when (IsGone(e))
            {
                throw new EndingException(Ending.ConfigUnusable(EnvelopeFault.Absent,
                    $"{name} could not be read for {WaitForParameter.TotalSeconds:F0} s ({e.Code}); look at the controller's log for this instance, and at the role's policy"), e);
            }
            catch (Exception e) when (e is AwsException or HttpRequestException or TimeoutException)
            {
                throw new EndingException(Ending.NotProved(Step.TakeConfig, $"{name}: {e.Message}"), e);
            }
        }
    }

    private static async Task DeleteAsync(SsmClient ssm, string name, CancellationToken cancel)
    {
        try
        {
            await ssm.DeleteAsync(name, cancel);
        }
        catch (AwsException e) when (IsGone(e))
        {
            // An earlier try deleted it and its answer was lost, or deleting is not allowed: the read below tells.
        }
        catch (Exception e) when (e is AwsException or HttpRequestException or TimeoutException)
        {
            throw new EndingException(Ending.ConfigNotDeleted($"{name}: {e.Message}"), e);
        }

        try
        {
            using var still = await ssm.GetDecryptedAsync(name, cancel);
        }
        catch (AwsException e) when (IsGone(e))
        {
            return;
        }
        catch (Exception e) when (e is AwsException or HttpRequestException or TimeoutException)
        {
            throw new EndingException(Ending.ConfigNotDeleted($"{name}: its deletion could not be confirmed: {e.Message}"), e);
        }

        throw new EndingException(Ending.ConfigNotDeleted($"{name} can still be read after its deletion"));
    }

    /// <summary>A policy that asks for a tag on the parameter answers AccessDenied for one that is not there: of it no
    /// tag is left, or not yet any, to match.</summary>
    private static bool IsGone(AwsException e) => e.Code is "ParameterNotFound" or "AccessDeniedException";
}
