using System.Collections.Concurrent;
using Mayfly.Aws;

namespace Mayfly.Controller.Launching;

/// <summary>An account and a region, for the ARNs of instances.</summary>
internal sealed record AwsAccount(string Partition, string Id, string Region)
{
    public string InstanceArn(string instanceId) => $"arn:{Partition}:ec2:{Region}:{Id}:instance/{instanceId}";
}

/// <summary>The services of one site, called by its own credentials and at its account's paces.</summary>
internal sealed record AwsSite(Ec2Client Ec2, SsmClient Ssm, Prices Prices, AwsPaces Paces, AwsAccount Account);

/// <summary>
/// Every site that there is anything to do at, made when it is first asked for: the controller's own, those of the policy's accounts,
/// and those where machines still are that an earlier policy launched.
/// </summary>
internal sealed class AwsSites(KeyChain keys, AwsAccount own, Settings settings, TimeProvider time) : IDisposable
{
    private static readonly TimeSpan CallLimit = TimeSpan.FromSeconds(15);

    private readonly ConcurrentDictionary<Site, Lazy<Connected>> _sites = new();

    /// <summary>Two roles of one account take from the same buckets.</summary>
    private readonly ConcurrentDictionary<(string Account, string Region), Lazy<AwsPaces>> _paces = new();

    /// <summary>Where the controller is.</summary>
    public Site Home { get; } = new(own.Region);

    /// <summary>Launches that can be begun now without waiting, at all these together.</summary>
    public int LaunchesLeft(IEnumerable<Site> at) => PacesOf(at).Sum(p => p.LaunchesLeft);

    /// <summary>When there is one more, where there is none; null if none is waited for.</summary>
    public TimeSpan? UntilLaunch(IEnumerable<Site> at) => PacesOf(at).Select(p => p.UntilLaunch).Where(until => until > TimeSpan.Zero).Select(until => (TimeSpan?)until).Min();

    public AwsSite At(Site site) => _sites.GetOrAdd(site, s => new Lazy<Connected>(() => Connect(s))).Value.Site;

    public void Dispose()
    {
        foreach (var connected in _sites.Values)
            connected.Value.Dispose();
        foreach (var paces in _paces.Values)
            paces.Value.Dispose();
    }

    private IEnumerable<AwsPaces> PacesOf(IEnumerable<Site> at) => at.Select(s => At(s).Paces).Distinct();

    private Connected Connect(Site site)
    {
        var account = site.Role is { } role && role.Split(':') is [_, var partition, _, _, var id, ..] ? new AwsAccount(partition, id, site.Region) : own with { Region = site.Region };
        var paces = _paces.GetOrAdd((account.Id, account.Region), _ => new Lazy<AwsPaces>(() => new AwsPaces(settings, time))).Value;
        var credentials = site.Role is null ? keys : keys.Assuming(site.Role, site.ExternalId);
        var (ec2, ssm, pricing) = (To("ec2"), To("ssm"), PricingClient.Connect(site.Region, credentials.KeysAsync, CallLimit, time, paces.Calls));
        var client = new Ec2Client(ec2);
        return new Connected(new AwsSite(client, new SsmClient(ssm), new Prices(client, new PricingClient(pricing), site.Region, time), paces, account), [ec2, ssm, pricing]);

        AwsConnection To(string service) => AwsConnection.To(service, site.Region, credentials.KeysAsync, CallLimit, time, pace: paces.Calls);
    }

    private sealed record Connected(AwsSite Site, IReadOnlyList<AwsConnection> Connections) : IDisposable
    {
        public void Dispose()
        {
            foreach (var connection in Connections)
                connection.Dispose();
        }
    }
}
