using System.Globalization;
using System.Text.Json;
using System.Text.RegularExpressions;
using Mayfly.Controller.Database;
using Mayfly.Lab.GitHub;

namespace Mayfly.Controller.Tests;

/// <summary>What an operator sees of the running program: metrics, health, and its log.</summary>
public sealed partial class SeenTests
{
    private static readonly string[] Labels = ["mayfly"];

    [Fact]
    public async Task Metrics_tell_what_became_of_webhooks_and_launches()
    {
        await using var world = await World.StartAsync();
        var (job, _) = await world.Lab.GitHub.Jobs.QueueAsync("build", Labels, []);
        await world.AssertLaunchedOnceAsync(job);
        Assert.Equal(401, await world.PostAsync(world.Controller, "{}"u8.ToArray(), Guid.NewGuid(), secret: "another"));
        var samples = await ScrapeAsync(world);
        Assert.Equal(1, samples["mayfly_webhook_answers_total{outcome=\"accepted\"}"]);
        Assert.Equal(1, samples["mayfly_webhook_answers_total{outcome=\"wrong-signature\"}"]);
        Assert.Equal(1, samples["mayfly_launches_total{outcome=\"launched\"}"]);
        Assert.Equal(1, samples["mayfly_queued_to_launched_seconds_count"]);
        Assert.Equal(1, samples["mayfly_queued_to_launched_seconds_bucket{le=\"+Inf\"}"]);
        Assert.True(samples["mayfly_queued_to_launched_seconds_sum"] > 0);
        Assert.Equal(1, samples["mayfly_leads"]);
        Assert.True(samples["dotnet_process_memory_working_set_bytes"] > 1_000_000);
    }

    [Fact]
    public async Task It_is_ready_while_a_delivery_would_be_kept_and_says_why_when_not()
    {
        await using var world = await World.StartAsync();
        Assert.Equal((200, "ready, leads\n"), await GetAsync(world, "readyz"));
        Assert.Equal((200, "alive\n"), await GetAsync(world, "healthz"));
        await using (var database = new SqliteDatabase(Path.Combine(world.Folder, "controller.db"), TimeProvider.System))
            await database.TransactAsync(sql => sql.ExecuteAsync("DROP TABLE delivery"));
        var (status, text) = await GetAsync(world, "readyz");
        Assert.Equal(503, status);
        Assert.Contains("the store cannot be written", text, StringComparison.Ordinal);
        Assert.Equal((200, "alive\n"), await GetAsync(world, "healthz")); // a new start would not mend it
    }

    [Fact]
    public async Task As_JSON_each_line_of_the_log_has_its_ids_under_their_names()
    {
        await using var world = await World.StartAsync(controller: false);
        await world.StartControllerAsync(new Dictionary<string, string> { ["Mayfly__Log"] = "json" });
        var (job, _) = await world.Lab.GitHub.Jobs.QueueAsync("build", Labels, []);
        await world.LineAsync("launched {Instance} for job");
        var delivery = world.Lab.GitHub.Webhooks.Log[0].Guid;
        var lines = world.Log.Select(l => JsonDocument.Parse(l).RootElement.GetProperty("Properties")).ToList();
        Assert.Contains(lines, l => Of(l, "Delivery") == $"{delivery}" && Of(l, "Job") == $"{job.Id}");
        Assert.Contains(lines, l => Of(l, "Instance") == world.Living[0].Id && Of(l, "Job") == $"{job.Id}");

        static string? Of(JsonElement line, string name) => line.TryGetProperty(name, out var value) ? value.ToString() : null;
    }

    /// <summary>Every line of the page, which has to be of Prometheus' form.</summary>
    private static async Task<Dictionary<string, double>> ScrapeAsync(World world)
    {
        var (status, page) = await GetAsync(world, "metrics");
        Assert.Equal(200, status);
        Assert.EndsWith("\n", page, StringComparison.Ordinal);
        var lines = page.TrimEnd('\n').Split('\n');
        Assert.All(lines, line => Assert.Matches(Form(), line));
        return lines.Where(l => l[0] != '#').Select(l => l.Split(' ')).ToDictionary(l => string.Join(' ', l[..^1]), l => double.Parse(l[^1], CultureInfo.InvariantCulture));
    }

    private static async Task<(int Status, string Text)> GetAsync(World world, string path)
    {
        using var http = new HttpClient { Timeout = World.Limit };
        using var response = await http.GetAsync(new Uri(world.Controller.Address, path), TestContext.Current.CancellationToken);
        return ((int)response.StatusCode, await response.Content.ReadAsStringAsync(TestContext.Current.CancellationToken));
    }

    [GeneratedRegex("""^(# (HELP|TYPE) [a-z_]+ .+|[a-z_]+(\{[a-z_]+="[^"]*"(,[a-z_]+="[^"]*")*\})? -?[0-9.E+-]+)$""")]
    private static partial Regex Form();
}
