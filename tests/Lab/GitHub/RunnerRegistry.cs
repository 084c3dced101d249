using System.Collections.Concurrent;
using System.Security.Cryptography;

namespace Mayfly.Lab.GitHub;

/// <summary>The registered runners of all repositories and organisations. For tests: <see cref="Register"/> without more makes
/// a ghost, one that no machine stands behind; with a <see cref="Runner.Session"/> it is online.</summary>
internal sealed class RunnerRegistry(GitHubOptions options, Journal journal, TimeProvider time) : IDisposable
{
    /// <summary>GitHub removes a just-in-time runner that did not connect for so long.</summary>
    private static readonly TimeSpan Forgotten = TimeSpan.FromHours(24);

    private readonly ConcurrentDictionary<long, Runner> _runners = new();
    private readonly Dictionary<(string Scope, string Name), Runner> _names = [];
    private readonly ConcurrentDictionary<int, RSA> _keys = new();
    private long _lastId = 20;

    /// <summary>Those that are registered now.</summary>
    public IReadOnlyCollection<Runner> All => [.. _runners.Values.Where(IsRegistered)];

    /// <summary>Those that ever were.</summary>
    public IReadOnlyCollection<Runner> Known => [.. _runners.Values];

    /// <param name="scope"><c>repos/owner/name</c> or <c>orgs/owner</c>; the lab's first repository where nothing is said.</param>
    /// <exception cref="GitHubFault">409: the name is in use.</exception>
    public Runner Register(string name, IReadOnlyList<string> labels, string workFolder = "_work", string? scope = null)
    {
        scope ??= $"repos/{options.FullName}";
        lock (_names)
        {
            var key = (scope, name.ToUpperInvariant());
            if (_names.TryGetValue(key, out var other) && IsRegistered(other))
                throw new GitHubFault(409, $"Already exists - A runner with the name {name} already exists.");
            var id = ++_lastId;
            var runner = new Runner(id, name, labels, workFolder, KeyOf(id)) { Scope = scope, Registered = time.GetUtcNow() };
            _runners[id] = runner;
            _names[key] = runner;
            journal.Record("github", "runner registered", name, $"{id}");
            return runner;
        }
    }

    public Runner? TryFind(long id) => _runners.TryGetValue(id, out var runner) && IsRegistered(runner) ? runner : null;

    public Runner Find(long id) => TryFind(id) ?? throw new GitHubFault(404, "Not Found");

    public void Remove(Runner runner, string why)
    {
        lock (_names)
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
        foreach (var key in _keys.Values)
            key.Dispose();
    }

    private bool IsRegistered(Runner runner) =>
        !runner.IsRemoved && !(runner.Session is null && runner.Job is null && time.GetUtcNow() - runner.Registered > Forgotten);

    /// <summary>A key of its own takes tens of milliseconds to make, which thousands of runners do not have.</summary>
    private RSA? KeyOf(long id) => options.RunnerKeys is { } keys ? _keys.GetOrAdd((int)(id % keys), static _ => RSA.Create(2048)) : null;
}
