using System.Diagnostics;
using System.Security.Cryptography;
using System.Text.Json;
using Mayfly.Machine.Tests;
using Xunit;

namespace Mayfly.Image.Tests;

public sealed class ImageTests
{
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(10);

    /// <summary>Everything is made anew, the Debian tree included, in another folder and at another time.</summary>
    [Fact]
    public async Task Two_builds_of_the_same_inputs_are_the_same_to_the_bit()
    {
        var folder = Directory.CreateTempSubdirectory("mayfly-twice-").FullName;
        try
        {
            var second = await BuildAsync(Path.Combine(folder, "somewhere", "else"));
            var first = Path.GetDirectoryName(Built.Image)!;
            // A mirror that has moved on since the first build is another input: then both are built now.
            if (Packages(first) != Packages(second))
                first = await BuildAsync(Path.Combine(folder, "first"));

            Assert.Equal(Packages(first), Packages(second));
            foreach (var file in (string[])["vmlinuz", "initrd", "cmdline", "root.part", "mayfly.efi", "disk.raw", "manifest.json"])
                Assert.True(Digest(first, file) == Digest(second, file), $"{file} differs between two builds");
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Fact]
    public async Task A_runner_that_is_no_official_layout_is_refused_with_what_is_wanted()
    {
        var folder = Directory.CreateTempSubdirectory("mayfly-norunner-").FullName;

        var (code, output) = await RunAsync($"--runner={folder}", $"--out={folder}/out", $"--cache={folder}/cache");

        Directory.Delete(folder, recursive: true);
        Assert.Equal(64, code);
        Assert.Contains("has no bin/Runner.Listener and externals/", output, StringComparison.Ordinal);
    }

    private static async Task<string> BuildAsync(string folder)
    {
        var output = Path.Combine(folder, "out");
        var (code, text) = await RunAsync($"--runner={Built.Path("artifacts/runner")}", $"--out={output}", $"--cache={Path.Combine(folder, "cache")}");
        Assert.True(code == 0, text);
        return output;
    }

    private static async Task<(int Code, string Output)> RunAsync(params string[] arguments)
    {
        _ = Built.Image;
        var start = new ProcessStartInfo(Built.Path("packer/build.sh"),
            [$"--agent={Built.Path("artifacts/agent/mayfly-agent")}", "--runner-kind=stand-in", .. arguments]) { RedirectStandardOutput = true, RedirectStandardError = true };
        using var process = Process.Start(start)!;
        using var limit = new CancellationTokenSource(Limit);
        var output = process.StandardOutput.ReadToEndAsync(limit.Token);
        var error = process.StandardError.ReadToEndAsync(limit.Token);
        await process.WaitForExitAsync(limit.Token);
        return (process.ExitCode, await output + await error);
    }

    private static string Packages(string folder) =>
        JsonDocument.Parse(File.ReadAllBytes(Path.Combine(folder, "manifest.json"))).RootElement.GetProperty("packages").GetRawText();

    private static string Digest(string folder, string file)
    {
        using var stream = File.OpenRead(Path.Combine(folder, file));
        return Convert.ToHexString(SHA256.HashData(stream));
    }
}
