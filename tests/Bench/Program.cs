using System.Globalization;
using Mayfly.Bench;
using Mayfly.Lab.Machines;

// Measures the figures of docs/specification.md, prints them and writes them to results.json. Runs as root in a network and
// process namespace of its own, as ./build.sh --target=Bench starts it.
//   mayfly-bench --agent=FILE --image=DIR --controller=FILE --container-program=FILE --baseline=FILE --out=DIR [--only=BEGINNING]
//   mayfly-bench --boot-order=FILE --image=DIR: writes the order in which a boot reads the root's files

// Each family of figures: the names it gives, and what measures them. A new one is a line here and a class.
(string[] Names, Func<Bed, CancellationToken, Task<IReadOnlyList<Measurement>>> MeasureAsync)[] families =
[
    (["agent.binary_bytes"], BinarySize.MeasureAsync),
    (ExecToRunner.Names, ExecToRunner.MeasureAsync),
    (Supervision.Names, Supervision.MeasureAsync),
    (Boot.Names, Boot.MeasureAsync),
    (ImageFigures.Names, ImageFigures.MeasureAsync),
    (ControllerBurst.Names, ControllerBurst.MeasureAsync),
    (ControllerStart.Names, ControllerStart.MeasureAsync),
    (Webhook.Names, Webhook.MeasureAsync),
];

var options = args.Select(a => a.Split('=', 2)).ToDictionary(a => a[0].TrimStart('-'), a => a.Length > 1 ? a[1] : "");
var only = options.GetValueOrDefault("only", "");
var asked = families.Where(f => f.Names.Any(n => n.StartsWith(only, StringComparison.Ordinal))).ToList();
if (asked.Count == 0)
{
    Console.Error.WriteLine($"--only='{only}' is the beginning of no figure; there are {string.Join(", ", families.SelectMany(f => f.Names))}");
    return 64;
}

await LabNetwork.LayAsync();
Directory.CreateDirectory(options["out"]);
if (options.TryGetValue("boot-order", out var order))
{
    await BootOrder.WriteAsync(new Bed("", options["image"], "", Directory.CreateTempSubdirectory("mayfly-bench-").FullName, Say), order, CancellationToken.None);
    return 0;
}

var failed = false;
var measurements = new List<Measurement>();
foreach (var (names, measureAsync) in asked)
{
    Say($"measuring {string.Join(", ", names)}");
    var folder = Directory.CreateTempSubdirectory("mayfly-bench-").FullName;
    try
    {
        var measured = await measureAsync(new Bed(options["agent"], options["image"], options["controller"], folder, Say) { Baseline = options["baseline"], ContainerProgram = options["container-program"], Out = options["out"] }, CancellationToken.None);
        if (!measured.Select(m => m.Name).SequenceEqual(names))
            throw new InvalidOperationException($"measured {string.Join(", ", measured.Select(m => m.Name))} instead");
        measurements.AddRange(measured);
    }
    catch (Exception e) when (e is InvalidOperationException or IOException or TimeoutException or FormatException)
    {
        failed = true; // and the others are measured all the same
        Say($"FAILED {string.Join(", ", names)}: {e}");
    }
    finally
    {
        Directory.Delete(folder, recursive: true);
    }
}

var results = Path.Combine(options["out"], "results.json");
File.WriteAllText(results, Measurement.ToJson(measurements));
Console.WriteLine();
Console.WriteLine($"{"figure",-28} {"value",10} {"unit",-5} {"compared",10} {"ratio",6} {"promised",-15} {"met",-3}  with");
foreach (var m in measurements)
    Console.WriteLine($"{m.Name,-28} {Number(m.Value),10} {m.Unit,-5} {Number(m.ComparedValue),10} {Number(m.Ratio),6} {Promise(m),-15} {Met(m),-3}  {m.ComparedWith}");
Console.WriteLine($"\nwritten to {results}");
// A bound that is not kept fails the run, once all is measured and written.
return failed || measurements.Any(m => m.IsMet == false) ? 1 : 0;

static string Number(double? value) => value is null ? "" : Math.Round(value.Value, 2).ToString("#,0.##", CultureInfo.InvariantCulture);

static string Promise(Measurement m) =>
    string.Join(", ", new[] { m.Most is { } most ? $"<= {Number(most)}" : null, m.LeastRatio is { } least ? $"{Number(least)}x" : null }.OfType<string>().DefaultIfEmpty("-"));

static string Met(Measurement m) => m.IsMet switch { true => "yes", false => "NO", null => "-" };

static void Say(string text) => Console.WriteLine($"bench: {text}");
