using System.Collections.Concurrent;
using System.Net;
using Mayfly.Lab.Aws;
using Mayfly.Lab.Ec2;
using Mayfly.Lab.GitHub;
using Mayfly.Lab.Imds;
using Mayfly.Lab.Kms;
using Mayfly.Lab.Machines;
using Mayfly.Lab.Pricing;
using Mayfly.Lab.Ssm;

namespace Mayfly.Lab;

/// <summary>What a lab is made of.</summary>
internal sealed record LabOptions
{
    public string Region { get; init; } = "eu-central-1";

    public string Account { get; init; } = "123456789012";

    /// <summary>Where AWS and GitHub listen, beside 127.0.0.1: an address inside a network namespace of the lab's own.</summary>
    public IPAddress? Inside { get; init; }

    /// <summary>Port of AWS; 0 takes a free one.</summary>
    public int AwsPort { get; init; }

    public int GitHubPort { get; init; }

    /// <summary>Where the metadata service listens; null leaves it to <see cref="Lab.OpenImdsAsync"/>.</summary>
    public IPEndPoint? Imds { get; init; }

    /// <summary>The machine for an instance, or null where no image has that id. By default every machine pretends.</summary>
    public Func<Lab, Instance, IMachine?> Machine { get; init; } = static (_, _) => new PretendMachine();

    public GitHubOptions GitHub { get; init; } = new();

    public TimeProvider Time { get; init; } = TimeProvider.System;

    /// <summary>The clock that signatures of requests are held against; that of <see cref="Time"/> where nothing is said. A client
    /// that signs by the system's clock while <see cref="Time"/> is moved by hand needs the system's here.</summary>
    public TimeProvider? SignatureTime { get; init; }
}

/// <summary>GitHub and AWS on this machine.</summary>
internal sealed class Lab : IAsyncDisposable
{
    private readonly List<WebApplication> _servers = [];
    private readonly ConcurrentDictionary<(string Account, string Region), Place> _places = new();
    private int _requests;

    private Lab(LabOptions options)
    {
        Options = options;
        Journal = new Journal(options.Time);
        Keys = new Keyring();
        Home = PlaceIn(options.Account, options.Region);
        Sts = new StsService(Keys, options.Account, options.Time);
        Kms = new KmsService(options.Region, options.Account, Journal);
        Prices = new PriceList(Journal, options.Time);
        User = Keys.IssueLasting(new Principal("AIDALAB", $"arn:aws:iam::{options.Account}:user/mayfly", null));
        Signatures = new SigV4(Keys, region => _places.Keys.Any(p => p.Region == region), options.SignatureTime ?? options.Time);
        Imds = new ImdsServer(options.Account, options.Region, Keys, Journal, options.Time);
        GitHub = new GitHubServer(options.GitHub, Journal, options.Time);
    }

    public LabOptions Options { get; }

    public Journal Journal { get; }

    public Keyring Keys { get; }

    /// <summary>Keys for the controller and for people's own clients.</summary>
    public AccessKey User { get; }

    public SigV4 Signatures { get; }

    /// <summary>The account and region that the lab is asked for by default; the five below are its.</summary>
    public Place Home { get; }

    public Images Images => Home.Images;

    public LaunchTemplates Templates => Home.Templates;

    public Fleet Fleet => Home.Fleet;

    public Ec2Service Ec2 => Home.Ec2;

    public SsmService Ssm => Home.Ssm;

    public StsService Sts { get; }

    public KmsService Kms { get; }

    public PriceList Prices { get; }

    public ImdsServer Imds { get; }

    public GitHubServer GitHub { get; }

    /// <summary>Requests that wait for an answer now, long polls aside. For <see cref="HandMovedTime.RunAsync"/>.</summary>
    public int Requests => _requests;

    public Uri AwsAddress { get; private set; } = null!;

    public Uri GitHubAddress { get; private set; } = null!;

    public static async Task<Lab> StartAsync(LabOptions options)
    {
        var lab = new Lab(options);
        var aws = new AwsServer(lab.Signatures, lab.PlaceOf, lab.Sts, lab.Kms, lab.Prices);
        lab.AwsAddress = await lab.ListenAsync(aws.HandleAsync, options.AwsPort);
        lab.GitHubAddress = await lab.ListenAsync(lab.GitHub.HandleAsync, options.GitHubPort);
        lab.GitHub.PublicAddress = options.Inside is { } inside ? new Uri($"http://{inside}:{lab.GitHubAddress.Port}/") : lab.GitHubAddress;
        if (options.Imds is { } imds)
            await lab.ServeAsync(context => lab.Imds.HandleAsync(context, lab.Fleet.FindByAddress(context.Connection.RemoteIpAddress?.MapToIPv4().ToString() ?? "")), imds);
        return lab;
    }

    /// <summary>A metadata service on the loopback for one instance, for machines that have no network.</summary>
    public Task<Uri> OpenImdsAsync(string instanceId) =>
        ServeAsync(context => Imds.HandleAsync(context, Fleet.Find(instanceId)), new IPEndPoint(IPAddress.Loopback, 0));

    /// <summary>An account's EC2 and SSM in a region, made when it is first asked for.</summary>
    public Place PlaceIn(string account, string region) =>
        _places.GetOrAdd((account, region), key => new Place(key.Account, key.Region, i => Options.Machine(this, i), Journal, Options.Time));

    /// <summary>No service limits how often it is called any more, for tests of something else.</summary>
    public void LiftLimits()
    {
        foreach (var place in _places.Values)
        {
            place.Fleet.Rates.Lift();
            place.Ssm.Rates.Lift();
        }

        Prices.Rates.Lift();
        GitHub.Limits.Lift();
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var instance in _places.Values.SelectMany(p => p.Fleet.Instances))
        {
            instance.Machine?.Kill();
            (instance.Machine as IDisposable)?.Dispose();
        }

        GitHub.Dispose();
        foreach (var server in _servers)
            await server.DisposeAsync();
    }

    /// <summary>Where a call goes: whose keys signed it, and for which region.</summary>
    private Place PlaceOf(Signed signed) => PlaceIn(signed.Key.Principal.Arn.Split(':')[4], signed.Region);

    private async Task<Uri> ListenAsync(RequestDelegate handle, int port)
    {
        var address = await ServeAsync(handle, new IPEndPoint(IPAddress.Loopback, port));
        if (Options.Inside is { } inside)
            await ServeAsync(handle, new IPEndPoint(inside, address.Port));
        return address;
    }

    private async Task<Uri> ServeAsync(RequestDelegate handle, IPEndPoint at)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.Listen(at);
            kestrel.AddServerHeader = false;
        });
        var server = builder.Build();
        server.Run(async context =>
        {
            // A runner's long poll waits for the clock, so the clock must not wait for it.
            var counts = !context.Request.Path.StartsWithSegments("/broker/message", StringComparison.Ordinal);
            if (counts)
                Interlocked.Increment(ref _requests);
            try
            {
                await handle(context);
            }
            finally
            {
                if (counts)
                    Interlocked.Decrement(ref _requests);
            }
        });
        await server.StartAsync();
        _servers.Add(server);
        return new Uri(server.Urls.Single());
    }
}
