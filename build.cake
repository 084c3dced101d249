// Everything that is built, run and tested here. ./build.sh alone lists the targets.
using System.Diagnostics;
using System.Security.Cryptography;
using System.Threading;
using System.Xml.Linq;

var target = Argument("target", "Default");
var runnerArgument = Argument("runner", "");
var awsProxy = Argument("aws-proxy", "");
var runnerSha256 = Argument("runner-sha256", "");
var github = Argument("github", "https://api.github.com");
var mirror = Argument("mirror", "");
var suite = Argument("suite", "bookworm");
var kernel = Argument("kernel", "");
var toolset = Argument("toolset", "minimal");
var extraPackages = Argument("packages", "");
var ownFiles = Argument("files", "");
var ownHooks = Argument("hooks", "");
var only = Argument("only", "");
var signingKey = Argument("signing-key", "");
var signingCertificate = Argument("signing-certificate", "");

var root = System.IO.Path.GetFullPath(".");
var artifacts = System.IO.Path.Combine(root, "artifacts");
var logs = System.IO.Path.Combine(artifacts, "logs");
string Artifact(params string[] path) => System.IO.Path.Combine([artifacts, .. path]);

// Debian packages that the build, the virtual machine and the tests call, by a file that has to be there: what packs the
// image, what boots it, what links natively, and the controller's database.
var tools = new (string Package, string Proof)[]
{
    ("mmdebstrap", "/usr/bin/mmdebstrap"), ("squashfs-tools", "/usr/bin/mksquashfs"), ("cryptsetup-bin", "/usr/sbin/veritysetup"),
    ("kmod", "/usr/sbin/depmod"), ("cpio", "/usr/bin/cpio"), ("zstd", "/usr/bin/zstd"), ("binutils", "/usr/bin/objcopy"),
    ("systemd-boot-efi", "/usr/lib/systemd/boot/efi/linux*.efi.stub"), ("dosfstools", "/usr/sbin/mkfs.vfat"), ("mtools", "/usr/bin/mcopy"), ("gdisk", "/usr/sbin/sgdisk"),
    ("packer", "/usr/bin/packer"), ("osslsigncode", "/usr/bin/osslsigncode"), ("efitools", "/usr/bin/hash-to-efi-sig-list"), ("swtpm", "/usr/bin/swtpm"),
    ("jq", "/usr/bin/jq"), ("openssl", "/usr/bin/openssl"), ("qemu-system-x86", "/usr/bin/qemu-system-x86_64"), ("ovmf", "/usr/share/OVMF/OVMF_CODE_4M.fd"),
    ("iproute2", "/usr/bin/ip"), ("systemd-container", "/usr/bin/systemd-nspawn"), ("clang", "/usr/bin/clang"), ("zlib1g-dev", "/usr/include/zlib.h"), ("libsqlite3-0", "/usr/lib/*-linux-gnu/libsqlite3.so.0"),
};

// Plain lines: Cake's own logging writes colour codes into files too.
void Say(string text) => Console.WriteLine(text);

// Runs a program; its output goes to artifacts/logs/STEP.log and, if asked for, to the screen. A failure prints the log's end.
void Run(string step, string program, IEnumerable<string> arguments, bool show = false, Func<string, bool> showLine = null)
{
    EnsureDirectoryExists(logs);
    var log = System.IO.Path.Combine(logs, step + ".log");
    var start = new ProcessStartInfo(program) { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true, WorkingDirectory = root };
    foreach (var argument in arguments)
        start.ArgumentList.Add(argument);
    using var writer = new StreamWriter(log) { AutoFlush = true };
    void Write(string line)
    {
        if (line == null)
            return;
        lock (writer)
        {
            writer.WriteLine(line);
            if (show || (showLine?.Invoke(line) ?? false))
                Say(line);
        }
    }
    using var process = Process.Start(start);
    process.StandardInput.Close(); // nothing here asks
    process.OutputDataReceived += (_, e) => Write(e.Data);
    process.ErrorDataReceived += (_, e) => Write(e.Data);
    process.BeginOutputReadLine();
    process.BeginErrorReadLine();
    process.WaitForExit();
    if (process.ExitCode == 0)
        return;
    writer.Dispose();
    if (!show)
        foreach (var line in System.IO.File.ReadLines(log).TakeLast(30))
            Say(line);
    throw new CakeException($"{step}: {program} exited with {process.ExitCode}; its whole output is in {System.IO.Path.GetRelativePath(root, log)}");
}

