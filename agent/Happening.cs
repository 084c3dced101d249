using System.Threading.Channels;

namespace Mayfly.Agent;

/// <summary>What happened: from the runner's output and its exit, its processes, EC2's notices, the clock or a signal.</summary>
internal abstract record Happening
{
    /// <summary>The supervision takes each at once. Where somebody floods it, whoever has another one waits.</summary>
    private const int MostWaiting = 64;

    private Happening()
    {
    }

    /// <summary>For all that can tell the supervision something.</summary>
    public static Channel<Happening> Channel() => System.Threading.Channels.Channel.CreateBounded<Happening>(MostWaiting);

    public sealed record RunnerConnected : Happening;

    public sealed record RunnerListening : Happening;

    /// <summary>By the runner's own log: GitHub has a job for it.</summary>
    public sealed record JobOffered : Happening;

    /// <summary>The last look found no offer.</summary>
    public sealed record NoJobOffered : Happening;

    /// <summary>By the runner's own log: it does not get the job that it was offered, and listens on.</summary>
    public sealed record OfferGivenUp : Happening;

    public sealed record JobStarted(string Name) : Happening;

    /// <summary>The worker's process is there.</summary>
    public sealed record WorkerStarted : Happening;

    /// <summary>The worker has its job.</summary>
    public sealed record WorkerAlive : Happening;

    /// <summary>The worker's process is no longer there.</summary>
    public sealed record WorkerLost : Happening;

    public sealed record JobDone(JobResult Result) : Happening;

    public sealed record RunnerExited(int Code) : Happening;

    /// <summary>The sandbox could not be laid: there is no runner.</summary>
    public sealed record SandboxFailed(string Why) : Happening;

    /// <summary>Something that the supervision depends on has ended by a defect.</summary>
    public sealed record WatchFailed(string Why) : Happening;

    /// <summary>EC2 will take this spot instance back.</summary>
    /// <param name="Notice">As EC2 words it.</param>
    public sealed record SpotNoticed(string Notice) : Happening;

    /// <summary>Of the notice's two minutes so much is left that a job has to be stopped now.</summary>
    public sealed record SpotDue : Happening;

    /// <summary>The phase that was current when the clock was set lasted too long.</summary>
    public sealed record DeadlinePassed : Happening;

    public sealed record StopRequested(string By) : Happening;
}
