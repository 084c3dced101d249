using System.Diagnostics;
using Xunit;

namespace Mayfly.Machine.Tests;

/// <summary>The image once more, by its own build with the docker toolset. It shares the cache of the repository's builds: Debian's
/// packages are fetched and unpacked once.</summary>
public sealed class DockerImage : IAsyncLifetime
{
    private readonly string _folder = Directory.CreateTempSubdirectory("mayfly-docker-").FullName;

    internal string Disk => Path.Combine(_folder, "disk.raw");

    public async ValueTask InitializeAsync()
    {
        _ = Built.Image; // and with it agent and runner
        using var process = Process.Start(new ProcessStartInfo(Built.Path("packer/build.sh"),
            [
                "--toolset=docker", $"--agent={Built.Path("artifacts/agent/mayfly-agent")}", $"--runner={Built.Path("artifacts/runner")}", "--runner-kind=stand-in",
                $"--out={_folder}", $"--cache={Built.Path("artifacts/cache")}",
            ]) { RedirectStandardOutput = true, RedirectStandardError = true })!;
        var error = process.StandardError.ReadToEndAsync();
        var output = await process.StandardOutput.ReadToEndAsync();
        await process.WaitForExitAsync();
        Assert.True(process.ExitCode == 0, output + await error);
    }

    public ValueTask DisposeAsync()
    {
        Directory.Delete(_folder, recursive: true);
        return ValueTask.CompletedTask;
    }
}
