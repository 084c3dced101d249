using Mayfly.Controller.Seen;
using Mayfly.Lab;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.Extensions.Hosting.Internal;
using Microsoft.Extensions.Logging.Abstractions;

namespace Mayfly.Controller.Tests;

/// <summary>What probes are answered, by a clock that is moved by hand. <see cref="SeenTests"/> asks the running program.</summary>
public sealed class HealthTests : IAsyncLifetime
{
    /// <summary>So long that no beat is due but where a test waits for one.</summary>
    private static readonly TimeSpan Lease = TimeSpan.FromDays(1);

    private readonly HandMovedTime _time = new(new DateTimeOffset(2026, 11, 21, 12, 0, 0, TimeSpan.Zero));
    private readonly ApplicationLifetime _life = new(NullLogger<ApplicationLifetime>.Instance);
    private readonly string _folder = Directory.CreateTempSubdirectory("mayfly-health-").FullName;
    private Store _store = null!;
    private Health _health = null!;
    private Heart _heart = null!;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        _store = await Store.OpenAsync(Path.Combine(_folder, "controller.db"), Lease, _time);
        _health = new Health(_store, _life, _time);
        _heart = new Heart(_store, _health, _time, NullLogger<Heart>.Instance);
    }

    [Fact]
    public void A_loop_that_turns_no_more_is_named_and_one_that_goes_on_is_alive_again()
    {
        _health.Turn("one", TimeSpan.FromSeconds(10));
        _health.Turn("another", TimeSpan.FromSeconds(60));
        _time.Move(TimeSpan.FromSeconds(10));
        Assert.Equal((200, "alive\n"), Said(_health.Alive()));
        _time.Move(TimeSpan.FromSeconds(1));
        Assert.Equal((503, "one has not turned for more than 10 s\n"), Said(_health.Alive()));
        _health.Turn("one", TimeSpan.FromSeconds(10));
        Assert.Equal((200, "alive\n"), Said(_health.Alive()));
    }

    [Fact]
    public async Task A_leaders_turn_that_hangs_is_told_of_half_an_hour_after_the_next_was_due()
    {
        using var stop = new CancellationTokenSource();
        await _heart.StartAsync(Cancel);
        var leading = _heart.LeadAsync("what hangs", TimeSpan.FromMinutes(2), cancel => Task.Delay(Timeout.InfiniteTimeSpan, TimeProvider.System, cancel), _ => { }, stop.Token);
        _time.Move(TimeSpan.FromMinutes(32));
        Assert.Equal((200, "alive\n"), Said(_health.Alive()));
        _time.Move(TimeSpan.FromSeconds(1));
        Assert.Equal((503, "what hangs has not turned for more than 1920 s\n"), Said(_health.Alive()));
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => leading);
    }

    [Fact]
    public async Task A_heart_that_beats_no_more_is_told_of_once_two_beats_were_due()
    {
        await _heart.StartAsync(Cancel);
        await _heart.StopAsync(Cancel);
        _time.Move(2 * (Lease / 6) + TimeSpan.FromMinutes(2));
        Assert.Equal((200, "alive\n"), Said(_health.Alive()));
        _time.Move(TimeSpan.FromSeconds(1));
        Assert.Equal((503, "Heart has not turned for more than 28920 s\n"), Said(_health.Alive()));
    }

    [Fact]
    public async Task A_controller_that_stops_or_is_cut_off_from_its_store_is_ready_for_nothing()
    {
        await _heart.StartAsync(Cancel);
        Assert.Equal((200, "ready, leads\n"), Said(await _health.ReadyAsync(_heart)));

        await _store.TransactAsync(async sql => await sql.ExecuteAsync("ALTER TABLE controller RENAME TO away"));
        await Beats.UntilAsync(() => _heart.Member.IsCancellationRequested, _time, _store);
        Assert.Equal((503, "cut off from the store for too long: what this controller was at is another's\n"), Said(await _health.ReadyAsync(_heart)));

        await _store.TransactAsync(async sql => await sql.ExecuteAsync("ALTER TABLE away RENAME TO controller"));
        await Beats.UntilAsync(() => !_heart.Member.IsCancellationRequested, _time, _store);
        Assert.Equal((200, "ready, leads\n"), Said(await _health.ReadyAsync(_heart)));

        _life.StopApplication();
        Assert.Equal((503, "stopping\n"), Said(await _health.ReadyAsync(_heart)));
        Assert.Equal((200, "alive\n"), Said(_health.Alive()));
    }

    [Theory]
    [InlineData("http://*:8080", "http://127.0.0.1:8080/")]
    [InlineData("http://+:80;https://+:443", "http://127.0.0.1/")]
    [InlineData("https://*:443; http://0.0.0.0:5000", "http://127.0.0.1:5000/")]
    [InlineData("http://[::]:8080", "http://[::1]:8080/")]
    [InlineData("http://10.61.0.7:8080", "http://10.61.0.7:8080/")]
    public void The_probe_asks_where_the_controller_serves(string urls, string asked) => Assert.Equal(asked, HealthProbe.AddressOf(urls).AbsoluteUri);

    public async ValueTask DisposeAsync()
    {
        await _heart.StopAsync(CancellationToken.None);
        _heart.Dispose();
        await _store.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }

    private static (int Status, string? Text) Said(IResult result)
    {
        var text = Assert.IsType<ContentHttpResult>(result);
        return (text.StatusCode ?? 200, text.ResponseContent);
    }
}
