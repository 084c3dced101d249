using System.Security.Cryptography;
using System.Text.Json;
using Mayfly.Machine.Tests;
using Xunit;

namespace Mayfly.Image.Tests;

/// <summary>An image as somebody makes it their own: signed, with a release of the runner, files and hooks.</summary>
public sealed class OwnImageTests(OwnImageTests.OwnImage built) : IClassFixture<OwnImageTests.OwnImage>
{
    [Fact]
    public async Task A_signed_image_is_accepted_with_its_own_certificate_alone()
    {
        var own = await Builder.VerifyAsync(built.Folder, built.At("own.crt"));
        var other = await Builder.VerifyAsync(built.Folder, built.At("other.crt"));

        Assert.All(own, line => Assert.StartsWith("ok ", line, StringComparison.Ordinal));
        Assert.Equal(["the checksums are signed by the certificate's key", "the bootable file is signed by the certificate's key"],
            other.Where(line => line.StartsWith("FAILED", StringComparison.Ordinal)).Select(line => line[8..].Split(':')[0]));
        Assert.True(Builder.Manifest(built.Folder).GetProperty("secureBoot").GetProperty("signed").GetBoolean());
    }

    [Theory]
    [InlineData("opt/tool/run", "-rwxr-xr-x", "echo own tool\n")]
    [InlineData("etc/gitconfig", "-rw-r--r--", "[user]\n")]
    [InlineData("etc/mayfly/hooks/job-started.d/10-hello", "-rwxr-xr-x", "echo hello\n")]
    [InlineData("etc/mayfly/hooks/job-completed.d/10-off", "-rw-r--r--", "echo bye\n")]
    public async Task Own_files_and_hooks_lie_in_the_image_as_roots_own(string file, string mode, string content)
    {
        var root = Path.Combine(built.Folder, "root.part");

        var line = (await Builder.RunAsync("unsquashfs", ["-lln", root, file])).Split('\n').Single(l => l.EndsWith("/" + file, StringComparison.Ordinal));

        Assert.StartsWith($"{mode} 0/0 ", line, StringComparison.Ordinal);
        Assert.Equal(content, await Builder.RunAsync("unsquashfs", ["-cat", root, file]));
    }

    /// <summary>GitHub refuses the list of releases here, as it does who has asked too often: that alters the manifest alone.</summary>
    [Fact]
    public async Task What_GitHub_answers_after_the_digest_changes_no_bit_of_the_root()
    {
        var runner = Builder.Manifest(built.Folder).GetProperty("runner");

        Assert.Equal($$"""{"kind":"official","version":"2.400.0","released":"{{Releases.Stamp(3)}}"}""",
            (await Builder.RunAsync("unsquashfs", ["-cat", Path.Combine(built.Folder, "root.part"), "usr/lib/mayfly/runner.json"])).Trim());
        Assert.Equal(("2.400.0", Releases.Stamp(3)), (runner.GetProperty("version").GetString(), runner.GetProperty("released").GetString()));
        Assert.Equal(Convert.ToHexStringLower(SHA256.HashData(built.GitHub.Tarball)), runner.GetProperty("tarball").GetString());
        Assert.Equal(JsonValueKind.Null, runner.GetProperty("newest").ValueKind);
        Assert.Contains("lists no releases of the runner", built.Output, StringComparison.Ordinal);
    }

    /// <summary>Each could be poisoned, so each is named by its digest; Debian's own are, by those of the signed lists.</summary>
    [Fact]
    public async Task The_provenance_names_all_that_went_in()
    {
        var build = JsonDocument.Parse(await File.ReadAllBytesAsync(Path.Combine(built.Folder, "provenance.json"), TestContext.Current.CancellationToken))
            .RootElement.GetProperty("predicate").GetProperty("buildDefinition");
        var dependencies = build.GetProperty("resolvedDependencies").EnumerateArray().ToList();
        var named = dependencies.Where(d => d.TryGetProperty("name", out _)).ToDictionary(d => d.GetProperty("name").GetString()!, d => d.GetProperty("digest").GetProperty("sha256").GetString());

        Assert.Equal(["mayfly-agent", "actions-runner", "actions-runner-tarball", "uefi-stub", "files", "hooks", "secure-boot-certificate"], named.Keys);
        Assert.Equal(Builder.Digest(Directory.GetFiles("/usr/lib/systemd/boot/efi", "linux*.efi.stub").Single(f => !f.Contains("ia32", StringComparison.Ordinal))), named["uefi-stub"]);
        Assert.Equal(Convert.ToHexStringLower(SHA256.HashData(built.GitHub.Tarball)), named["actions-runner-tarball"]);
        Assert.Equal(Builder.Digest(built.At("own.crt")), named["secure-boot-certificate"]);
        Assert.All(dependencies, d => Assert.Matches("^[0-9a-f]{64}$", d.GetProperty("digest").GetProperty("sha256").GetString()));
        Assert.Contains(dependencies, d => d.TryGetProperty("uri", out var uri) && uri.GetString()!.StartsWith("pkg:deb/debian/linux-image-", StringComparison.Ordinal));
        var given = build.GetProperty("externalParameters");
        Assert.Equal(("minimal", JsonValueKind.Null, JsonValueKind.Null), (given.GetProperty("toolset").GetString(), given.GetProperty("mirror").ValueKind, given.GetProperty("kernel").ValueKind));
    }

    /// <summary>One build for all of them.</summary>
    public sealed class OwnImage : IAsyncLifetime
    {
        private readonly string _folder = Directory.CreateTempSubdirectory("mayfly-own-").FullName;

        public string Folder => At("out");

        /// <summary>All that the build printed.</summary>
        public string Output { get; private set; } = "";

        internal Releases GitHub { get; } = new();

        public string At(string name) => Path.Combine(_folder, name);

        public async ValueTask InitializeAsync()
        {
            foreach (var name in (string[])["own", "other"])
                await Builder.RunAsync("openssl", ["req", "-new", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", $"/CN={name}", "-keyout", At($"{name}.key"), "-out", At($"{name}.crt")]);
            // With the modes of a checkout that only its owner may read.
            Lay("files/opt/tool/run", "echo own tool\n", UnixFileMode.UserRead | UnixFileMode.UserExecute);
            Lay("files/etc/gitconfig", "[user]\n", UnixFileMode.UserRead);
            Lay("hooks/job-started.d/10-hello", "echo hello\n", UnixFileMode.UserRead | UnixFileMode.UserExecute);
            Lay("hooks/job-completed.d/10-off", "echo bye\n", UnixFileMode.UserRead);
            GitHub.Publish("2.400.0", "latest", ageDays: 3);
            (var code, Output) = await Builder.TryBuildAsync(Built.Path("packer"), _folder, "--runner=release", "--runner-kind=official", $"--github={GitHub.Address}", $"--cache={Built.Path("artifacts/cache")}",
                $"--signing-key={At("own.key")}", $"--signing-certificate={At("own.crt")}", $"--files={At("files")}", $"--hooks={At("hooks")}");
            Assert.True(code == 0, Output);
        }

        public ValueTask DisposeAsync()
        {
            GitHub.Dispose();
            Directory.Delete(_folder, recursive: true);
            return ValueTask.CompletedTask;
        }

        private void Lay(string file, string content, UnixFileMode mode)
        {
            Directory.CreateDirectory(Path.GetDirectoryName(At(file))!);
            File.WriteAllText(At(file), content);
            File.SetUnixFileMode(At(file), mode);
        }
    }
}
