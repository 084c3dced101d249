namespace Mayfly.Lab.Tests;

/// <summary>The system's clock, moved on by hand, and standing still where a test asks it to.</summary>
internal sealed class HandMovedTime : TimeProvider
{
    private TimeSpan _moved;
    private (DateTimeOffset Now, long Timestamp)? _stopped;

    public void Move(TimeSpan by) => _moved += by;

    public void Stop() => _stopped = (System.GetUtcNow(), System.GetTimestamp());

    public override DateTimeOffset GetUtcNow() => (_stopped?.Now ?? System.GetUtcNow()) + _moved;

    public override long GetTimestamp() => (_stopped?.Timestamp ?? System.GetTimestamp()) + (long)(_moved.TotalSeconds * TimestampFrequency);
}