// As root: directly, or with sudo, which would hide a dotnet that the user has installed at home.
(string Program, IEnumerable<string> Arguments) AsRoot(string program, IEnumerable<string> arguments) =>
    Environment.IsPrivilegedProcess ? (program, arguments) : ("sudo",
        ["env", .. new[] { "PATH", "DOTNET_ROOT", "DOTNET_CLI_TELEMETRY_OPTOUT", "DOTNET_NOLOGO", "CI" }
            .Where(n => Environment.GetEnvironmentVariable(n) != null).Select(n => $"{n}={Environment.GetEnvironmentVariable(n)}"), program, .. arguments]);

// As root with a network and processes of its own, for what starts machines: nothing else is reached, and nothing stays behind.
(string Program, IEnumerable<string> Arguments) InNamespaces(IEnumerable<string> command) =>
    AsRoot("unshare", ["--net", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", "ip link set lo up && exec \"$@\"", "sh", .. command]);

// Does a step only if one of its inputs is another than at its last success.
void Once(string step, IEnumerable<string> inputs, string output, Action act)
{
    using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
    foreach (var input in inputs)
    {
        hash.AppendData(System.Text.Encoding.UTF8.GetBytes(input + "\n"));
        var files = System.IO.File.Exists(input) ? new[] { input }
            : System.IO.Directory.Exists(input) ? System.IO.Directory.GetFiles(input, "*", SearchOption.AllDirectories) : Array.Empty<string>();
        // Below a project's folder lies what was built from it; elsewhere, as in a runner's layout, bin/ is an input.
        var built = System.IO.Directory.Exists(input) && System.IO.Directory.GetFiles(input, "*.csproj", SearchOption.AllDirectories).Length > 0;
        foreach (var file in files.Where(System.IO.File.Exists).Where(f => !built || !(f.Contains("/obj/") || f.Contains("/bin/") || f.Contains("/TestResults/"))).OrderBy(f => f, StringComparer.Ordinal))
        {
            hash.AppendData(System.Text.Encoding.UTF8.GetBytes($"{file} {(int)System.IO.File.GetUnixFileMode(file)} "));
            using var content = System.IO.File.OpenRead(file);
            hash.AppendData(SHA256.HashData(content));
        }
    }
    var now = Convert.ToHexString(hash.GetHashAndReset());
    var stamp = Artifact("stamps", step);
    if (System.IO.File.Exists(stamp) && System.IO.File.ReadAllText(stamp) == now && (System.IO.File.Exists(output) || System.IO.Directory.Exists(output)))
    {
        Say($"{step}: nothing has changed");
        return;
    }
    Say($"{step} ...");
    var clock = Stopwatch.StartNew();
    // Should this attempt fail half-way, what it leaves must not pass for the last success.
    EnsureDirectoryExists(Artifact("stamps"));
    System.IO.File.Delete(stamp);
    act();
    System.IO.File.WriteAllText(stamp, now);
    Say($"{step}: {clock.Elapsed.TotalSeconds:F1} s");
}

string[] Sources(params string[] folders) =>
[
    .. folders.Select(f => System.IO.Path.Combine(root, f)), .. new[] { "Directory.Build.props", "Directory.Packages.props", "NativeAOT.props", "BannedSymbols.txt", ".editorconfig", "global.json" }
        .Select(f => System.IO.Path.Combine(root, f)),
];

