using System.Collections.Immutable;

namespace Mayfly.Lab;

/// <summary>One thing that happened in the lab, as the party named by <paramref name="Source"/> saw it.</summary>
/// <param name="Source"><c>github</c>, <c>ec2</c>, <c>ssm</c>, <c>imds</c>, <c>console</c> or <c>controller</c>.</param>
/// <param name="Subject">What it happened to: an instance id, a parameter's name, a runner's or a job's id.</param>
internal sealed record LabEvent(DateTimeOffset At, string Source, string Name, string Subject, string Detail);

/// <summary>All events of a lab in order. Tests and the demo wait for an event here instead of sleeping.</summary>
internal sealed class Journal(TimeProvider time)
{
    private readonly Lock _lock = new();
    private ImmutableList<LabEvent> _events = [];
    private TaskCompletionSource _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public IReadOnlyList<LabEvent> Events => _events;

    /// <summary>Called for each event as it is recorded, on the recording thread.</summary>
    public event Action<LabEvent>? Recorded;

    public void Record(string source, string name, string subject, string detail = "")
    {
        var e = new LabEvent(time.GetUtcNow(), source, name, subject, detail);
        TaskCompletionSource changed;
        lock (_lock)
        {
            _events = _events.Add(e);
            changed = _changed;
            _changed = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        }

        try
        {
            Recorded?.Invoke(e);
        }
        finally
        {
            changed.SetResult();
        }
    }

    /// <summary>The first event that matches, past or to come.</summary>
    /// <exception cref="TimeoutException">None came within <paramref name="limit"/>; lists what did.</exception>
    public async Task<LabEvent> WaitForAsync(Func<LabEvent, bool> match, TimeSpan limit, CancellationToken cancel)
    {
        using var timeout = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        timeout.CancelAfter(limit);
        var seen = 0;
        while (true)
        {
            Task changed;
            ImmutableList<LabEvent> events;
            lock (_lock)
                (events, changed) = (_events, _changed.Task);
            for (; seen < events.Count; seen++)
            {
                if (match(events[seen]))
                    return events[seen];
            }

            try
            {
                await changed.WaitAsync(timeout.Token);
            }
            catch (OperationCanceledException) when (!cancel.IsCancellationRequested)
            {
                throw new TimeoutException($"no such event within {limit}; seen last:\n{string.Join('\n', _events.TakeLast(60).Select(e => $"{e.At:HH:mm:ss} {e.Source} {e.Name} {e.Subject} {e.Detail}"))}");
            }
        }
    }
}
