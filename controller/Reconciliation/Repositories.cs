namespace Mayfly.Controller.Reconciliation;

/// <summary>The repositories that are served: those that the App reaches and the settings list, and those that jobs came from.
/// Read again now and then.</summary>
internal sealed partial class Repositories(Store store, GitHubView github, Settings settings, TimeProvider time, ILogger<Repositories> log)
{
    private static readonly TimeSpan ReadEvery = TimeSpan.FromHours(1);

    /// <summary>After GitHub could not be asked.</summary>
    private static readonly TimeSpan ReadAgain = TimeSpan.FromMinutes(2);

    private DateTimeOffset _until;

    /// <summary>All of them.</summary>
    public IReadOnlyList<Repo> All { get; private set; } = [];

    /// <summary>Those that jobs came from: where there may be runners of ours.</summary>
    public IReadOnlyList<Repo> Used { get; private set; } = [];

    public async Task ReadAsync(CancellationToken cancel)
    {
        if (time.GetUtcNow() < _until)
            return;
        Used = [.. (await store.Launches.RepositoriesAsync()).Where(r => settings.Lists(r.FullName))];
        var reached = new List<Repo>();
        try
        {
            foreach (var installation in settings.Installations)
            {
                for (var page = 1; ; page++)
                {
                    var repositories = await github.RepositoriesAsync(installation, page, cancel);
                    reached.AddRange(repositories.Where(r => settings.Lists(r.FullName)));
                    if (repositories.Count < GitHubView.PageSize)
                        break;
                }
            }

            _until = time.GetUtcNow() + ReadEvery;
        }
        catch (Exception e) when (e is GitHubException or HttpRequestException or TaskCanceledException && !cancel.IsCancellationRequested)
        {
            LogNotRead(e.Message);
            _until = time.GetUtcNow() + ReadAgain;
        }

        All = [.. reached.Concat(Used).Concat(All).DistinctBy(r => r.FullName)];
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "could not read which repositories there are; those that are known are served: {Reason}")]
    private partial void LogNotRead(string reason);
}
