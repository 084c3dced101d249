using System.Threading.Channels;
using Mayfly.Contract;

namespace Mayfly.Agent;

/// <summary>Step 9, carried out: one channel of happenings, one clock, and <see cref="Watch"/> to decide.</summary>
internal static class Supervision
{
    public static async Task<Ending> WatchAsync(
        Runner runner, Lookout lookout, Channel<Happening> happenings, Deadlines deadlines, Narration narration, TimeProvider time, CancellationToken cancel)
    {
        using var ended = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        Keep(lookout.KeepAsync(happenings.Writer, ended.Token), "the lookout", happenings.Writer);
        // A runner that connects anew says so again, and a job that gets hold of the runner's output might say anything.
        var told = new HashSet<string>();
        var listening = default(long?);
        try
        {
            Phase phase = new Phase.Starting();
            while (true)
            {
                lookout.Enter(phase);
                // The clock runs from the moment a phase is entered; a runner that repeats itself does not set it back.
                if (phase is Phase.Listening)
                    listening ??= time.GetTimestamp();
                using var deadline = new CancellationTokenSource(deadlines.Of(phase, listening is { } since ? time.GetElapsedTime(since) : TimeSpan.Zero), time);
                Phase next;
                do
                {
                    var happening = await NextAsync(happenings.Reader, deadline.Token, cancel);
                    if (Watch.MilestoneOf(happening) is { } milestone && told.Add(milestone))
                        narration.Reached(Step.Watch, milestone, DetailOf(happening));

                    (next, var ending) = Watch.On(phase, happening, deadlines);
                    if (ending is not null)
                        return ending;
                }
                while (next == phase);

                if (next is Phase.Stopping stopping && phase is not Phase.Stopping)
                {
                    narration.Note(Step.Watch, $"asking the runner to stop: {stopping.Ending.Name}");
                    runner.AskToStop();
                }

                phase = next;
            }
        }
        finally
        {
            await ended.CancelAsync();
            happenings.Writer.TryComplete(); // nobody reads on: whoever still has something to say must not wait
        }
    }

    /// <summary>Nothing is watched by half: if this task fails, the machine ends for it.</summary>
    /// <param name="what">What the task does, for people.</param>
    public static void Keep(Task task, string what, ChannelWriter<Happening> happenings) => _ = task.ContinueWith(async failed =>
    {
        try
        {
            await happenings.WriteAsync(new Happening.WatchFailed($"{what}: {failed.Exception!.InnerException!.Message}"), CancellationToken.None);
        }
        catch (ChannelClosedException)
        {
            // the machine ends already
        }
    }, CancellationToken.None, TaskContinuationOptions.OnlyOnFaulted, TaskScheduler.Default);

    private static async Task<Happening> NextAsync(ChannelReader<Happening> happenings, CancellationToken deadline, CancellationToken cancel)
    {
        using var either = CancellationTokenSource.CreateLinkedTokenSource(deadline, cancel);
        try
        {
            return await happenings.ReadAsync(either.Token);
        }
        catch (OperationCanceledException) when (deadline.IsCancellationRequested && !cancel.IsCancellationRequested)
        {
            return new Happening.DeadlinePassed();
        }
    }

    private static string DetailOf(Happening happening) => happening switch
    {
        Happening.JobStarted started => started.Name,
        Happening.JobDone done => done.Result.ToString(),
        _ => "",
    };
}
