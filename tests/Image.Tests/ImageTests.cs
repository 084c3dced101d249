using Mayfly.Machine.Tests;
using Xunit;

namespace Mayfly.Image.Tests;

public sealed class ImageTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("mayfly-image-").FullName;

    /// <summary>Everything is made anew, the Debian tree included: from a checkout with other modes, in another folder, on
    /// another file system, in another time zone, at another time, and by Packer.</summary>
    [Fact]
    public async Task Two_builds_of_the_same_inputs_are_the_same_to_the_bit()
    {
        _ = Built.Image;
        var first = Built.Path("artifacts/image");
        var checkout = Path.Combine(_folder, "checkout");
        await Builder.RunAsync("cp", ["-r", Built.Path("packer"), checkout]);
        await Builder.RunAsync("chmod", ["-R", "go=", checkout]);
        var memory = MemoryFolder();
        try
        {
            var second = await Builder.BuildByPackerAsync(checkout, memory, ("TZ", "Pacific/Kiritimati"));
            // A mirror that has moved on since the first build is another input, and so is another runner: then both are built now.
            if (Inputs(first) != Inputs(second))
                first = await Builder.BuildAsync(Built.Path("packer"), Path.Combine(_folder, "first"));

            Assert.Equal(Inputs(first), Inputs(second));
            foreach (var file in (string[])["vmlinuz", "initrd", "cmdline", "root.part", "mayfly.efi", "disk.raw", "manifest.json", "bom.json"])
                Assert.True(Builder.Digest(Path.Combine(first, file)) == Builder.Digest(Path.Combine(second, file)), $"{file} differs between two builds");
        }
        finally
        {
            Directory.Delete(memory, recursive: true);
        }
    }

    [Fact]
    public async Task The_image_says_what_is_in_it()
    {
        _ = Built.Image;
        var image = Built.Path("artifacts/image");
        var manifest = Builder.Manifest(image);
        var sha256 = manifest.GetProperty("sha256");

        Assert.Equal(Builder.Digest(Path.Combine(image, "disk.raw")), sha256.GetProperty("disk").GetString());
        Assert.Equal(Builder.Digest(Path.Combine(image, "root.part")), sha256.GetProperty("root").GetString());
        Assert.Equal(Builder.Digest(Built.Path("artifacts/agent/mayfly-agent")), sha256.GetProperty("agent").GetString());
        var commandLine = await File.ReadAllTextAsync(Path.Combine(image, "cmdline"), TestContext.Current.CancellationToken);
        Assert.Contains($"mayfly.roothash={manifest.GetProperty("rootHash").GetString()} ", commandLine, StringComparison.Ordinal);
        Assert.Matches(@"^\d+(\.\d+)+$", manifest.GetProperty("runner").GetProperty("version").GetString());
        Assert.Contains(manifest.GetProperty("packages").EnumerateArray(), p => p.GetProperty("name").GetString() == "systemd");
        Assert.All(manifest.GetProperty("packages").EnumerateArray(), p => Assert.Matches("^[0-9a-f]{64}$", p.GetProperty("sha256").GetString()));
        Assert.Contains("bookworm", manifest.GetProperty("suites").EnumerateArray().Select(s => s.GetProperty("name").GetString()));
        Assert.All(manifest.GetProperty("suites").EnumerateArray(), s => Assert.Matches(@"^[0-9a-f]{64} \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$", $"{s.GetProperty("packages")} {s.GetProperty("date")}"));
    }

    /// <summary>With the stand-in: the official runner's size is GitHub's to choose.</summary>
    [Fact]
    public void The_image_stays_small()
    {
        _ = Built.Image;
        var bytes = Builder.Manifest(Built.Path("artifacts/image")).GetProperty("bytes");

        Assert.InRange(bytes.GetProperty("disk").GetInt64(), 1, 220_000_000);
        Assert.InRange(bytes.GetProperty("root").GetInt64(), 1, 150_000_000);
    }

    [Theory]
    [InlineData("libicuuc.so", "the runner's texts")]
    [InlineData("libssl.so", "the runner's connections")]
    [InlineData("libgssapi_krb5.so", "the runner's proxies")]
    [InlineData("libz.so", "the runner's archives")]
    [InlineData("libstdc++.so", "the runner itself")]
    public async Task What_the_official_runner_loads_is_there(string library, string what)
    {
        var listing = await ListingAsync();

        Assert.True(listing.Any(l => l.Contains("-linux-gnu/" + library, StringComparison.Ordinal)), $"{library} is missing, and with it {what}");
    }

    [Fact]
    public async Task What_nearly_every_job_calls_is_there()
    {
        var listing = await ListingAsync();

        foreach (var program in (string[])["git", "git-lfs", "curl", "jq", "tar", "gzip", "perl", "openssl", "sudo", "bash"])
            Assert.Contains($"squashfs-root/usr/bin/{program}", listing);
        Assert.Contains("squashfs-root/etc/ssl/certs/ca-certificates.crt", listing);
    }

    [Fact]
    public async Task Nothing_in_the_image_names_the_machine_that_built_it()
    {
        var tree = await ExtractAsync();
        // Public names of Debian's own stand in its packages; a mirror at home does not.
        var sites = await Builder.RunAsync("apt-get", ["indextargets", "--format", "$(SITE)", "Created-By: Packages"]);
        string[] names =
        [
            Built.Path("packer/"), Built.Path("agent/"), Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".nuget"),
            (await File.ReadAllTextAsync("/etc/machine-id", TestContext.Current.CancellationToken)).Trim(),
            .. sites.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(s => new Uri(s).Host).Where(h => !h.EndsWith(".debian.org", StringComparison.Ordinal)).Distinct(),
        ];

        foreach (var file in Directory.EnumerateFiles(tree, "*", new EnumerationOptions { RecurseSubdirectories = true, AttributesToSkip = FileAttributes.ReparsePoint }))
        {
            var content = await File.ReadAllBytesAsync(file, TestContext.Current.CancellationToken);
            foreach (var name in names.Where(n => n.Length > 0))
                Assert.True(content.AsSpan().IndexOf(System.Text.Encoding.UTF8.GetBytes(name)) < 0, $"{file[tree.Length..]} holds '{name}'");
        }
    }

    [Fact]
    public async Task Only_root_could_write_to_the_programs_and_settings_even_if_the_root_were_writable()
    {
        var tree = await ExtractAsync();

        var others = await Builder.RunAsync("find", [$"{tree}/etc", $"{tree}/usr", $"{tree}/opt", "!", "-type", "l", "(", "-perm", "/022", "-o", "!", "-user", "0", ")", "!", "-path", "*/usr/local*"]);

        Assert.Equal("", others);
        Assert.False(Directory.Exists($"{tree}/opt/actions-runner/_diag"), "a log folder of root's would break the runner");
        Assert.Equal("", await File.ReadAllTextAsync($"{tree}/etc/machine-id", TestContext.Current.CancellationToken));
    }

    /// <summary>Tenths of <c>systemd-analyze security</c>'s exposure, which grows with what a unit may do. Decision 23 says why the agent's is high.</summary>
    [Theory]
    [InlineData("artifacts/image")]
    [InlineData("artifacts/image-docker")]
    public async Task No_unit_that_runs_may_do_more_than_it_does_now(string image)
    {
        var limits = new Dictionary<string, int> { ["mayfly-agent.service"] = 85, ["systemd-networkd.service"] = 28, ["systemd-journald.service"] = 43, ["systemd-udevd.service"] = 71 };
        _ = (Built.Image, Built.DockerImage);
        var tree = Path.Combine(_folder, "units");
        await Builder.RunAsync("unsquashfs", ["-no-progress", "-dest", tree, Built.Path(image + "/root.part"), "etc/systemd", "usr/lib/systemd"]);

        var running = RunningServices(tree);

        Assert.Equal(limits.Keys.Order(StringComparer.Ordinal), running); // what a package brings runs with no limit, or is masked
        foreach (var unit in running)
            await Builder.RunAsync("systemd-analyze", ["security", "--offline=true", $"--root={tree}", $"--threshold={limits[unit]}", "--no-pager", unit]);
    }

    [Fact]
    public async Task Packer_takes_the_template_for_both_of_its_sources()
    {
        _ = Built.Image;
        var template = Path.Combine(_folder, "template");
        await Builder.RunAsync("cp", ["-r", Built.Path("packer"), template]);
        await Builder.FitTemplateAsync(template);

        await Builder.RunAsync("packer", ["validate", $"-var=image={Built.Path("artifacts/image")}", template]);
        var (code, output, _) = await Builder.StartAsync("packer", ["validate", $"-var=image={_folder}", template], []);
        Assert.NotEqual(0, code);
        Assert.Contains("disk.raw: no such file", output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_runner_that_is_no_official_layout_is_refused_with_what_is_wanted()
    {
        var (code, output) = await Builder.TryBuildAsync(Built.Path("packer"), Path.Combine(_folder, "none"), $"--runner={_folder}");

        Assert.Equal(64, code);
        Assert.Contains("has no bin/Runner.Listener and externals/", output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_mirror_whose_security_updates_cannot_be_found_is_refused()
    {
        var (code, output) = await Builder.TryBuildAsync(Built.Path("packer"), Path.Combine(_folder, "mirror"), $"--runner={Built.Path("artifacts/runner")}", "--mirror=http://127.0.0.1:9/mine");

        Assert.Equal(1, code);
        Assert.Contains("where are the security updates of http://127.0.0.1:9/mine?", output, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("--toolset=everything", "'everything' is no list in packer/packages; there are build docker minimal")]
    [InlineData("--suite=trixie", "--suite='trixie': an image is made of Debian bookworm alone")]
    [InlineData("--kernel=bash", "--kernel='bash': a Debian package linux-image-")]
    [InlineData("--extra-packages=vim;rm", "names of Debian packages with commas between")]
    [InlineData("--files=/nowhere", "'/nowhere', given by --files or --hooks, is no folder")]
    [InlineData("--hooks=/usr", "has neither job-started.d nor job-completed.d")]
    [InlineData("--sweet=bookworm", "unknown argument '--sweet=bookworm'")]
    public async Task A_variable_that_cannot_be_right_is_refused_before_anything_is_built(string argument, string refusal)
    {
        var (code, output) = await Builder.TryBuildAsync(Built.Path("packer"), Path.Combine(_folder, "refused"), $"--runner={Built.Path("artifacts/runner")}", argument);

        Assert.Equal(64, code);
        Assert.Contains(refusal, output, StringComparison.Ordinal);
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    /// <summary>What two builds must share before they can be compared.</summary>
    private static string Inputs(string image)
    {
        var manifest = Builder.Manifest(image);
        return manifest.GetProperty("packages").GetRawText() + manifest.GetProperty("suites").GetRawText() + manifest.GetProperty("runner").GetRawText();
    }

    /// <summary>Services that something starts, by its folder or as what a socket, timer or path is for, and that go on running.</summary>
    private static List<string> RunningServices(string tree)
    {
        string[] folders = [$"{tree}/etc/systemd/system", $"{tree}/usr/lib/systemd/system"];
        // Of /etc first; null for one that is masked or not there.
        string[]? Lines(string unit) => folders.Select(f => new FileInfo(Path.Combine(f, unit))).Where(f => f.Exists || f.LinkTarget is not null).Select(f => f.LinkTarget == "/dev/null" || !f.Exists ? null : File.ReadAllLines(f.FullName)).FirstOrDefault();
        string ServiceOf(string unit) => unit.EndsWith(".service", StringComparison.Ordinal) ? unit
            : (Lines(unit) ?? []).Select(l => l.Split('=', 2)).FirstOrDefault(l => l[0] is "Service" or "Unit")?[1] ?? Path.ChangeExtension(unit, ".service");

        return folders.SelectMany(f => Directory.EnumerateDirectories(f)).Where(d => d.EndsWith(".wants", StringComparison.Ordinal) || d.EndsWith(".requires", StringComparison.Ordinal))
            .SelectMany(Directory.EnumerateFileSystemEntries).Select(e => Path.GetFileName(e)).Where(u => Lines(u) is not null)
            .Select(ServiceOf).Where(s => Lines(s) is { } lines && !lines.Contains("Type=oneshot")).Distinct().Order(StringComparer.Ordinal).ToList();
    }

    private static async Task<string[]> ListingAsync()
    {
        _ = Built.Image;
        return (await Builder.RunAsync("unsquashfs", ["-ls", Built.Path("artifacts/image/root.part")])).Split('\n');
    }

    private static string MemoryFolder()
    {
        var folder = Path.Combine(Directory.Exists("/dev/shm") && new DriveInfo("/dev/shm").AvailableFreeSpace > 3L << 30 ? "/dev/shm" : Path.GetTempPath(), $"mayfly-{Guid.NewGuid()}");
        return Directory.CreateDirectory(folder).FullName;
    }

    private async Task<string> ExtractAsync()
    {
        _ = Built.Image;
        var tree = Path.Combine(_folder, "tree");
        await Builder.RunAsync("unsquashfs", ["-no-progress", "-dest", tree, Built.Path("artifacts/image/root.part")]);
        return tree;
    }
}
