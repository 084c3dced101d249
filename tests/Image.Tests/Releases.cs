using System.Globalization;
using System.Net;
using System.Security.Cryptography;
using System.Text.Json.Nodes;

namespace Mayfly.Image.Tests;

/// <summary>A server that answers like GitHub's releases of the runner, with the members that are read.
/// https://docs.github.com/en/rest/releases/releases</summary>
internal sealed class Releases : IDisposable
{
    private static readonly DateTimeOffset _now = TimeProvider.System.GetUtcNow();
    private readonly HttpListener _server = new();
    private readonly Dictionary<string, byte[]> _answers = [];

    public Releases()
    {
        using (var free = new System.Net.Sockets.TcpListener(IPAddress.Loopback, 0))
        {
            free.Start();
            Address = $"http://127.0.0.1:{((IPEndPoint)free.LocalEndpoint).Port}";
        }

        _server.Prefixes.Add(Address + "/");
        _server.Start();
        _ = ServeAsync();
    }

    public string Address { get; }

    public byte[] Tarball { get; } = Pack();

    /// <param name="at">The answer's place below <c>releases/</c>: <c>latest</c> or <c>tags/TAG</c>.</param>
    /// <param name="digest">Another than the file's own.</param>
    public void Publish(string version, string at, int ageDays, string? digest = null, Action<JsonObject>? change = null)
    {
        var arch = System.Runtime.InteropServices.RuntimeInformation.OSArchitecture == System.Runtime.InteropServices.Architecture.Arm64 ? "arm64" : "x64";
        var name = $"actions-runner-linux-{arch}-{version}.tar.gz";
        _answers[$"/download/{name}"] = Tarball;
        var release = new JsonObject
        {
            ["tag_name"] = $"v{version}",
            ["published_at"] = Stamp(ageDays),
            ["assets"] = new JsonArray(
                new JsonObject { ["name"] = $"actions-runner-osx-{arch}-{version}.tar.gz", ["digest"] = "sha256:" + new string('1', 64), ["browser_download_url"] = $"{Address}/none" },
                new JsonObject { ["name"] = name, ["digest"] = digest ?? "sha256:" + Convert.ToHexStringLower(SHA256.HashData(Tarball)), ["browser_download_url"] = $"{Address}/download/{name}" }),
        };
        change?.Invoke(release);
        _answers[$"/repos/actions/runner/releases/{at}"] = System.Text.Encoding.UTF8.GetBytes(release.ToJsonString());
    }

    /// <summary>The list of all: what is a draft or a prerelease is marked so.</summary>
    public void PublishAll(params (string Version, int AgeDays, string? Mark)[] releases) =>
        _answers["/repos/actions/runner/releases"] = System.Text.Encoding.UTF8.GetBytes(new JsonArray(
        [
            .. releases.Select(r => new JsonObject
            {
                ["tag_name"] = $"v{r.Version}",
                ["draft"] = r.Mark == "draft",
                ["prerelease"] = r.Mark == "prerelease",
                ["published_at"] = Stamp(r.AgeDays),
                // A real release's text and files: a hundred of them are more than a command line holds.
                ["body"] = new string('n', 200_000),
            }),
        ]).ToJsonString());

    public static string Stamp(int ageDays) => _now.AddDays(-ageDays).AddMinutes(-1).ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture);

    public void Dispose() => _server.Close();

    /// <summary>Laid out like the release; it answers nothing but its version.</summary>
    private static byte[] Pack()
    {
        var layout = Directory.CreateTempSubdirectory("mayfly-runner-").FullName;
        try
        {
            Directory.CreateDirectory(Path.Combine(layout, "bin"));
            Directory.CreateDirectory(Path.Combine(layout, "externals"));
            var program = Path.Combine(layout, "bin", "Runner.Listener");
            File.WriteAllText(program, "#!/bin/sh\necho 2.400.0\n");
            File.SetUnixFileMode(program, (UnixFileMode)0b111_101_101);
            var archive = Path.Combine(layout, "runner.tar.gz");
            using (var process = System.Diagnostics.Process.Start("tar", ["--mtime=@0", "-C", layout, "-czf", archive, "bin", "externals"])!)
                process.WaitForExit();
            return File.ReadAllBytes(archive);
        }
        finally
        {
            Directory.Delete(layout, recursive: true);
        }
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
