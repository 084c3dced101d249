using Amazon.Runtime;
using Mayfly.Aws;
using Mayfly.Contract;
using Mayfly.Controller.Costs;
using Mayfly.Lab;
using Mayfly.Lab.Aws;
using Microsoft.Extensions.Logging.Abstractions;

namespace Mayfly.Controller.Tests;

/// <summary>What a job's machine cost, by the lab's price list and spot market.</summary>
[Collection(Endpoints.Collection)]
public sealed class CostTests : IAsyncLifetime
{
    private const string Type = "m7i.large";

    private readonly ManualTime _time = new(new DateTimeOffset(2026, 11, 21, 12, 0, 0, TimeSpan.Zero));
    private readonly string _folder = Directory.CreateTempSubdirectory("mayfly-cost-").FullName;
    private readonly List<string> _asked = [];
    private Lab.Lab _lab = null!;
    private Store _store = null!;
    private AwsSites _sites = null!;
    private Heart _heart = null!;
    private Accountant _accountant = null!;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        _lab = await Lab.Lab.StartAsync(new LabOptions { Time = _time });
        _lab.Ec2.Disturb = (action, _) => _asked.Add(action);
        _lab.Prices.Disturb = (action, _) => _asked.Add(action);
        _store = await Store.OpenAsync(Path.Combine(_folder, "controller.db"), Some.Lease, _time);
        foreach (var service in (string[])["EC2", "PRICING"])
            Environment.SetEnvironmentVariable($"AWS_ENDPOINT_URL_{service}", _lab.AwsAddress.AbsoluteUri);
        _sites = new AwsSites(new KeyChain(new BasicAWSCredentials(_lab.User.Id, _lab.User.Secret)), new AwsAccount("aws", _lab.Options.Account, _lab.Options.Region), Some.Settings(), _time);
        _heart = new Heart(_store, Some.Health(_store, _time), _time, NullLogger<Heart>.Instance);
        _accountant = new Accountant(_store, _sites, _heart, NullLogger<Accountant>.Instance);
    }

    public async ValueTask DisposeAsync()
    {
        _accountant.Dispose();
        _heart.Dispose();
        _sites.Dispose();
        await _store.DisposeAsync();
        await _lab.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public async Task On_demand_a_machine_costs_what_the_price_list_says_for_Linux_alone()
    {
        var launch = await SettledAsync(1, Usage(600));
        Assert.Equal((Bill.Known, 16_800), (launch.Bill, launch.MicroUsd)); // a sixth of 0.1008 dollars
    }

    [Fact]
    public async Task On_spot_it_costs_what_the_market_said_in_its_zone_at_the_beginning_of_each_hour()
    {
        _lab.Fleet.Market.SetSpotPrice(Type, "eu-central-1b", 0.04m);
        var from = _time.GetUtcNow();
        _time.Move(TimeSpan.FromMinutes(30));
        _lab.Fleet.Market.SetSpotPrice(Type, "eu-central-1b", 0.08m);
        _lab.Fleet.Market.SetSpotPrice(Type, "eu-central-1a", 9m);
        _time.Move(TimeSpan.FromMinutes(60));
        var launch = await SettledAsync(1, new Usage(Type, "eu-central-1b", true, from, _time.GetUtcNow(), false));
        Assert.Equal((Bill.Known, 80_000), (launch.Bill, launch.MicroUsd));
    }

    [Fact]
    public async Task A_machine_in_another_region_is_priced_there()
    {
        _lab.PlaceIn(_lab.Options.Account, "eu-west-1").Fleet.Market.SetSpotPrice(Type, "eu-west-1a", 0.06m);
        var launch = await SettledAsync(1, new Usage(Type, "eu-west-1a", true, _time.GetUtcNow(), _time.GetUtcNow().AddMinutes(10), false), "eu-west-1");
        Assert.Equal((Bill.Known, 10_000), (launch.Bill, launch.MicroUsd));
    }

    [Fact]
    public async Task What_EC2_took_back_in_its_first_hour_is_known_to_cost_nothing_and_nobody_is_asked()
    {
        var launch = await SettledAsync(1, Usage(600) with { IsSpot = true, TakenBack = true });
        Assert.Equal((Bill.Known, 0), (launch.Bill, launch.MicroUsd));
        Assert.Empty(_asked);
    }

    [Fact]
    public async Task A_price_is_asked_for_once_a_type_and_not_once_a_job()
    {
        for (var job = 1; job <= 3; job++)
            await SettledAsync(job, Usage(600));
        for (var job = 4; job <= 6; job++)
            await SettledAsync(job, Usage(600) with { IsSpot = true });
        await SettledAsync(7, Usage(600) with { InstanceType = "c7i.large" });
        Assert.Equal(["GetProducts", "DescribeSpotPriceHistory", "GetProducts"], _asked);
        _time.Move(TimeSpan.FromDays(1));
        await SettledAsync(8, Usage(600));
        Assert.Equal(4, _asked.Count);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task What_may_not_be_asked_is_unknown_and_not_0_and_is_asked_again_an_hour_later(bool isSpot)
    {
        var denied = new AwsFault(isSpot ? "UnauthorizedOperation" : "AccessDeniedException", "no", isSpot ? 403 : 400);
        _lab.Ec2.Disturb = (action, _) => Deny(action);
        _lab.Prices.Disturb = (action, _) => Deny(action);
        for (var job = 1; job <= 3; job++)
        {
            var launch = await SettledAsync(job, Usage(600) with { IsSpot = isSpot });
            Assert.Equal((Bill.Unknown, null), (launch.Bill, launch.MicroUsd));
        }

        Assert.Single(_asked);
        _lab.Ec2.Disturb = null;
        _lab.Prices.Disturb = null;
        _time.Move(TimeSpan.FromHours(1));
        Assert.Equal(Bill.Known, (await SettledAsync(4, Usage(600) with { IsSpot = isSpot })).Bill);

        void Deny(string action)
        {
            _asked.Add(action);
            throw denied;
        }
    }

    [Fact]
    public async Task A_type_that_is_not_in_the_price_list_and_a_machine_that_EC2_forgot_are_unknown()
    {
        Assert.Equal((Bill.Unknown, null), await BillAsync(1, Usage(600) with { InstanceType = "m99.large" }));
        Assert.Equal((Bill.Unknown, null), await BillAsync(2, null));

        async Task<(Bill?, long?)> BillAsync(int job, Usage? usage) => await SettledAsync(job, usage) is var launch ? (launch.Bill, launch.MicroUsd) : default;
    }

    [Fact]
    public async Task Where_nobody_answers_the_cost_is_unknown()
    {
        await _lab.DisposeAsync();
        Assert.Equal(Bill.Unknown, (await SettledAsync(1, Usage(600))).Bill);
    }

    [Fact]
    public async Task EC2_tells_when_a_machine_was_asked_to_end_and_not_when_one_switched_itself_off()
    {
        _lab.Templates.Load(Demo.LaunchTemplate, "ami-0123456789abcdef0");
        var ec2 = _sites.At(_sites.Home).Ec2;
        foreach (var name in (string[])["asked", "by itself"])
            await ec2.CreateInstantFleetAsync(new FleetRequest("mayfly", $"token-{name.Length}", true, [new FleetOverride { AvailabilityZone = "eu-central-1b" }], new Dictionary<string, string> { [Tags.Launch] = name }), Cancel);
        _time.Move(TimeSpan.FromSeconds(100));
        var running = await SeenAsync();
        await ec2.TerminateAsync(running["asked"].InstanceId, Cancel);
        _lab.Fleet.Find(running["by itself"].InstanceId).Machine!.Kill();
        foreach (var machine in running.Values)
            await _lab.Journal.WaitForAsync(e => e.Name == "instance terminated" && e.Subject == machine.InstanceId, World.Limit, Cancel);
        var ended = await SeenAsync();
        Assert.Equal((null, "eu-central-1b", true), (running["asked"].Ended, running["asked"].AvailabilityZone, running["asked"].IsSpot));
        Assert.Equal((_time.GetUtcNow(), (DateTimeOffset?)null), (ended["asked"].Ended, ended["by itself"].Ended));

        async Task<Dictionary<string, InstanceDescription>> SeenAsync() => (await ec2.DescribeTaggedAsync(Tags.Launch, Cancel)).ToDictionary(m => m.Tags[Tags.Launch]);
    }

    [Theory]
    [InlineData("eu-west-3", "eu-central-1")]
    [InlineData("ap-southeast-2", "ap-south-1")]
    [InlineData("us-west-2", "us-east-1")]
    [InlineData("sa-east-1", "us-east-1")]
    public void The_price_list_is_asked_in_one_of_the_regions_that_have_it(string region, string asked) => Assert.Equal(asked, PricingClient.RegionFor(region));

    private Usage Usage(int seconds) => new(Type, "eu-central-1a", false, _time.GetUtcNow() - TimeSpan.FromSeconds(seconds), _time.GetUtcNow(), false);

    private async Task<LaunchRecord> SettledAsync(int job, Usage? usage, string region = "eu-central-1")
    {
        var (launch, _) = await _store.TransactAsync(sql => LaunchQueue.AddAsync(sql, Some.Job(JobAction.Queued, "mayfly") with { Id = job }, Some.Order(2) with { Region = region }));
        await _store.Launches.EndedAsync(launch.Id, "job-succeeded: done", "[]", null, usage);
        Assert.Equal(Bill.Due, (await _store.Launches.FindAsync(launch.Id))!.Bill);
        await _accountant.SettleAsync(Cancel);
        return (await _store.Launches.FindAsync(launch.Id))!;
    }
}
