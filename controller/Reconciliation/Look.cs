using Mayfly.Contract;

namespace Mayfly.Controller.Reconciliation;

/// <summary>Looks at EC2, SSM and GitHub, and then at the store. What cannot be looked at is left out.</summary>
internal sealed partial class Look(Store store, AwsSites aws, PolicySource policy, GitHubView github, Repositories repositories, Settings settings, TimeProvider time, ILogger<Look> log)
{
    /// <summary>Of 50 parameters. More are there only if they have piled up: what is deleted makes place for the others.</summary>
    private const int ParameterPages = 40;

    /// <summary>Of 100 runners, in one look, if one repository does not have more. Repositories have their turn one after the other: at
    /// a look each half minute that is 600 calls an hour, of the 5,000 that an installation has at least.</summary>
    private const int RunnerPages = 5;

    /// <summary>A repository cannot hold the others up. GitHub allows 10,000 runners in one.</summary>
    private const int MostPagesOfOne = 20;

    private int _turn;

    /// <summary>Repositories that had launches at the last look: new ones among them.</summary>
    private IReadOnlyList<Repo> _lately = [];

    /// <summary>Sites that had launches at the last look: an earlier policy's among them.</summary>
    private IReadOnlyList<Site> _latelyAt = [];

    public async Task<Sight> TakeAsync(CancellationToken cancel)
    {
        var at = time.GetUtcNow();
        var wanted = policy.Current.Sites.Union(_latelyAt).ToList();
        var seen = (await Task.WhenAll(wanted.Select(async site => (Site: site, Seen: await LookAtAsync(site, cancel)))))
            .Where(s => s.Seen is not null).ToDictionary(s => s.Site, s => s.Seen!);
        await repositories.ReadAsync(cancel);
        var runners = await RunnersAsync(cancel);
        var named = seen.Values.SelectMany(s => s.Machines).Where(m => m.State != "terminated").Select(Plan.IdOf).OfType<LaunchId>()
            .Concat(runners.SelectMany(r => r.Value.Select(runner => new LaunchId(r.Key, runner.Name[LaunchRecord.RunnerPrefix.Length..]))));
        var launches = await store.Launches.UnsettledAsync(Plan.Past, named);
        _lately = [.. launches.Select(l => l.Repo).Where(r => r.Installation != 0 && settings.Lists(r.FullName)).DistinctBy(r => r.FullName)];
        _latelyAt = [.. launches.Where(l => l.InstanceId is not null).Select(l => l.Order.Site).Distinct()];
        return new Sight
        {
            At = at,
            Sites = seen,
            IsWhole = wanted.Union(_latelyAt).All(seen.ContainsKey),
            Runners = runners,
            Launches = launches,
            Repositories = _lately.Concat(repositories.All).DistinctBy(r => r.FullName).ToDictionary(r => r.FullName),
            IdleTimeout = settings.IdleTimeout,
            JobTimeout = settings.JobTimeout,
        };
    }

    /// <returns>Null if EC2 did not answer.</returns>
    private async Task<SiteSeen?> LookAtAsync(Site site, CancellationToken cancel)
    {
        var services = aws.At(site);
        if (await OrNoneAsync($"machines in {site}", services.Ec2.DescribeTaggedAsync(Tags.Launch, cancel), cancel) is not { } machines)
            return null;
        var parameters = settings.ConfigInTags ? null : await OrNoneAsync($"parameters in {site}", services.Ssm.DescribeBelowAsync(ConfigParameter.Path.TrimEnd('/'), ParameterPages, cancel), cancel);
        return new SiteSeen(machines, parameters ?? []);
    }

    /// <summary>The runners of ours in the repositories whose turn it is.</summary>
    private async Task<Dictionary<string, IReadOnlyList<RunnerSeen>>> RunnersAsync(CancellationToken cancel)
    {
        var found = new Dictionary<string, IReadOnlyList<RunnerSeen>>();
        var used = repositories.Used.Concat(_lately).DistinctBy(r => r.FullName).ToList();
        for (var (pages, count) = (0, 0); pages < RunnerPages && count < used.Count; count++)
        {
            var repo = used[_turn++ % used.Count];
            var runners = new List<RunnerSeen>();
            for (var page = 1; page <= MostPagesOfOne; page++, pages++)
            {
                if (await OrNoneAsync($"runners of {repo.FullName}", github.RunnersAsync(repo, page, cancel), cancel) is not { } some)
                {
                    pages++; // it cost a call
                    break;
                }

                runners.AddRange(some.Where(r => r.Name.StartsWith(LaunchRecord.RunnerPrefix, StringComparison.Ordinal)));
                found[repo.FullName] = runners;
                if (some.Count < GitHubView.PageSize)
                {
                    pages++;
                    break;
                }
            }
        }

        return found;
    }

    private async Task<T?> OrNoneAsync<T>(string what, Task<T> looking, CancellationToken cancel)
        where T : class
    {
        try
        {
            return await looking;
        }
        catch (Exception e) when (!cancel.IsCancellationRequested)
        {
            LogNotSeen(what, e.Message);
            return null;
        }
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "could not look at {What}: {Reason}")]
    private partial void LogNotSeen(string what, string reason);
}
