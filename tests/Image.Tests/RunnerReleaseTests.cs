using System.Globalization;
using System.Net;
using System.Security.Cryptography;
using System.Text.Json.Nodes;
using Mayfly.Machine.Tests;
using Xunit;

namespace Mayfly.Image.Tests;

/// <summary>Where the runner on the image comes from: packer/scripts/runner.sh and runner-age.sh against a server that answers
/// like GitHub's releases.</summary>
public sealed class RunnerReleaseTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("mayfly-release-").FullName;
    private readonly HttpListener _server = new();
    private readonly string _address;
    private readonly Dictionary<string, byte[]> _answers = [];
    private readonly DateTimeOffset _now = TimeProvider.System.GetUtcNow();

    public RunnerReleaseTests()
    {
        using (var free = new System.Net.Sockets.TcpListener(IPAddress.Loopback, 0))
        {
            free.Start();
            _address = $"http://127.0.0.1:{((IPEndPoint)free.LocalEndpoint).Port}";
        }

        _server.Prefixes.Add(_address + "/");
        _server.Start();
        _ = ServeAsync();
    }

    [Fact]
    public async Task The_newest_release_is_taken_if_it_is_what_GitHub_published()
    {
        Publish("2.400.0", "latest", ageDays: 1);

        var (code, output) = await RunAsync("runner.sh", $"{_folder}/out", "release", "", _address);

        Assert.True(code == 0, output);
        Assert.True(File.Exists($"{_folder}/out/bin/Runner.Listener"));
        Assert.True(Directory.Exists($"{_folder}/out/externals"));
        Assert.Matches("^[0-9a-f]{64}\n$", await File.ReadAllTextAsync($"{_folder}/out/sha256", TestContext.Current.CancellationToken));
    }

    [Fact]
    public async Task A_download_that_is_not_what_GitHub_published_is_refused()
    {
        Publish("2.400.0", "tags/v2.400.0", ageDays: 1, digest: "sha256:" + new string('0', 64));

        var (code, output) = await RunAsync("runner.sh", $"{_folder}/out", "release:2.400.0", "", _address);

        Assert.Equal(64, code);
        Assert.Contains("what was downloaded is not what GitHub published", output, StringComparison.Ordinal);
        Assert.False(Directory.Exists($"{_folder}/out/bin"));
    }

    [Fact]
    public async Task A_release_without_a_digest_is_refused_with_the_way_out()
    {
        Publish("2.400.0", "latest", ageDays: 1, digest: "");

        var (code, output) = await RunAsync("runner.sh", $"{_folder}/out", "release", "", _address);

        Assert.Equal(64, code);
        Assert.Contains("--runner=FILE --runner-sha256=DIGEST", output, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("", "a file is only taken with its digest")]
    [InlineData("0000", "not --runner-sha256='0000'")]
    public async Task A_file_is_only_taken_with_its_own_digest(string sha256, string refusal)
    {
        var file = Path.Combine(_folder, "runner.tar.gz");
        await File.WriteAllBytesAsync(file, Tarball(), TestContext.Current.CancellationToken);

        var (refused, output) = await RunAsync("runner.sh", $"{_folder}/out", file, sha256, _address);
        var (taken, _) = await RunAsync("runner.sh", $"{_folder}/other", file, Builder.Digest(file), _address);

        Assert.Equal((64, 0), (refused, taken));
        Assert.Contains(refusal, output, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(13, false)]
    [InlineData(14, true)]
    public async Task The_build_warns_from_fourteen_days_after_a_newer_release(int ageDays, bool warns)
    {
        Publish("2.399.0", "tags/v2.399.0", ageDays: 60);
        Publish("2.400.0", "latest", ageDays);

        var (code, output) = await RunAsync("runner-age.sh", "2.399.0", _address);

        Assert.Equal(0, code);
        Assert.Equal(warns, output.Contains($"WARNING: runner 2.399.0 was followed by 2.400.0 {ageDays} days ago", StringComparison.Ordinal));
        var dates = JsonNode.Parse(output[..(output.LastIndexOf('}') + 1)])!;
        Assert.Equal("2.400.0", (string?)dates["newest"]!["version"]);
        Assert.Equal(Stamp(60), (string?)dates["released"]);
    }

    [Fact]
    public async Task A_GitHub_that_does_not_answer_is_said_and_stops_no_build()
    {
        var (code, output) = await RunAsync("runner-age.sh", "2.399.0", "http://127.0.0.1:9");

        Assert.Equal(0, code);
        Assert.Contains("how old runner 2.399.0 is, is not known", output, StringComparison.Ordinal);
        Assert.Contains("\"released\": null", output, StringComparison.Ordinal);
    }

    public void Dispose()
    {
        _server.Close();
        Directory.Delete(_folder, recursive: true);
    }

    private static Task<(int Code, string Output)> RunAsync(string script, params string[] arguments) =>
        Builder.TryRunAsync(Built.Path($"packer/scripts/{script}"), arguments);

    /// <summary>https://docs.github.com/en/rest/releases/releases: the members that are read.</summary>
    private void Publish(string version, string at, int ageDays, string? digest = null)
    {
        var tarball = Tarball();
        var arch = System.Runtime.InteropServices.RuntimeInformation.OSArchitecture == System.Runtime.InteropServices.Architecture.Arm64 ? "arm64" : "x64";
        var name = $"actions-runner-linux-{arch}-{version}.tar.gz";
        _answers[$"/download/{name}"] = tarball;
        _answers[$"/repos/actions/runner/releases/{at}"] = System.Text.Encoding.UTF8.GetBytes(new JsonObject
        {
            ["tag_name"] = $"v{version}",
            ["published_at"] = Stamp(ageDays),
            ["assets"] = new JsonArray(
                new JsonObject { ["name"] = $"actions-runner-osx-{arch}-{version}.tar.gz", ["digest"] = "sha256:" + new string('1', 64), ["browser_download_url"] = $"{_address}/none" },
                new JsonObject { ["name"] = name, ["digest"] = digest ?? "sha256:" + Convert.ToHexStringLower(SHA256.HashData(tarball)), ["browser_download_url"] = $"{_address}/download/{name}" }),
        }.ToJsonString());
    }

    private string Stamp(int ageDays) => _now.AddDays(-ageDays).AddMinutes(-1).ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture);

    private byte[] Tarball()
    {
        var layout = Path.Combine(_folder, "layout");
        Directory.CreateDirectory(Path.Combine(layout, "bin"));
        Directory.CreateDirectory(Path.Combine(layout, "externals"));
        var program = Path.Combine(layout, "bin", "Runner.Listener");
        File.WriteAllText(program, "#!/bin/sh\n");
        File.SetUnixFileMode(program, (UnixFileMode)0b111_101_101);
        var archive = Path.Combine(_folder, "layout.tar.gz");
        using (var process = System.Diagnostics.Process.Start("tar", ["--mtime=@0", "-C", layout, "-czf", archive, "."])!)
            process.WaitForExit();
        return File.ReadAllBytes(archive);
    }

    private async Task ServeAsync()
    {
        try
        {
            while (true)
            {
                var context = await _server.GetContextAsync();
                var found = _answers.TryGetValue(context.Request.Url!.AbsolutePath, out var answer);
                context.Response.StatusCode = found ? 200 : 404;
                await context.Response.OutputStream.WriteAsync(answer ?? []);
                context.Response.Close();
            }
        }
        catch (Exception e) when (e is HttpListenerException or ObjectDisposedException)
        {
            // the test is over
        }
    }
}
