namespace Mayfly.Contract;

/// <summary>
/// Names of the moments that the agent tells of on the console. A machine that ran its job told all of them, in
/// this order.
/// </summary>
public static class Milestone
{
    public const string KernelStarted = "kernel started";
    public const string RootVerified = "root verified";
    public const string ScratchReady = "scratch ready";
    public const string SwapReady = "swap ready";
    public const string ViewLaid = "writable view laid";
    public const string IdentityLearned = "identity learned";
    public const string ConfigTaken = "config taken";
    public const string ConfigDeleted = "config deleted";
    public const string DoorClosed = "door closed";
    public const string RunnerStarted = "runner started";
    public const string RunnerConnected = "runner connected";
    public const string RunnerListening = "runner listening";
    public const string JobStarted = "job started";
    public const string JobDone = "job done";
    public const string Ending = "ending";

    public static readonly IReadOnlyList<string> All =
    [
        KernelStarted, RootVerified, ScratchReady, SwapReady, ViewLaid, IdentityLearned, ConfigTaken, ConfigDeleted,
        DoorClosed, RunnerStarted, RunnerConnected, RunnerListening, JobStarted, JobDone, Ending,
    ];
}
