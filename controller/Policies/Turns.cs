namespace Mayfly.Controller.Policies;

/// <summary>Whose turn it is in one look at the queue: by the caps that hold now, which need not be those that held when a job was
/// queued, and among those whose runner can be registered and whose machine can be launched now.</summary>
internal sealed class Turns(Policy policy, GitHubApp github, AwsSites sites)
{
    private readonly Dictionary<long, int> _registrations = [];
    private readonly Dictionary<AwsPaces, int> _launches = [];
    private readonly Dictionary<LaunchId, string> _tooLarge = [];

    /// <summary>What never fits its caps, and why.</summary>
    public IReadOnlyDictionary<LaunchId, string> TooLarge => _tooLarge;

    /// <summary>Why some still wait; null if none does, or if only GitHub's and EC2's limits on calls are in the way.</summary>
    public string? WaitsFor { get; private set; }

    /// <summary>As <see cref="NextInLine"/>.</summary>
    public WaitingLaunch? Next(IReadOnlyCollection<WaitingLaunch> waiting, IReadOnlyDictionary<string, Load> alive, DateTimeOffset now)
    {
        while (true)
        {
            var can = waiting.Where(job => !_tooLarge.ContainsKey(job.Id)
                && github.PaceOf(job.Installation).RegistrationsLeft > _registrations.GetValueOrDefault(job.Installation)
                && PacesOf(job) is var paces && paces.LaunchesLeft > _launches.GetValueOrDefault(paces)).ToList();
            switch (FairQueue.Next(can, alive, repository => policy.For(repository).Caps, policy.Caps, now))
            {
                case Turn.Launch { Job: var job }:
                    _registrations[job.Installation] = _registrations.GetValueOrDefault(job.Installation) + 1;
                    _launches[PacesOf(job)] = _launches.GetValueOrDefault(PacesOf(job)) + 1;
                    return job;
                case Turn.Refuse refuse:
                    _tooLarge[refuse.Job.Id] = refuse.Reason;
                    break;
                case Turn.Wait wait:
                    WaitsFor = can.Count > 0 ? wait.Reason : null;
                    return null;
            }
        }
    }

    /// <summary>Of the account that the repository launches in by now; that an older order may name another costs it a wait there.</summary>
    private AwsPaces PacesOf(WaitingLaunch job) => sites.At(policy.For(job.Id.Repository).Account.Site).Paces;
}
