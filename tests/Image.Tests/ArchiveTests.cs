using System.Globalization;
using System.Text;
using Mayfly.Machine.Tests;
using Xunit;

namespace Mayfly.Image.Tests;

/// <summary>packer/scripts/archive.sh, sources.sh and kernel-package.sh against an archive in a folder here.</summary>
public sealed class ArchiveTests : IAsyncLifetime
{
    private readonly string _folder = Directory.CreateTempSubdirectory("mayfly-archive-").FullName;
    private readonly string _architecture = System.Runtime.InteropServices.RuntimeInformation.OSArchitecture == System.Runtime.InteropServices.Architecture.Arm64 ? "arm64" : "amd64";

    public async ValueTask InitializeAsync()
    {
        Directory.CreateDirectory(Keys, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        await Builder.RunAsync("gpg", ["--homedir", Keys, "--batch", "--quiet", "--passphrase", "", "--quick-generate-key", "archive", "ed25519", "sign", "never"]);
        await Builder.RunAsync("gpg", ["--homedir", Keys, "--batch", "--quiet", "--output", Path.Combine(_folder, "archive.gpg"), "--export"]);
    }

    [Fact]
    public async Task A_changed_archive_is_another_input_and_one_that_was_only_signed_anew_is_not()
    {
        var mirror = await PublishAsync("debian", signed: "2026-11-01", packages: Kernel("6.1.0-1"));
        var (_, first) = await AskAsync(mirror);
        await PublishAsync("debian", signed: "2026-11-02", packages: Kernel("6.1.0-1"));
        var (_, again) = await AskAsync(mirror);
        await PublishAsync("debian", signed: "2026-11-03", packages: Kernel("6.1.0-2"));
        var (_, changed) = await AskAsync(mirror);

        Assert.Equal(["bookworm", "bookworm-security", "bookworm-updates"], first.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => line.Split('\t')[0]));
        Assert.Contains("\t2026-11-01T00:00:00Z\n", first, StringComparison.Ordinal);
        Assert.Contains("\t2026-11-02T00:00:00Z\n", again, StringComparison.Ordinal);
        Assert.Equal(Packages(first), Packages(again));
        Assert.NotEqual(Packages(again), Packages(changed));
    }

    [Fact]
    public async Task An_archive_that_does_not_answer_is_said_and_its_last_answer_counts()
    {
        var mirror = await PublishAsync("debian", signed: "2026-11-01", packages: Kernel("6.1.0-1"));
        var (_, before) = await AskAsync(mirror);
        Directory.Move(Path.Combine(_folder, "debian"), Path.Combine(_folder, "away"));

        var (code, output) = await AskAsync(mirror);

        Assert.Equal(0, code);
        Assert.Contains("image: WARNING: Debian's archive cannot be asked for newer packages: ", output, StringComparison.Ordinal);
        Assert.StartsWith(before, output, StringComparison.Ordinal);
    }

