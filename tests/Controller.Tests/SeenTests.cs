using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using System.Text.RegularExpressions;
using Mayfly.Contract;
using Mayfly.Controller.Database;
using Mayfly.Controller.Seen;
using Mayfly.Lab.GitHub;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;

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
    public async Task A_job_that_is_over_leaves_its_waits_its_cost_and_one_trace_from_the_webhook_to_the_end()
    {
        await using var collector = new Collector();
        await using var world = await World.StartAsync(controller: false);
        await world.StartControllerAsync(new Dictionary<string, string>
        {
            ["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector.Address.AbsoluteUri, ["OTEL_EXPORTER_OTLP_PROTOCOL"] = "http/protobuf", ["OTEL_BSP_SCHEDULE_DELAY"] = "100", ["OTEL_METRIC_EXPORT_INTERVAL"] = "500",
        });
        var job = await world.RunJobAsync(Labels);
        ConsoleEvent[] events = [new(1, 0, Milestone.KernelStarted, ""), new(8, 8, Milestone.RunnerListening, ""), new(9, 9, Milestone.JobStarted, ""), new(12, 9, Milestone.JobDone, "succeeded")];
        var machine = world.Machines[world.Living[0].Id];
        machine.Console = string.Join('\n', [.. events.Select(ConsoleLine.Format), ConsoleLine.Format(new ConsoleEnding("job-succeeded", 10, "the job succeeded", events)), ""]);
        machine.Kill();
        await world.LineAsync("ended: job-succeeded: the job succeeded");
        var cost = await world.LineAsync($"job {job.Id} of octo-org/octo-repo cost 0.0", "s of m7i.large in eu-central-1a, on-demand");

        var samples = await ScrapeAsync(world);
        Assert.Equal(1, samples["mayfly_endings_total{ending=\"job-succeeded\"}"]);
        Assert.Equal(1, samples["mayfly_launched_to_listening_seconds_count"]);
        Assert.Equal((1.0, 1.0), (samples["mayfly_listening_to_started_seconds_count"], samples["mayfly_listening_to_started_seconds_sum"]));
        var usd = double.Parse(cost.Split(" cost ")[1].Split(' ')[0], CultureInfo.InvariantCulture);
        Assert.Equal((1, usd), (samples["mayfly_job_cost_usd_count{market=\"on-demand\"}"], samples["mayfly_job_cost_usd_sum{market=\"on-demand\"}"]));
        Assert.Equal(usd, samples["mayfly_spent_usd_total{market=\"on-demand\",repository=\"octo-org/octo-repo\"}"]);
        var trace = await collector.BodiesAsync("/v1/traces", "mayfly.cost_usd"); // of the span that ends last
        var id = JobTrace.IdOf(new LaunchId("octo-org/octo-repo", $"{job.Id}-1")).ToHexString();
        Assert.Contains(id, Convert.ToHexStringLower(trace), StringComparison.Ordinal);
        var text = System.Text.Encoding.Latin1.GetString(trace);
        foreach (var word in (string[])["mayfly-controller", "queue and launch", "runner start", "wait for the job", "job-succeeded", "mayfly.cost_usd", "m7i.large", "eu-central-1a", "on-demand", world.Lab.Fleet.Instances.Single().Id])
            Assert.Contains(word, text, StringComparison.Ordinal);
        await collector.BodiesAsync("/v1/metrics", "mayfly.endings");
    }

    [Fact]
    public async Task It_is_ready_while_a_delivery_would_be_kept_and_says_why_when_not()
    {
        await using var world = await World.StartAsync();
        using var limit = new CancellationTokenSource(World.Limit);
        (int Status, string Text) ready;
        while ((ready = await GetAsync(world, "readyz")).Status != 200) // a store that answers late is none to rely on
            limit.Token.ThrowIfCancellationRequested();
        Assert.Equal((200, "ready, leads\n"), ready);
        Assert.Equal((200, "alive\n"), await GetAsync(world, "healthz"));
        await using (var database = new SqliteDatabase(Path.Combine(world.Folder, "controller.db"), TimeProvider.System))
            await database.TransactAsync(sql => sql.ExecuteAsync("DROP TABLE delivery"));
        var (status, text) = await GetAsync(world, "readyz");
        Assert.Equal(503, status);
        Assert.Contains("the store cannot be written", text, StringComparison.Ordinal);
        Assert.Equal((200, "alive\n"), await GetAsync(world, "healthz")); // a new start would not mend it
    }

    [Fact]
    public async Task The_container_s_health_check_tells_a_controller_that_is_alive_from_one_that_hangs_or_is_gone()
    {
        await using var world = await World.StartAsync();
        Assert.Equal((0, ""), await ProbeAsync(world.Controller.Address));
        await world.StopControllerAsync();
        var (code, output) = await ProbeAsync(new Uri("http://127.0.0.1:9/")); // discard, which nothing serves here
        Assert.Equal(1, code);
        Assert.Contains("no answer at ASPNETCORE_URLS='http://127.0.0.1:9/'", output, StringComparison.Ordinal);
        var builder = WebApplication.CreateSlimBuilder();
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        await using var hung = builder.Build();
        hung.MapGet("/healthz", () => TypedResults.Text("Scheduler has not turned\n", statusCode: 503));
        await hung.StartAsync(TestContext.Current.CancellationToken);
        Assert.Equal((1, "mayfly-controller: Scheduler has not turned\n"), await ProbeAsync(new Uri(hung.Urls.First())));

        static Task<(int, string)> ProbeAsync(Uri address) => Programs.RunAsync(new ProcessStartInfo("dotnet", [Path.Combine(AppContext.BaseDirectory, "mayfly-controller.dll"), "--health"])
        {
            Environment = { ["ASPNETCORE_URLS"] = address.AbsoluteUri },
        });
    }

    [Fact]
    public async Task As_JSON_each_line_of_the_log_has_its_ids_under_their_names()
    {
        await using var world = await World.StartAsync(controller: false);
        await using var collector = new Collector(); // of metrics alone, named by their own variable
        await world.StartControllerAsync(new Dictionary<string, string>
        {
            ["Mayfly__Log"] = "json", ["OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"] = $"{collector.Address}of-metrics", ["OTEL_EXPORTER_OTLP_PROTOCOL"] = "http/protobuf", ["OTEL_METRIC_EXPORT_INTERVAL"] = "500",
        });
        var (job, _) = await world.Lab.GitHub.Jobs.QueueAsync("build", Labels, []);
        await world.LineAsync("launched {Instance} for job");
        await world.LineAsync("{Job}", "is queued");
        await world.Lab.GitHub.Webhooks.Settled; // it is listed once it was answered, which may be after the launch
        var delivery = world.Lab.GitHub.Webhooks.Log[0].Guid;
        await world.LineAsync($"{delivery}", $"{job.Id}");
        var lines = world.Log.Select(l => JsonDocument.Parse(l).RootElement.GetProperty("Properties")).ToList();
        Assert.Contains(lines, l => Of(l, "Delivery") == $"{delivery}" && Of(l, "Job") == $"{job.Id}");
        Assert.Contains(lines, l => Of(l, "Instance") == world.Living[0].Id && Of(l, "Job") == $"{job.Id}");
        await collector.BodiesAsync("/of-metrics", "mayfly.webhook.answers");

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

    /// <summary>Takes what OpenTelemetry's exporter sends over HTTP, as a collector does.</summary>
    private sealed class Collector : IAsyncDisposable
    {
        private readonly WebApplication _app;
        private readonly System.Threading.Channels.Channel<(string Path, byte[] Body)> _taken = System.Threading.Channels.Channel.CreateUnbounded<(string, byte[])>();

        public Collector()
        {
            var builder = WebApplication.CreateSlimBuilder();
            builder.WebHost.UseUrls("http://127.0.0.1:0");
            _app = builder.Build();
            _app.MapPost("/{**path}", async (HttpContext context) =>
            {
                using var body = new MemoryStream();
                await context.Request.Body.CopyToAsync(body, context.RequestAborted);
                await _taken.Writer.WriteAsync((context.Request.Path, body.ToArray()), context.RequestAborted);
            });
            _app.StartAsync().GetAwaiter().GetResult();
        }

        public Uri Address => new(_app.Urls.First());

        /// <summary>What is sent there, up to the first that holds a word: metrics are sent again and again, and a trace in parts.</summary>
        public async Task<byte[]> BodiesAsync(string path, string word)
        {
            using var limit = new CancellationTokenSource(World.Limit);
            var all = new List<byte>();
            await foreach (var (at, body) in _taken.Reader.ReadAllAsync(limit.Token))
            {
                if (at != path)
                    continue;
                all.AddRange(body);
                if (System.Text.Encoding.Latin1.GetString(body).Contains(word, StringComparison.Ordinal))
                    return [.. all];
            }

            throw new InvalidOperationException("the collector was closed");
        }

        public ValueTask DisposeAsync() => _app.DisposeAsync();
    }

    [GeneratedRegex("""^(# (HELP|TYPE) [a-z_]+ .+|[a-z_]+(\{[a-z_]+="[^"]*"(,[a-z_]+="[^"]*")*\})? -?[0-9.E+-]+)$""")]
    private static partial Regex Form();
}