void PublishNative(string step, string project, string output)
{
    CleanDirectory(output);
    Run(step, "dotnet", ["msbuild", project, "-t:PublishNative", $"-p:NativeOutput={output}", "-v:minimal", "-nologo", "-nodeReuse:false"], showLine: line => line.Contains("native link"));
    DeleteFiles(output + "/*.pdb");
    DeleteFiles(output + "/*.dbg");
}

void Publish(string step, string project, string output)
{
    CleanDirectory(output);
    Run(step, "dotnet", ["publish", project, "-c", "Release", "-o", output, "-v:quiet", "-nologo", "-nodeReuse:false"]);
}

// The commit that lies here, marked if files differ from it; empty outside a git repository.
string Source()
{
    string Git(params string[] arguments)
    {
        var start = new ProcessStartInfo("git") { RedirectStandardOutput = true, RedirectStandardError = true, WorkingDirectory = root };
        foreach (var argument in arguments)
            start.ArgumentList.Add(argument);
        using var git = Process.Start(start);
        var output = git.StandardOutput.ReadToEnd().Trim();
        git.WaitForExit();
        return git.ExitCode == 0 ? output : "";
    }
    var commit = Git("rev-parse", "HEAD");
    return commit.Length == 0 || Git("status", "--porcelain").Length == 0 ? commit : commit + "+modified";
}

Task("Default")
    .Description("List the targets")
    .Does(() =>
    {
        foreach (var task in Tasks)
            Console.WriteLine($"  ./build.sh --target={task.Name,-11} {task.Description}");
    });