    /// <summary>Release files of the security archive hold for a week.</summary>
    [Theory]
    [InlineData("debian/20260101T000000Z", true)]
    [InlineData("debian", false)]
    public async Task An_old_archive_is_taken_only_where_the_address_names_its_day(string place, bool taken)
    {
        var mirror = await PublishAsync(place, signed: "2026-01-01", packages: Kernel("6.1.0-1"), until: "2026-01-08");

        var (_, output) = await AskAsync(mirror);

        Assert.Equal(!taken, output.Contains("bookworm-security", StringComparison.Ordinal) && output.Contains("expired", StringComparison.Ordinal));
        Assert.Equal(taken, output.Contains("bookworm-security\t", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("linux-image-cloud", 0, "linux-image-6.1.0-1-cloud\n")]
    [InlineData("linux-image-6.1.0-1-cloud", 0, "linux-image-6.1.0-1-cloud\n")]
    [InlineData("linux-image-7", 100, "E: No packages found")]
    public async Task A_kernel_is_named_by_itself_or_by_a_metapackage(string given, int exitCode, string prints)
    {
        var mirror = await PublishAsync("debian", signed: "2026-11-01", packages: Kernel("6.1.0-1"));
        await File.WriteAllTextAsync(Path.Combine(_folder, "sources.list"), $"deb {mirror} bookworm main\n", TestContext.Current.CancellationToken);
        Directory.CreateDirectory(Path.Combine(_folder, "lists", "partial"));
        var environment = Apt($"Dir::State::lists \"{_folder}/lists\"; Dir::State::status \"/dev/null\"; Dir::Etc::sourcelist \"{_folder}/sources.list\"; Dir::Etc::sourceparts \"-\"; Dir::Cache \"{_folder}\"; APT::Sandbox::User \"root\";");
        var (updated, _, updateError) = await Builder.StartAsync("apt-get", ["update", "-qq"], environment);
        Assert.True(updated == 0, updateError);

        var (code, output, error) = await Builder.StartAsync(Built.Path("packer/scripts/kernel-package.sh"), [given], environment);

        Assert.Equal(exitCode, code);
        Assert.StartsWith(prints, output + error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_mirror_with_a_password_is_refused()
    {
        var (code, output) = await AskAsync("http://me:secret@127.0.0.1:9/debian");

        Assert.Equal(1, code);
        Assert.Contains("so it may hold no password", output, StringComparison.Ordinal);
        Assert.DoesNotContain("secret", output, StringComparison.Ordinal);
    }

    public async ValueTask DisposeAsync()
    {
        await Builder.RunAsync("gpgconf", ["--homedir", Keys, "--kill", "all"]);
        Directory.Delete(_folder, recursive: true);
    }

    private string Keys => Path.Combine(_folder, "keys");

    private async Task<(int Code, string Output)> AskAsync(string mirror)
    {
        var (code, output, error) = await Builder.StartAsync(Built.Path("packer/scripts/archive.sh"), [Path.Combine(_folder, "asked"), "bookworm", mirror], Apt(""));
        return (code, output + error);
    }

    private static string Packages(string answer) => string.Join(' ', answer.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => line.Split('\t')[1]));

    /// <summary>An apt with nothing of this machine's settings, which trusts the archive's key alone.</summary>
    private (string Name, string Value)[] Apt(string settings)
    {
        var file = Path.Combine(_folder, "apt.conf");
        File.WriteAllText(file, $"Dir::Etc::parts \"/dev/null\"; Dir::Etc::trusted \"{_folder}/archive.gpg\"; Dir::Etc::trustedparts \"-\"; {settings}\n");
        return [("APT_CONFIG", file)];
    }

    private static string Kernel(string version) =>
        $"Package: linux-image-cloud\nVersion: 1\nArchitecture: all\nDepends: linux-image-{version}-cloud (= 1)\nFilename: a.deb\nSize: 1\nSHA256: {new string('1', 64)}\n\n"
        + $"Package: linux-image-{version}-cloud\nVersion: 1\nArchitecture: all\nDepends: kmod, linux-base, initramfs-tools | linux-initramfs-tool\nFilename: b.deb\nSize: 1\nSHA256: {new string('2', 64)}\n";

    /// <summary>The three suites that an image is built from, as https://wiki.debian.org/DebianRepository/Format has them.</summary>
    /// <returns>The mirror's address.</returns>
    private async Task<string> PublishAsync(string place, string signed, string packages, string? until = null)
    {
        foreach (var (archive, suite) in ((string, string)[])[(place, "bookworm"), (place, "bookworm-updates"), (place.Replace("debian", "debian-security", StringComparison.Ordinal), "bookworm-security")])
        {
            var dist = Path.Combine(_folder, archive, "dists", suite);
            var list = Path.Combine(dist, "main", $"binary-{_architecture}", "Packages");
            Directory.CreateDirectory(Path.GetDirectoryName(list)!);
            File.WriteAllText(list, packages);
            File.WriteAllText(Path.Combine(dist, "Release"), new StringBuilder()
                .AppendLine(CultureInfo.InvariantCulture, $"Origin: Debian\nSuite: {suite}\nCodename: {suite}\nArchitectures: all {_architecture}\nComponents: main\nDate: {Rfc(signed)}")
                .Append(until is null || !suite.EndsWith("security", StringComparison.Ordinal) ? "" : $"Valid-Until: {Rfc(until)}\n")
                .AppendLine(CultureInfo.InvariantCulture, $"SHA256:\n {Builder.Digest(list)} {new FileInfo(list).Length} main/binary-{_architecture}/Packages").ToString());
            await Builder.RunAsync("gpg", ["--homedir", Keys, "--batch", "--quiet", "--yes", "--clearsign", "--output", Path.Combine(dist, "InRelease"), Path.Combine(dist, "Release")]);
            File.Delete(Path.Combine(dist, "Release"));
        }

        return $"file:{_folder}/{place}";
    }

    private static string Rfc(string day) => DateTimeOffset.Parse(day, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal).ToString("ddd, dd MMM yyyy HH:mm:ss 'UTC'", CultureInfo.InvariantCulture);
}
