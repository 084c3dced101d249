using System.Diagnostics;
using System.Globalization;
using Mayfly.Lab;

namespace Mayfly.Bench;

/// <summary>
/// From the controller's exec to its first answer: the container's own program and runtime, with a new database, as at a first start.
/// The time is taken by asking again and again, to ten milliseconds. Beside it the Node.js handler of <see cref="Webhook"/>, which
/// opens no database and asks nobody for anything.
/// </summary>
internal static class ControllerStart
{
    private const int Runs = 11;
    private const double Most = 1000;

    public static readonly string[] Names = ["controller.start_ms"];

    public static async Task<IReadOnlyList<Measurement>> MeasureAsync(Bed bed, CancellationToken cancel)
    {
        await using var lab = await Lab.Lab.StartAsync(new LabOptions());
        lab.Templates.Load(Demo.LaunchTemplate, "ami-0123456789abcdef0");
        var secret = Path.Combine(bed.Folder, "secret");
        await File.WriteAllTextAsync(secret, lab.GitHub.Options.WebhookSecret, cancel);
        var (ours, theirs) = (new List<double>(), new List<double>());
        for (var run = 0; run <= Runs; run++)
        {
            var clock = Stopwatch.StartNew();
            await using (await ControllerProcess.StartAsync(lab, bed.ContainerProgram, Path.Combine(bed.Folder, $"{run}"), null, _ => { }))
                ours.Add(clock.Elapsed.TotalMilliseconds);
            clock.Restart();
            using var handler = Webhook.StartNode("handler.mjs", $"{ControllerProcess.FreePort()}", secret, "9");
            if (handler is null)
                continue;
            await handler.StandardOutput.ReadLineAsync(cancel).AsTask().WaitAsync(Webhook.StartLimit, cancel);
            theirs.Add(clock.Elapsed.TotalMilliseconds);
            handler.Kill();
        }

        // The first brings both programs into memory.
        var (own, peer) = (ours.Skip(1).ToList(), theirs.Skip(1).ToList());
        bed.Say(string.Create(CultureInfo.InvariantCulture, $"the controller answers after {own.Min():F0} to {own.Max():F0} ms, the very first time after {ours[0]:F0}"));
        if (peer.Count == 0)
            bed.Say("SKIPPED: there is no Node.js here (Debian's package nodejs), so controller.start_ms is compared with nothing");
        return [new(Names[0], Measurement.Median(own), "ms", peer.Count > 0 ? "a Node.js handler that begins to listen" : null, peer.Count > 0 ? Measurement.Median(peer) : null) { Most = Most }];
    }
}
