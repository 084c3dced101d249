using System.Diagnostics;
using System.Globalization;
using System.Text;
using System.Text.Json;
using Mayfly.Lab;
using Mayfly.Lab.GitHub;

namespace Mayfly.Bench;

/// <summary>
/// How long a webhook waits for its answer at a thousand deliveries a second: from the controller, which answers when the
/// delivery is on the disk, and from what controllers on Lambda do, a Node.js handler that verifies and hands on to a queue.
/// wrk is the load; it, the lab and what is measured share the processors.
/// </summary>
internal static class Webhook
{
    /// <summary>Deliveries a second, and for how long.</summary>
    private const int Rate = 1000;
    private const int Seconds = 20;

    /// <summary>Before that, unmeasured: both run for weeks, and compile what they run in their first seconds.</summary>
    private const int WarmUpSeconds = 5;

    /// <summary>Jobs that the deliveries tell of, again and again.</summary>
    private const int Jobs = 2000;

    /// <summary>Below this share of the rate, the load was not the one promised.</summary>
    private const double LeastShare = 0.98;

    private const string Peer = "a Node.js handler that verifies and hands on to a local queue";

    public static readonly TimeSpan StartLimit = TimeSpan.FromSeconds(20);

    public static readonly string[] Names = ["controller.webhook_p99_ms"];

    public static async Task<IReadOnlyList<Measurement>> MeasureAsync(Bed bed, CancellationToken cancel)
    {
        await using var lab = await Lab.Lab.StartAsync(new LabOptions());
        lab.Templates.Load(Demo.LaunchTemplate, "ami-0123456789abcdef0");
        var deliveries = Path.Combine(bed.Folder, "deliveries");
        await File.WriteAllLinesAsync(deliveries, Enumerable.Range(0, Jobs).Select(i => Line(lab.GitHub.Options, i)), cancel);
        var controllerFolder = Path.Combine(bed.Folder, "controller");
        double ours;
        await using (var controller = await ControllerProcess.StartAsync(lab, bed.Controller, controllerFolder, null, _ => { }))
            ours = await LoadAsync(bed, "controller", new Uri(controller.Address, "webhook"), deliveries, cancel);

        var theirs = await MeasurePeerAsync(bed, lab, deliveries, cancel);
        return [new(Names[0], ours, "ms", theirs is null ? null : Peer, theirs) { Most = 10 }];
    }

    private static async Task<double?> MeasurePeerAsync(Bed bed, Lab.Lab lab, string deliveries, CancellationToken cancel)
    {
        var (port, queuePort) = (ControllerProcess.FreePort(), ControllerProcess.FreePort());
        var secret = Path.Combine(bed.Folder, "secret");
        await File.WriteAllTextAsync(secret, lab.GitHub.Options.WebhookSecret, cancel);
        using var queue = StartNode("queue.mjs", $"{queuePort}", Path.Combine(bed.Folder, "queue"));
        using var handler = StartNode("handler.mjs", $"{port}", secret, $"{queuePort}");
        if (queue is null || handler is null)
        {
            bed.Say("SKIPPED: there is no Node.js here (Debian's package nodejs), so controller.webhook_p99_ms is compared with nothing");
            return null;
        }

        try
        {
            foreach (var process in (Process[])[queue, handler])
                await process.StandardOutput.ReadLineAsync(cancel).AsTask().WaitAsync(StartLimit, cancel);
            return await LoadAsync(bed, "Node.js handler", new Uri($"http://127.0.0.1:{port}/"), deliveries, cancel);
        }
        finally
        {
            handler.Kill();
            queue.Kill();
        }
    }

    /// <returns>The 99th percentile, in milliseconds.</returns>
    private static async Task<double> LoadAsync(Bed bed, string what, Uri target, string deliveries, CancellationToken cancel)
    {
        await LoadAsync(target, deliveries, WarmUpSeconds, cancel);
        var output = await LoadAsync(target, deliveries, Seconds, cancel);
        var result = output.Split('\n').SingleOrDefault(l => l.StartsWith("result ", StringComparison.Ordinal))
            ?? throw new InvalidOperationException($"wrk told no result: {output}");
        var numbers = result.Split(' ').Skip(1).Select(n => double.Parse(n, CultureInfo.InvariantCulture)).ToArray();
        var (requests, failed, rate, middle, p99) = (numbers[0], numbers[1], numbers[0] / (numbers[2] / 1_000_000), numbers[3] / 1000, numbers[4] / 1000);
        bed.Say(string.Create(CultureInfo.InvariantCulture, $"{what}: {requests} deliveries, {rate:F0} a second, {failed} failed, p50 {middle:F2} ms, p99 {p99:F2} ms"));
        if (failed > 0 || rate < Rate * LeastShare)
            throw new InvalidOperationException(string.Create(CultureInfo.InvariantCulture, $"{what}: {failed} of {requests} deliveries failed at {rate:F0} a second; {Rate} were to be sent"));
        return p99;
    }

    private static async Task<string> LoadAsync(Uri target, string deliveries, int seconds, CancellationToken cancel)
    {
        const int threads = 2;
        var start = new ProcessStartInfo("wrk") { RedirectStandardOutput = true };
        foreach (var argument in (string[])["-t", $"{threads}", "-c", "64", "-d", $"{seconds}s", "-s", Script("load.lua"), target.AbsoluteUri, "--", deliveries, $"{Rate}", $"{threads}"])
            start.ArgumentList.Add(argument);
        using var wrk = Process.Start(start)!;
        return await wrk.StandardOutput.ReadToEndAsync(cancel).WaitAsync(TimeSpan.FromSeconds(seconds) + StartLimit, cancel);
    }

    /// <summary>A job that began on another's runner: it is parsed, decided on and written down, and launches nothing.</summary>
    private static string Line(GitHubOptions options, int number)
    {
        var job = new Job(43_000_000_000 + number, 13_000_000_000 + number, "build", ["mayfly"], [], DateTimeOffset.UnixEpoch) { Started = DateTimeOffset.UnixEpoch };
        var body = JsonSerializer.SerializeToUtf8Bytes(WebhookPayload.Of("in_progress", job, options));
        return $"{Webhooks.Sign(options.WebhookSecret, body)}\t{Encoding.UTF8.GetString(body)}";
    }

    /// <returns>Null without Node.js.</returns>
    public static Process? StartNode(string script, params string[] arguments)
    {
        var start = new ProcessStartInfo("node") { RedirectStandardOutput = true };
        foreach (var argument in (string[])[Script(script), .. arguments])
            start.ArgumentList.Add(argument);
        try
        {
            return Process.Start(start);
        }
        catch (System.ComponentModel.Win32Exception)
        {
            return null;
        }
    }

    private static string Script(string name) => Path.Combine(AppContext.BaseDirectory, "webhook", name);
}
