using Mayfly.Aws;

namespace Mayfly.Controller.Reconciliation;

/// <summary>What is done about a difference between the world and the store: closed, so that nothing falls through.</summary>
internal abstract record Act
{
    private Act()
    {
    }

    /// <summary>End a machine, its runner first.</summary>
    /// <param name="Launch">Null if the store knows none.</param>
    /// <param name="HasRunner">The runner of the launch's name is this machine's: where the launch has another machine, it is that one's.</param>
    /// <param name="EvenIfBusy">It is past the limit that its job was given.</param>
    public sealed record EndMachine(Site Site, InstanceDescription Machine, Repo Repo, LaunchId Id, LaunchRecord? Launch, string Reason, bool HasRunner, bool EvenIfBusy) : Act;

    /// <summary>Delete configurations whose machines are gone.</summary>
    public sealed record DeleteParameters(Site Site, IReadOnlyList<string> Names) : Act;

    /// <summary>Deregister a runner whose machine is gone.</summary>
    public sealed record RemoveRunner(Repo Repo, RunnerSeen Runner, string Reason) : Act;

    /// <summary>Read why a machine ended.</summary>
    /// <param name="Site">Where the machine is.</param>
    /// <param name="Machine">Null if EC2 does not name it.</param>
    /// <param name="Passed">Since it was first seen so.</param>
    public sealed record ReadConsole(LaunchRecord Launch, Site Site, InstanceDescription? Machine, TimeSpan Passed) : Act;

    /// <summary>Ask GitHub what has become of a job, write that down, and if it still waits for a runner, do what stands here.</summary>
    public sealed record AskForJob(LaunchRecord Launch, IfQueued Then) : Act;

    /// <summary>Have GitHub run a job again that EC2 interrupted.</summary>
    /// <param name="Job">The one that ran there, which is not always the launch's own.</param>
    public sealed record RunAgain(LaunchRecord Launch, long Job) : Act;

    /// <summary>An interrupted job is not run again after all.</summary>
    public sealed record ForgetRerun(LaunchRecord Launch, string Reason) : Act;
}

/// <summary>What to do for a job that still waits for a runner.</summary>
internal enum IfQueued
{
    Nothing,

    /// <summary>It is given another machine.</summary>
    Replace,

    /// <summary>It has had as many as a job is given.</summary>
    Refuse,
}
