// The image: built, verified, written to an AMI.
var runnerArgument = Argument("runner", "");
var runnerSha256 = Argument("runner-sha256", "");
var github = Argument("github", "https://api.github.com");
var mirror = Argument("mirror", "");
var suite = Argument("suite", "bookworm");
var kernel = Argument("kernel", "");
var toolset = Argument("toolset", "minimal");
var extraPackages = Argument("packages", "");
var ownFiles = Argument("files", "");
var ownHooks = Argument("hooks", "");
var signingKey = Argument("signing-key", "");
var signingCertificate = Argument("signing-certificate", "");

// What Debian's archive offers at the moment: a changed one is another input. Without an answer the last one counts, and a line says so.
var offered = new Lazy<string[]>(() =>
{
    var (program, arguments) = AsRoot(System.IO.Path.Combine(root, "packer", "scripts", "archive.sh"), [Artifact("cache", "apt"), suite, mirror]);
    Run("archive", program, arguments, showLine: line => line.StartsWith("image: "));
    // Without the date of its signature: suite and packages.
    return [.. System.IO.File.ReadLines(System.IO.Path.Combine(logs, "archive.log")).Where(line => line.Contains('\t')).Select(line => line[..line.LastIndexOf('\t')])];
});

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
        string[] variables = [kind, runnerSha256, mirror, suite, kernel, toolset, extraPackages, files, hooks, signingKey, signingCertificate, kind == "official" ? github + DateTime.UtcNow.ToString("yyyy-MM-dd") : "", .. offered.Value];
        Once("image", [System.IO.Path.Combine(root, "packer"), Artifact("agent"), .. layout, .. variables], Artifact("image", "manifest.json"), () =>
        {
            var (program, arguments) = AsRoot(System.IO.Path.Combine(root, "packer", "build.sh"),
                [$"--agent={Artifact("agent", "mayfly-agent")}", $"--runner={runner}", $"--runner-sha256={runnerSha256}", $"--runner-kind={kind}", $"--github={github}", $"--out={Artifact("image")}", $"--cache={Artifact("cache")}",
                    $"--suite={suite}", $"--mirror={mirror}", $"--kernel={kernel}", $"--toolset={toolset}", $"--extra-packages={extraPackages}", $"--files={files}", $"--hooks={hooks}",
                    $"--signing-key={signingKey}", $"--signing-certificate={signingCertificate}", $"--source={Source()}"]);
            Run("image", program, arguments, showLine: line => line.StartsWith("image: "));
        });
    });

Task("DockerImage")
    .Description("Build the image once more with the docker toolset, for its test")
    .IsDependentOn("Image")
    .Does(() => Once("image-docker", [System.IO.Path.Combine(root, "packer"), Artifact("agent"), Artifact("runner", "bin"), Artifact("runner", "externals"), mirror, suite, .. offered.Value], Artifact("image-docker", "manifest.json"), () =>
    {
        var (program, arguments) = AsRoot(System.IO.Path.Combine(root, "packer", "build.sh"),
            ["--toolset=docker", $"--agent={Artifact("agent", "mayfly-agent")}", $"--runner={Artifact("runner")}", "--runner-kind=stand-in", $"--out={Artifact("image-docker")}", $"--cache={Artifact("cache")}", $"--suite={suite}", $"--mirror={mirror}"]);
        Run("image-docker", program, arguments, showLine: line => line.StartsWith("image: "));
    }));

Task("Toolset")
    .Description("Use what the image's toolset brings, as a job's user in a container of its root; --toolset=NAME as for Image")
    .IsDependentOn("Image")
    .Does(() =>
    {
        var (program, arguments) = AsRoot(System.IO.Path.Combine(root, "packer", "try-toolset.sh"), [Artifact("image")]);
        Run("toolset", program, arguments, show: true);
    });

void Verify(string folder)
{
    if (!System.IO.File.Exists(System.IO.Path.Combine(folder, "manifest.json")))
        throw new CakeException($"'{folder}' has no manifest.json: give the folder of an image with --image=FOLDER, or build one with --target=Image");
    Run("verify", System.IO.Path.Combine(root, "packer", "verify.sh"), [folder, .. Argument("certificate", "") is { Length: > 0 } c ? new[] { c } : []], show: true);
}

Task("Verify")
    .Description("Recompute what stands beside an image from its bytes; --image=FOLDER, --certificate=FILE for a signed one")
    .IsDependentOn("Tools")
    .Does(() => Verify(System.IO.Path.GetFullPath(Argument("image", Artifact("image")))));

// What can be refused is, before anything is built.
if (target == "Ami")
{
    // --image is Verify's: what it names would be verified, and another image written.
    if (HasArgument("image"))
        throw new CakeException($"--target=Ami writes what it builds, {Artifact("image")}, and not --image='{Argument("image", "")}': leave that out");
    if (runnerArgument.Length == 0)
        throw new CakeException("an AMI with the stand-in runs no job of GitHub's: give the official runner with --runner=FOLDER|TARBALL");
    if (Argument("region", "").Length == 0)
        throw new CakeException("which region? give --region=REGION");
    var help = "";
    try
    {
        using var packer = Process.Start(new ProcessStartInfo("packer", ["init", "-help"]) { RedirectStandardOutput = true, RedirectStandardError = true });
        var errors = packer.StandardError.ReadToEndAsync();
        help = packer.StandardOutput.ReadToEnd() + errors.Result;
        packer.WaitForExit();
    }
    catch (System.ComponentModel.Win32Exception)
    {
        // there is none
    }
    // Debian's is 1.6.6, which knows neither this command nor the template's newer attributes.
    if (!help.Contains("Usage: packer init"))
        throw new CakeException("an AMI needs a current Packer, 1.7 or later, and the first on PATH is none: install it from https://developer.hashicorp.com/packer/install");
}

Task("Ami")
    .Description("Write the built image to an AMI with Packer; --region=REGION, --ami-vars=FILE for the variables of packer/mayfly.pkr.hcl")
    .IsDependentOn("Image")
    .Does(() =>
    {
        var folder = Artifact("image");
        Verify(folder);
        using var manifest = System.Text.Json.JsonDocument.Parse(System.IO.File.ReadAllBytes(System.IO.Path.Combine(folder, "manifest.json")));
        string Of(params string[] path) => path.Aggregate(manifest.RootElement, (at, name) => at.GetProperty(name)).ToString();
        // "2026-10-14T09:30:00Z"; null where the build could not learn it.
        string Day(string date) => date.Length < 10 ? "" : date[..10];
        // The image's own folder is root's.
        EnsureDirectoryExists(Artifact("ami"));
        var variables = Artifact("ami", "ami.pkrvars.json");
        System.IO.File.WriteAllText(variables, System.Text.Json.JsonSerializer.Serialize(new
        {
            image = folder,
            region = Argument("region", ""),
            manifest = new
            {
                rootHash = Of("rootHash"), kernel = Of("kernel"), disk = Of("sha256", "disk"), agent = Of("agent", "version"), signed = bool.Parse(Of("secureBoot", "signed")),
                runner = Of("runner", "version"), runnerReleased = Day(Of("runner", "released")),
            },
        }));
        Run("packer-init", "packer", ["init", "packer/plugins"]);
        Run("ami", "packer", ["build", "-only=amazon-ebssurrogate.ami", $"-var-file={variables}", .. Argument("ami-vars", "") is { Length: > 0 } file ? new[] { $"-var-file={file}" } : [], "packer"], show: true);
    });
