using System.Collections.Concurrent;

namespace Mayfly.Lab.GitHub;

/// <summary>The repository's registered runners.</summary>
internal sealed class RunnerRegistry(Journal journal) : IDisposable
{
    private readonly ConcurrentDictionary<long, Runner> _runners = new();
    private long _lastId = 20;

    public IReadOnlyCollection<Runner> All => [.. _runners.Values];

    /// <exception cref="GitHubFault">409: the name is in use.</exception>
    public Runner Register(string name, IReadOnlyList<string> labels, string workFolder)
    {
        lock (_runners)
        {
            if (_runners.Values.Any(r => string.Equals(r.Name, name, StringComparison.OrdinalIgnoreCase)))
                throw new GitHubFault(409, $"Already exists - A runner with the name *** already exists.");
            var runner = new Runner(Interlocked.Increment(ref _lastId), name, labels, workFolder);
            _runners[runner.Id] = runner;
            journal.Record("github", "runner registered", name, $"{runner.Id}");
            return runner;
        }
    }

    public Runner Find(long id) => _runners.GetValueOrDefault(id) ?? throw new GitHubFault(404, "Not Found");

    public void Remove(Runner runner, string why)
    {
        if (_runners.TryRemove(runner.Id, out _))
            journal.Record("github", "runner removed", runner.Name, why);
    }

    public void Dispose()
    {
        foreach (var runner in _runners.Values)
            runner.Dispose();
    }
}