Task("Tools")
    .Description("Install the Debian packages that are missing")
    .Does(() =>
    {
        var missing = tools.Where(t => !GetFiles(t.Proof).Any()).Select(t => t.Package).ToArray();
        if (missing.Length == 0)
            return;
        if (!System.IO.File.Exists("/usr/bin/apt-get"))
            throw new CakeException($"not a Debian machine: install the programs of these packages by hand: {string.Join(", ", missing)}");
        Say($"installing {string.Join(", ", missing)}");
        var (program, update) = AsRoot("apt-get", ["update", "-qq"]);
        Run("apt-update", program, update);
        var (asRoot, install) = AsRoot("env", ["DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "-qq", "--no-install-recommends", .. missing]);
        Run("apt-install", asRoot, install);
    });

Task("Agent")
    .Description("Link the agent natively")
    .IsDependentOn("Tools")
    .Does(() => Once("agent", Sources("agent"), Artifact("agent", "mayfly-agent"), () => PublishNative("agent", "agent/Agent.csproj", Artifact("agent"))));

Task("Runner")
    .Description("Link the stand-in for the official runner, laid out like it")
    .IsDependentOn("Tools")
    .Does(() => Once("runner", Sources("tests/Runner"), Artifact("runner", "bin", "Runner.Listener"), () =>
    {
        PublishNative("runner", "tests/Runner/Runner.csproj", Artifact("runner", "bin"));
        EnsureDirectoryExists(Artifact("runner", "externals"));
        System.IO.File.WriteAllText(Artifact("runner", "externals", "README"), "The official runner keeps its copies of Node.js here; the stand-in needs none.\n");
    }));

Task("Controller")
    .Description("Publish the controller")
    .Does(() => Once("controller", Sources("controller", "agent/Contract", "agent/Aws"), Artifact("controller", "mayfly-controller"), () => Publish("controller", "controller/Controller.csproj", Artifact("controller"))));

Task("Lab")
    .Description("Publish the lab: GitHub and AWS on this machine")
    .Does(() => Once("lab", Sources("tests/Lab", "agent/Contract", "controller/deploy"), Artifact("lab", "mayfly-lab.dll"), () => Publish("lab", "tests/Lab/Lab.csproj", Artifact("lab"))));

Task("Image")
    .Description("Build the image; --runner=release[:VERSION]|FOLDER|FILE --runner-sha256=DIGEST --toolset=NAME --packages=A,B --files=FOLDER --hooks=FOLDER --suite= --mirror= --kernel= --signing-key=FILE --signing-certificate=FILE; see docs/image.md")
    .IsDependentOn("Agent")
    .IsDependentOn("Runner")
    .Does(() =>
    {
        var released = runnerArgument == "release" || runnerArgument.StartsWith("release:");
        var runner = runnerArgument.Length == 0 ? Artifact("runner") : released ? runnerArgument : System.IO.Path.GetFullPath(runnerArgument);
        var kind = runnerArgument.Length > 0 ? "official" : "stand-in";
        string Folder(string given) => given.Length > 0 ? System.IO.Path.GetFullPath(given) : "";
        var (files, hooks) = (Folder(ownFiles), Folder(ownHooks));
        // Of a runner's folder only what goes in: one that has run there has logs and work beside it. What the newest release is
        // is asked once a day.
        string[] layout = System.IO.Directory.Exists(runner) ? [System.IO.Path.Combine(runner, "bin"), System.IO.Path.Combine(runner, "externals")] : [runner];
        string[] variables = [kind, runnerSha256, mirror, suite, kernel, toolset, extraPackages, files, hooks, signingKey, signingCertificate, kind == "official" ? github + DateTime.UtcNow.ToString("yyyy-MM-dd") : ""];
        Once("image", [System.IO.Path.Combine(root, "packer"), Artifact("agent"), .. layout, .. variables], Artifact("image", "manifest.json"), () =>
        {
            var (program, arguments) = AsRoot(System.IO.Path.Combine(root, "packer", "build.sh"),
                [$"--agent={Artifact("agent", "mayfly-agent")}", $"--runner={runner}", $"--runner-sha256={runnerSha256}", $"--runner-kind={kind}", $"--github={github}", $"--out={Artifact("image")}", $"--cache={Artifact("cache")}",
                    $"--suite={suite}", $"--mirror={mirror}", $"--kernel={kernel}", $"--toolset={toolset}", $"--extra-packages={extraPackages}", $"--files={files}", $"--hooks={hooks}",
                    $"--signing-key={signingKey}", $"--signing-certificate={signingCertificate}", $"--source={Source()}"]);
            Run("image", program, arguments, showLine: line => line.StartsWith("image: "));
        });
    });

Task("Verify")
    .Description("Recompute what stands beside an image from its bytes; --image=FOLDER, --certificate=FILE for a signed one")
    .IsDependentOn("Tools")
    .Does(() =>
    {
        var folder = System.IO.Path.GetFullPath(Argument("image", Artifact("image")));
        if (!System.IO.File.Exists(System.IO.Path.Combine(folder, "manifest.json")))
            throw new CakeException($"'{folder}' has no manifest.json: give the folder of an image with --image=FOLDER, or build one with --target=Image");
        Run("verify", System.IO.Path.Combine(root, "packer", "verify.sh"), [folder, .. Argument("certificate", "") is { Length: > 0 } c ? new[] { c } : []], show: true);
    });

Task("Ami")
    .Description("Write the built image to an AMI with Packer; --region=REGION, --ami-vars=FILE for the variables of packer/mayfly.pkr.hcl")
    .IsDependentOn("Image")
    .IsDependentOn("Verify")
    .Does(() =>
    {
        if (runnerArgument.Length == 0)
            throw new CakeException("an AMI with the stand-in runs no job of GitHub's: give the official runner with --runner=FOLDER|TARBALL");
        var region = Argument("region", "");
        if (region.Length == 0)
            throw new CakeException("which region? give --region=REGION");
        using var manifest = System.Text.Json.JsonDocument.Parse(System.IO.File.ReadAllBytes(Artifact("image", "manifest.json")));
        string Of(params string[] path) => path.Aggregate(manifest.RootElement, (at, name) => at.GetProperty(name)).ToString();
        var variables = Artifact("image", "ami.pkrvars.json");
        System.IO.File.WriteAllText(variables, System.Text.Json.JsonSerializer.Serialize(new
        {
            image = Artifact("image"),
            region,
            manifest = new { rootHash = Of("rootHash"), kernel = Of("kernel"), disk = Of("sha256", "disk"), agent = Of("agent", "version"), runner = Of("runner", "version"), signed = bool.Parse(Of("secureBoot", "signed")) },
        }));
        // A Packer that does not know "init" is older than the template's newer attributes.
        Run("packer-init", "packer", ["init", "packer/plugins"]);
        Run("ami", "packer", ["build", "-only=amazon-ebssurrogate.ami", $"-var-file={variables}", .. Argument("ami-vars", "") is { Length: > 0 } file ? new[] { $"-var-file={file}" } : [], "packer"], show: true);
    });

Task("Audit")
    .Description("Boot the image and ask the running machine each line of its hardening")
    .IsDependentOn("Image")
    .IsDependentOn("Controller")
    .Does(() =>
    {
        var report = Artifact("audit", "report.txt");
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

Task("Baseline")
    .Description("Build the machine that the image is measured against: Debian with GRUB, ext4 and cloud-init")
    .IsDependentOn("Runner")
    .Does(() => Once("baseline", [System.IO.Path.Combine(root, "tests/Bench/baseline"), System.IO.Path.Combine(root, "packer/packages/minimal.list"), Artifact("runner"), mirror], Artifact("baseline", "disk.raw"), () =>
    {
        var (program, arguments) = AsRoot(System.IO.Path.Combine(root, "tests/Bench/baseline/build.sh"),
            [$"--packages={System.IO.Path.Combine(root, "packer/packages/minimal.list")}", $"--runner={Artifact("runner")}", $"--out={Artifact("baseline")}", $"--mirror={mirror}"]);
        Run("baseline", program, arguments, showLine: line => line.StartsWith("baseline: "));
    }));

void PublishBench() => Once("bench", Sources("tests/Bench", "tests/Lab", "agent/Contract", "agent/Aws", "controller/deploy"), Artifact("bench-program", "mayfly-bench.dll"), () => Publish("bench", "tests/Bench/Bench.csproj", Artifact("bench-program")));

Task("BootOrder")
    .Description("Boot the image once and write packer/boot-order: which files lie first on the disk")
    .IsDependentOn("Image")
    .Does(() =>
    {
        PublishBench();
        var (program, arguments) = InNamespaces(["dotnet", Artifact("bench-program", "mayfly-bench.dll"),
            $"--image={Artifact("image")}", $"--boot-order={System.IO.Path.Combine(root, "packer", "boot-order")}", $"--out={Artifact("bench")}"]);
        Run("boot-order", program, arguments, show: true);
    });

Task("Bench")
    .Description("Measure the figures of docs/specification.md into artifacts/bench/results.json; --only=BEGINNING takes some by name")
    .IsDependentOn("Image")
    .IsDependentOn("Baseline")
    .IsDependentOn("Controller")
    .Does(() =>
    {
        PublishBench();
        CleanDirectory(Artifact("bench"));
        var (program, arguments) = InNamespaces(["dotnet", Artifact("bench-program", "mayfly-bench.dll"),
            $"--agent={Artifact("agent", "mayfly-agent")}", $"--image={Artifact("image")}", $"--controller={Artifact("controller", "mayfly-controller")}", $"--baseline={Artifact("baseline", "disk.raw")}", $"--out={Artifact("bench")}", $"--only={only}"]);
        Run("bench-run", program, arguments, show: true);
    });

Task("Test")
    .Description("Build everything and pass all tests, those in virtual machines included")
    .IsDependentOn("Image")
    .IsDependentOn("Controller")
    .IsDependentOn("Lab")
    .Does(() =>
    {
        var results = Artifact("test-results");
        CleanDirectory(results);
        XNamespace trx = "http://microsoft.com/schemas/VisualStudio/TeamTest/2010";
        foreach (var project in new[] { "Agent.Tests", "Controller.Tests", "Lab.Tests", "Image.Tests", "Light.Tests", "Machine.Tests" })
        {
            Say($"{project} ...");
            var clock = Stopwatch.StartNew();
            string broken = null;
            try
            {
                Run($"build-{project}", "dotnet", ["build", $"tests/{project}", "-c", "Release", "-nologo", "-v:quiet", "-nodeReuse:false"]);
                string[] test = ["timeout", "--kill-after=30", "1200", "dotnet", "test", $"tests/{project}", "-c", "Release", "--no-build", "--nologo", "--logger", $"trx;LogFileName={project}.trx", "--results-directory", results];
                var (program, arguments) = project switch
                {
                    "Light.Tests" or "Machine.Tests" => InNamespaces(test),
                    "Image.Tests" => AsRoot(test[0], test.Skip(1)),
                    _ => (test[0], test.Skip(1)),
                };
                Run($"test-{project}", program, arguments);
            }
            catch (CakeException e)
            {
                broken = e.Message;
            }

            var file = System.IO.Path.Combine(results, project + ".trx");
            var outcomes = !System.IO.File.Exists(file) ? [] : XDocument.Load(file).Descendants(trx + "UnitTestResult")
                .Select(r => (Name: (string)r.Attribute("testName"), Outcome: (string)r.Attribute("outcome"), Message: r.Descendants(trx + "Message").FirstOrDefault()?.Value ?? r.Descendants(trx + "StdOut").FirstOrDefault()?.Value ?? ""))
                .ToList();
            foreach (var (name, outcome, why) in outcomes.Where(o => o.Outcome != "Passed"))
                notable.Add($"{(outcome == "NotExecuted" ? "SKIPPED" : "FAILED")} {name}: {why.Trim()}");
            var bad = outcomes.Count(o => o.Outcome is not ("Passed" or "NotExecuted"));
            // A project that did not build, did not end or found nothing to run is a failure of its own.
            if (bad == 0 && (broken != null || outcomes.Count == 0))
            {
                bad = 1;
                notable.Add($"FAILED {project}: {broken ?? "no test ran"}");
            }

            passed += outcomes.Count(o => o.Outcome == "Passed");
            failed += bad;
            skipped += outcomes.Count(o => o.Outcome == "NotExecuted");
            Say($"{project}: {clock.Elapsed.TotalSeconds:F0} s, {outcomes.Count} tests, {bad} failed");
        }

        ran = true;
    });

Task("Clean")
    .Description("Delete everything that was built")
    .Does(() =>
    {
        // The image's builder is root, and so is what it leaves.
        EnsureDirectoryExists(logs);
        var projects = System.IO.Directory.GetFiles(root, "*.csproj", SearchOption.AllDirectories).Where(p => !p.StartsWith(artifacts)).Select(System.IO.Path.GetDirectoryName);
        var (program, arguments) = AsRoot("rm", ["-rf", .. projects.SelectMany(p => new[] { p + "/bin", p + "/obj" }), .. System.IO.Directory.GetDirectories(artifacts).Where(a => a != logs)]);
        Run("clean", program, arguments);
        System.IO.Directory.Delete(artifacts, recursive: true);
    });

int passed = 0, failed = 0, skipped = 0;
var ran = false;
var notable = new List<string>();

if (target != "Test")
{
    RunTarget(target);
    return;
}

// However the tests end, what was not passed is said, and the counts are the very last line: no exception leaves here, for
// Cake would print it behind them.
try
{
    RunTarget(target);
}
catch (Exception e)
{
    notable.Add($"FAILED before the tests: {(e is AggregateException { InnerExceptions: [var only] } ? only : e).Message}");
}

foreach (var line in notable)
    Say(line);
if (!ran)
    failed++;
Say($"{passed} passed, {failed} failed, {skipped} skipped");
Environment.Exit(failed > 0 || passed == 0 ? 1 : 0);
