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
        // A lookout that fails leaves the channel with its reason: nothing is watched by half.
        _ = lookout.KeepAsync(happenings.Writer, ended.Token).ContinueWith(
            kept => happenings.Writer.TryComplete(kept.Exception?.InnerException), CancellationToken.None, TaskContinuationOptions.OnlyOnFaulted, TaskScheduler.Default);
        try
        {
            Phase phase = new Phase.Starting();
            while (true)
            {
                lookout.Enter(phase);
                // The clock runs from the moment a phase is entered; a runner that repeats itself does not set it back.
                using var deadline = new CancellationTokenSource(deadlines.Of(phase), time);
                Phase next;
                do
                {
                    var happening = await NextAsync(happenings.Reader, deadline.Token, cancel);
                    if (Watch.MilestoneOf(happening) is { } milestone)
                        narration.Reached(Step.Watch, milestone, DetailOf(happening));

                    (next, var ending) = Watch.On(phase, happening, deadlines);
                    if (ending is not null)
                        return ending;
                }
                while (next == phase);

                if (next is Phase.Stopping stopping)
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
        }
    }

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
