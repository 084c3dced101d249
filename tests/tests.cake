// What the tests and the demo run on, and they themselves.
var awsProxy = Argument("aws-proxy", "");

// What build.cake says in the end, once all tests are through.
int passed = 0, failed = 0, skipped = 0;
var ran = false;
var notable = new List<string>();

Task("Runner")
    .Description("Link the stand-in for the official runner, laid out like it")
    .IsDependentOn("Tools")
    .Does(() => Once("runner", Sources("tests/Runner"), Artifact("runner", "bin", "Runner.Listener"), () =>
    {
        PublishNative("runner", "tests/Runner/Runner.csproj", Artifact("runner", "bin"));
        EnsureDirectoryExists(Artifact("runner", "externals"));
        System.IO.File.WriteAllText(Artifact("runner", "externals", "README"), "The official runner keeps its copies of Node.js here; the stand-in needs none.\n");
    }));

Task("Lab")
    .Description("Publish the lab: GitHub and AWS on this machine")
    .Does(() => Once("lab", Sources("tests/Lab", "agent/Contract", "controller/deploy"), Artifact("lab", "mayfly-lab.dll"), () => Publish("lab", "tests/Lab/Lab.csproj", Artifact("lab"))));

Task("Demo")
    .Description("Run one job from end to end on a virtual machine; --aws-proxy=COMMAND puts a checking proxy before AWS")
    .IsDependentOn("Image")
    .IsDependentOn("Controller")
    .IsDependentOn("Lab")
    .Does(() =>
    {
        CleanDirectory(Artifact("demo"));
        var (program, arguments) = InNamespaces(["dotnet", Artifact("lab", "mayfly-lab.dll"), "demo",
            $"--image={Artifact("image")}", $"--controller={Artifact("controller", "mayfly-controller")}", $"--out={Artifact("demo")}", .. awsProxy.Length > 0 ? new[] { $"--aws-proxy={awsProxy}" } : []]);
        Run("demo", program, arguments, show: true);
    });

Task("Audit")
    .Description("Boot the image and ask the running machine each line of its hardening")
    .IsDependentOn("Image")
    .IsDependentOn("Controller")
    .Does(() =>
    {
        var report = Artifact("audit", "report.txt");
        EnsureDirectoryExists(Artifact("audit")); // made by the test, it would be root's, and the next report could not be deleted
        DeleteFiles(report);
        Run("build-audit", "dotnet", ["build", "tests/Machine.Tests", "-c", "Release", "-nologo", "-v:quiet", "-nodeReuse:false"]);
        var (program, arguments) = InNamespaces(["dotnet", "test", "tests/Machine.Tests", "-c", "Release", "--no-build", "--nologo", "--filter", "FullyQualifiedName~AuditTests"]);
        try
        {
            Run("audit", program, arguments);
        }
        finally
        {
            if (System.IO.File.Exists(report))
                Say(System.IO.File.ReadAllText(report));
        }
    });

// Virtual machines that boot take one processor each, so half of their tests run beside the other half. A new class is in the second half.
var firstHalf = new[] { "DockerTests", "SandboxTests", "JobTests", "AuditTests" }.Select(c => $"FullyQualifiedName{{0}}~Mayfly.Machine.Tests.{c}").ToList();
var halves = new[] { string.Join("|", firstHalf.Select(f => string.Format(f, ""))), string.Join("&", firstHalf.Select(f => string.Format(f, "!"))) };

Task("Test")
    .Description("Build everything and pass all tests, those in virtual machines included")
    .IsDependentOn("Image")
    .IsDependentOn("DockerImage")
    .IsDependentOn("Controller")
    .IsDependentOn("Container")
    .IsDependentOn("Lab")
    .Does(() =>
    {
        CleanDirectory(Artifact("test-results"));
        foreach (var project in new[] { "Agent.Tests", "Controller.Tests", "Lab.Tests", "Image.Tests", "Light.Tests", "Machine.Tests" })
        {
            Say($"{project} ...");
            string broken = null;
            try
            {
                Run($"build-{project}", "dotnet", ["build", $"tests/{project}", "-c", "Release", "-nologo", "-v:quiet", "-nodeReuse:false"]);
            }
            catch (CakeException e)
            {
                broken = e.Message;
            }

            if (broken != null || project != "Machine.Tests")
                RunTests(project, project, "", broken);
            else
                System.Threading.Tasks.Parallel.For(0, halves.Length, half => RunTests($"{project}-{half + 1}", project, halves[half], null));
        }

        ran = true;
    });

// Runs a project's tests, or those that the filter lets through, and counts them. Nothing that goes wrong leaves here.
void RunTests(string name, string project, string filter, string broken)
{
    var clock = Stopwatch.StartNew();
    var results = Artifact("test-results");
    if (broken == null)
    {
        string[] test = ["timeout", "--kill-after=30", "1200", "dotnet", "test", $"tests/{project}", "-c", "Release", "--no-build", "--nologo", .. filter.Length > 0 ? new[] { "--filter", filter } : [], "--logger", $"trx;LogFileName={name}.trx", "--results-directory", results];
        var (program, arguments) = project switch
        {
            "Light.Tests" or "Machine.Tests" => InNamespaces(test),
            "Image.Tests" => AsRoot(test[0], test.Skip(1)),
            _ => (test[0], test.Skip(1)),
        };
        try
        {
            Run($"test-{name}", program, arguments);
        }
        catch (CakeException e)
        {
            broken = e.Message;
        }
    }

    XNamespace trx = "http://microsoft.com/schemas/VisualStudio/TeamTest/2010";
    var file = System.IO.Path.Combine(results, name + ".trx");
    var outcomes = !System.IO.File.Exists(file) ? [] : XDocument.Load(file).Descendants(trx + "UnitTestResult")
        .Select(r => (Name: (string)r.Attribute("testName"), Outcome: (string)r.Attribute("outcome"), Message: r.Descendants(trx + "Message").FirstOrDefault()?.Value ?? r.Descendants(trx + "StdOut").FirstOrDefault()?.Value ?? ""))
        .ToList();
    var bad = outcomes.Count(o => o.Outcome is not ("Passed" or "NotExecuted"));
    lock (notable)
    {
        foreach (var (test, outcome, why) in outcomes.Where(o => o.Outcome != "Passed"))
            notable.Add($"{(outcome == "NotExecuted" ? "SKIPPED" : "FAILED")} {test}: {why.Trim()}");
        // What did not build, did not end or found nothing to run is a failure of its own.
        if (bad == 0 && (broken != null || outcomes.Count == 0))
        {
            bad = 1;
            notable.Add($"FAILED {name}: {broken ?? "no test ran"}");
        }

        passed += outcomes.Count(o => o.Outcome == "Passed");
        failed += bad;
        skipped += outcomes.Count(o => o.Outcome == "NotExecuted");
    }

    Say($"{name}: {clock.Elapsed.TotalSeconds:F0} s, {outcomes.Count} tests, {bad} failed");
}
