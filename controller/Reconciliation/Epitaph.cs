using Mayfly.Contract;

namespace Mayfly.Controller.Reconciliation;

/// <summary>What is kept of a machine that has ended.</summary>
internal sealed record Epitaph(string Words, IReadOnlyList<ConsoleEvent> Events)
{
    /// <summary>EC2 shows a console's last lines some time after the machine's end.</summary>
    public static readonly TimeSpan ConsoleLimit = TimeSpan.FromMinutes(5);

    /// <summary>DescribeInstances lags behind a launch by seconds, and forgets a machine an hour after its end.</summary>
    public static readonly TimeSpan NameLimit = TimeSpan.FromMinutes(10);

    /// <summary>What EC2 says of a spot instance that it took back.</summary>
    public const string TakenBack = "Server.SpotInstanceTermination";

    /// <summary>EC2 took the machine back while its job ran, as far as can be known: where the agent said nothing more, a job may have.</summary>
    public bool IsInterruption => Words.StartsWith("spot-interrupted:", StringComparison.Ordinal) || (Words.StartsWith("unknown:", StringComparison.Ordinal) && Words.Contains(TakenBack, StringComparison.Ordinal));

    /// <param name="stateReason">Why it ended, as EC2 says; null if EC2 does not name the machine.</param>
    /// <param name="passed">Since it was first seen so.</param>
    /// <returns>Null: wait for more.</returns>
    public static Epitaph? Of(string console, string? stateReason, TimeSpan passed)
    {
        var lines = console.Split('\n');
        if (lines.Select(ConsoleLine.ParseEnding).LastOrDefault(e => e is not null) is { } ending)
            return new Epitaph($"{ending.Ending}: {ending.Detail}", ending.Events);
        if (stateReason is null)
            return passed < NameLimit ? null : new Epitaph("unknown: EC2 no longer names the machine", []);
        return passed < ConsoleLimit
            ? null
            : new Epitaph($"unknown: the console holds no ending; EC2 says: {stateReason}", [.. lines.Select(ConsoleLine.ParseEvent).OfType<ConsoleEvent>()]);
    }
}

[System.Text.Json.Serialization.JsonSerializable(typeof(IReadOnlyList<ConsoleEvent>))]
internal sealed partial class TimelineJson : System.Text.Json.Serialization.JsonSerializerContext;
