// Everything that is built, run and tested here. ./build.sh alone lists the targets. The image is in packer/image.cake, the
// tests and the demo in tests/tests.cake, the measurements in tests/bench.cake, the controller's container in controller/container.cake.
using System.Diagnostics;
using System.Threading;
using System.Xml.Linq;

var target = Argument("target", "Default");

var root = System.IO.Path.GetFullPath(".");
var artifacts = System.IO.Path.Combine(root, "artifacts");
var logs = System.IO.Path.Combine(artifacts, "logs");
string Artifact(params string[] path) => System.IO.Path.Combine([artifacts, .. path]);

// Debian packages that the build, the virtual machine and the tests call, by a file that has to be there: what packs the
// image, what boots it, what links natively, and the controller's two databases.
var tools = new (string Package, string Proof)[]
{
    ("mmdebstrap", "/usr/bin/mmdebstrap"), ("squashfs-tools", "/usr/bin/mksquashfs"), ("cryptsetup-bin", "/usr/sbin/veritysetup"),
    ("kmod", "/usr/sbin/depmod"), ("cpio", "/usr/bin/cpio"), ("zstd", "/usr/bin/zstd"), ("binutils", "/usr/bin/objcopy"),
    ("systemd-boot-efi", "/usr/lib/systemd/boot/efi/linux*.efi.stub"), ("dosfstools", "/usr/sbin/mkfs.vfat"), ("mtools", "/usr/bin/mcopy"), ("gdisk", "/usr/sbin/sgdisk"),
    ("packer", "/usr/bin/packer"), ("osslsigncode", "/usr/bin/osslsigncode"), ("efitools", "/usr/bin/hash-to-efi-sig-list"), ("swtpm", "/usr/bin/swtpm"),
    ("jq", "/usr/bin/jq"), ("gpg", "/usr/bin/gpg"), ("gpg-agent", "/usr/bin/gpg-agent"), ("openssl", "/usr/bin/openssl"), ("qemu-system-x86", "/usr/bin/qemu-system-x86_64"), ("ovmf", "/usr/share/OVMF/OVMF_CODE_4M.fd"),
    ("iproute2", "/usr/bin/ip"), ("systemd-container", "/usr/bin/systemd-nspawn"), ("clang", "/usr/bin/clang"), ("zlib1g-dev", "/usr/include/zlib.h"), ("libsqlite3-0", "/usr/lib/*-linux-gnu/libsqlite3.so.0"),
    ("postgresql", "/usr/lib/postgresql/*/bin/initdb"), ("wrk", "/usr/bin/wrk"), ("buildah", "/usr/bin/buildah"), ("podman", "/usr/bin/podman"),
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
    var now = DigestOf(inputs);
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

Task("Controller")
    .Description("Publish the controller")
    .Does(() => Once("controller", Sources("controller", "agent/Contract", "agent/Aws"), Artifact("controller", "mayfly-controller"), () => Publish("controller", "controller/Controller.csproj", Artifact("controller"))));

#load "packer/inputs.cake"
#load "controller/container.cake"
#load "packer/image.cake"
#load "tests/tests.cake"
#load "tests/bench.cake"

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
