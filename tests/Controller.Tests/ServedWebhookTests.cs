using System.Net;
using System.Text;
using Mayfly.Lab;

namespace Mayfly.Controller.Tests;

/// <summary>One controller for all bad deliveries: none of them leaves a trace for the next.</summary>
public sealed class ServedController : IAsyncLifetime
{
    internal World World { get; private set; } = null!;

    public async ValueTask InitializeAsync()
    {
        World = await World.StartAsync(controller: false);
        await World.StartControllerAsync(new Dictionary<string, string> { ["Mayfly__MaxBody"] = $"{BadDelivery.MaxBody}" });
    }

    public ValueTask DisposeAsync() => World.DisposeAsync();
}

/// <summary>The same bad input as in <see cref="WebhookTests"/>, to the program over HTTP.</summary>
public sealed class ServedWebhookTests(ServedController served) : IClassFixture<ServedController>
{
    private readonly World _world = served.World;

    [Theory]
    [MemberData(nameof(BadDelivery.Names), MemberType = typeof(BadDelivery))]
    public async Task A_bad_delivery_is_answered_over_http_and_leaves_nothing(string what)
    {
        var bad = BadDelivery.All[what];
        using var request = new HttpRequestMessage(HttpMethod.Post, new Uri(_world.Controller.Address, "webhook")) { Content = new ByteArrayContent(bad.Body) };
        request.Headers.ExpectContinue = bad.Status == 413; // what is too long is refused before it is sent
        request.Headers.TryAddWithoutValidation("X-GitHub-Event", bad.Event);
        if (bad.Id is not null)
            request.Headers.TryAddWithoutValidation("X-GitHub-Delivery", bad.Id);
        if (bad.Sign(_world.Lab.GitHub.Options.WebhookSecret, bad.Body) is { } signature)
            request.Headers.TryAddWithoutValidation("X-Hub-Signature-256", signature);
        await AssertRefusedAsync(bad, request);
    }

    [Fact]
    public async Task A_body_that_does_not_tell_its_length_is_cut_off_at_the_limit()
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, new Uri(_world.Controller.Address, "webhook")) { Content = new StreamContent(new MemoryStream(new byte[BadDelivery.MaxBody + 1])) };
        request.Headers.TransferEncodingChunked = true;
        await AssertRefusedAsync(BadDelivery.All["a body of a byte too many"], request);
    }

    [Fact]
    public async Task It_says_that_it_is_alive()
    {
        using var http = new HttpClient();
        Assert.Equal("alive\n", await http.GetStringAsync(new Uri(_world.Controller.Address, "healthz"), TestContext.Current.CancellationToken));
    }

    private async Task AssertRefusedAsync(BadDelivery bad, HttpRequestMessage request)
    {
        using var http = new HttpClient(new SocketsHttpHandler { Expect100ContinueTimeout = World.Limit }) { Timeout = World.Limit };
        using var response = await http.SendAsync(request, TestContext.Current.CancellationToken);
        var text = await response.Content.ReadAsStringAsync(TestContext.Current.CancellationToken);
        Assert.Equal(bad.Status, (int)response.StatusCode);
        Assert.StartsWith($"{bad.Code}: ", text, StringComparison.Ordinal);
        Assert.DoesNotContain(_world.Lab.GitHub.Options.WebhookSecret, text, StringComparison.Ordinal);
        Assert.Equal(0, await _world.StoredAsync(s => s.Deliveries.CountAsync()));
        _world.AssertNothingLeft();
    }
}
