using System.Collections.Concurrent;

namespace Mayfly.Lab.GitHub;

/// <summary>The repository's registered runners.</summary>
internal sealed class RunnerRegistry(Journal journal) : IDisposable
{
    private readonly ConcurrentDictionary<long, Runner> _runners = new();
    private long _lastId = 20;

    /// <summary>Those that are registered now.</summary>
    public IReadOnlyCollection<Runner> All => [.. _runners.Values.Where(r => !r.IsRemoved)];

    /// <summary>Those that ever were.</summary>
    public IReadOnlyCollection<Runner> Known => [.. _runners.Values];

    /// <exception cref="GitHubFault">409: the name is in use.</exception>
    public Runner Register(string name, IReadOnlyList<string> labels, string workFolder)
    {
        lock (_runners)
        {
            if (All.Any(r => string.Equals(r.Name, name, StringComparison.OrdinalIgnoreCase)))
                throw new GitHubFault(409, $"Already exists - A runner with the name {name} already exists.");
            var runner = new Runner(Interlocked.Increment(ref _lastId), name, labels, workFolder);
            _runners[runner.Id] = runner;
            journal.Record("github", "runner registered", name, $"{runner.Id}");
            return runner;
        }
    }

    public Runner Find(long id) => All.FirstOrDefault(r => r.Id == id) ?? throw new GitHubFault(404, "Not Found");

    public void Remove(Runner runner, string why)
    {
        lock (_runners)
        {
            if (runner.IsRemoved)
                return;
            runner.IsRemoved = true;
        }

        journal.Record("github", "runner removed", runner.Name, why);
    }

    public void Dispose()
    {
        foreach (var runner in _runners.Values)
            runner.Dispose();
    }
}
