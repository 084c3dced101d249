using System.Collections.Concurrent;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;

namespace Mayfly.Lab.Tests;

/// <summary>A webhook's receiver that keeps what it got and answers what it is told.</summary>
internal sealed class GitHubReceiver : IAsyncDisposable
{
    private readonly WebApplication _server;
    private readonly ConcurrentQueue<(Dictionary<string, string> Headers, byte[] Body)> _received = new();

    private GitHubReceiver(WebApplication server) => _server = server;

    public int Status { get; set; } = 202;

    public Uri Address => new(_server.Urls.Single() + "/webhook");

    public IReadOnlyList<(Dictionary<string, string> Headers, byte[] Body)> Received => [.. _received];

    public static async Task<GitHubReceiver> StartAsync()
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        var server = builder.Build();
        var receiver = new GitHubReceiver(server);
        server.Run(receiver.HandleAsync);
        await server.StartAsync(TestContext.Current.CancellationToken);
        return receiver;
    }

    public ValueTask DisposeAsync() => _server.DisposeAsync();

    private async Task HandleAsync(HttpContext context)
    {
        using var body = new MemoryStream();
        await context.Request.Body.CopyToAsync(body);
        _received.Enqueue((context.Request.Headers.ToDictionary(h => h.Key, h => h.Value.ToString(), StringComparer.OrdinalIgnoreCase), body.ToArray()));
        context.Response.StatusCode = Status;
    }
}
