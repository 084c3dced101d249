using Mayfly.Lab.Ec2;
using Mayfly.Lab.GitHub;

namespace Mayfly.Lab.Machines;

/// <summary>What goes wrong with a <see cref="ScriptedMachine"/>.</summary>
internal enum MachineFault
{
    None,

    /// <summary>EC2 never gets it running.</summary>
    StaysPending,

    /// <summary>It runs, and its console stays empty.</summary>
    NeverBoots,

    /// <summary>It takes its configuration, and its runner never listens.</summary>
    NeverListens,

    /// <summary>Its job has no end.</summary>
    HangsInJob,
}

/// <summary>How long each part of a <see cref="ScriptedMachine"/>'s life takes, and how its job comes out.</summary>
internal sealed record MachineScript
{
    /// <summary>From the launch to <c>running</c>.</summary>
    public TimeSpan Pending { get; init; } = TimeSpan.FromSeconds(6);

    /// <summary>From there until the agent looks for its configuration.</summary>
    public TimeSpan Boot { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>So long it looks for a configuration that is not there.</summary>
    public TimeSpan ConfigWait { get; init; } = TimeSpan.FromMinutes(5);

    /// <summary>From the runner's start until it listens.</summary>
    public TimeSpan Connect { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>From the ending until the machine is off.</summary>
    public TimeSpan PowerOff { get; init; } = TimeSpan.FromSeconds(5);

    public Func<Job, TimeSpan> JobTakes { get; init; } = static _ => TimeSpan.FromMinutes(1);

    /// <summary>GitHub's word: <c>success</c>, <c>failure</c> or <c>cancelled</c>.</summary>
    public Func<Job, string> Conclusion { get; init; } = static _ => "success";

    public Func<Instance, MachineFault> FaultOf { get; init; } = static _ => MachineFault.None;
}
