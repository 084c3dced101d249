using Mayfly.Aws;
using Mayfly.Contract;

namespace Mayfly.Agent;

/// <summary>
/// The runner's single-use configuration. The only way to one is to take it, which deletes it at its source: a runner
/// cannot be started with a configuration that someone else could still read.
/// </summary>
internal sealed class JitConfig : IDisposable
{
    /// <summary>The controller stores it within a second or two of the launch, long before a machine has booted; a controller
    /// that restarts in between needs a little longer.</summary>
    private static readonly TimeSpan TakeLimit = TimeSpan.FromSeconds(90);

    /// <summary>For deleting and confirming. SSM carries out five DeleteParameter a second in an account, so 200 machines that
    /// boot at once need 40 s; its reads and the metadata service's tags lag behind a deletion by seconds.</summary>
    private static readonly TimeSpan DeleteLimit = TimeSpan.FromSeconds(45);

    /// <summary>Between two looks: 0.25 s, doubled up to 2 s. What is only a moment late costs little time, and sixty
    /// machines that wait for a controller at once stay below SSM's 40 reads a second. A call has tries of its own within
    /// (<see cref="AwsConnection"/>), with jitter, against a passing throttle.</summary>
    private static readonly TimeSpan FirstPause = TimeSpan.FromSeconds(0.25);

    private static readonly TimeSpan LongestPause = TimeSpan.FromSeconds(2);

    private JitConfig(RunnerFiles files) => Files = files;

    public RunnerFiles Files { get; }

    /// <exception cref="EndingException">No job may run; says which way it failed.</exception>
    public static async Task<JitConfig> TakeAsync(IConfigSource source, Narration narration, TimeProvider time, CancellationToken cancel)
    {
        using var envelope = await ReadAsync(source, time, cancel);
        narration.Reached(Step.TakeConfig, Milestone.ConfigTaken, source.Name);

        await DeleteAsync(source, time, cancel);
        narration.Reached(Step.TakeConfig, Milestone.ConfigDeleted, $"{source.Name}, and no longer readable");

        // Only now: an envelope that cannot be used is deleted all the same.
        try
        {
            return new JitConfig(Envelope.Unpack(envelope.Reveal()));
        }
        catch (EnvelopeException e)
        {
            throw new EndingException(Ending.ConfigUnusable(e.Fault, $"{source.Name}: {e.Message}"), e);
        }
    }

    public void Dispose() => Files.Dispose();

    private static async Task<Secret> ReadAsync(IConfigSource source, TimeProvider time, CancellationToken cancel)
    {
        var start = time.GetTimestamp();
        for (var pause = FirstPause; ; pause = Longer(pause))
        {
            ConfigTrouble trouble;
            try
            {
                if (await source.ReadAsync(cancel) is { } envelope)
                    return envelope;
                trouble = ConfigTrouble.Absent;
            }
            catch (Exception e) when (ConfigTrouble.Of(e) is { } known)
            {
                trouble = known;
            }
            catch (Exception e) when (e is AwsException or InvalidDataException or RoleException)
            {
                throw new EndingException(Ending.NotProved(Step.TakeConfig, $"{source.Name}: {e.Message}"), e);
            }

            var passed = time.GetElapsedTime(start);
            if (passed >= TakeLimit || passed >= trouble.Patience)
                throw new EndingException(Ending.ConfigNotTaken(trouble, $"{source.Name}, for {passed.TotalSeconds:F0} s: {trouble.Why}"));
            await Task.Delay(pause, time, cancel);
        }
    }

    private static async Task DeleteAsync(IConfigSource source, TimeProvider time, CancellationToken cancel)
    {
        var start = time.GetTimestamp();
        var deleted = false;
        for (var pause = FirstPause; ; pause = Longer(pause))
        {
            string why;
            try
            {
                if (!deleted)
                    await source.DeleteAsync(cancel);
                deleted = true;
                if (await source.IsGoneAsync(cancel))
                    return;
                why = "it can still be read after its deletion";
            }
            catch (Exception e) when (e is AwsException or HttpRequestException or TimeoutException or RoleException)
            {
                why = deleted ? $"its deletion could not be confirmed: {e.Message}" : $"it could not be deleted: {e.Message}";
            }

            var passed = time.GetElapsedTime(start);
            if (passed >= DeleteLimit)
                throw new EndingException(Ending.ConfigNotDeleted($"{source.Name}, for {passed.TotalSeconds:F0} s: {why}"));
            await Task.Delay(pause, time, cancel);
        }
    }

    private static TimeSpan Longer(TimeSpan pause) => 2 * pause < LongestPause ? 2 * pause : LongestPause;
}
