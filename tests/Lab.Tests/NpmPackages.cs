using System.ComponentModel;
using System.Diagnostics;
using Xunit;

namespace Mayfly.Lab.Tests;

/// <summary>Schemas and examples that only npm packages carry; they are installed once, and none of their code runs.</summary>
internal sealed class NpmPackages(string artifacts, string name, params string[] packages)
{
    private static readonly TimeSpan InstallLimit = TimeSpan.FromMinutes(3);

    private static readonly SemaphoreSlim OneByOne = new(1);

    /// <summary>The path of a file below <c>node_modules</c>. Skips the test where npm cannot install.</summary>
    public async Task<string> FindAsync(string path)
    {
        var folder = Path.GetFullPath(Path.Combine(artifacts, name));
        var file = Path.Combine(folder, "node_modules", path);
        await OneByOne.WaitAsync(TestContext.Current.CancellationToken);
        try
        {
            if (!File.Exists(file))
                await InstallAsync(folder);
        }
        finally
        {
            OneByOne.Release();
        }

        return file;
    }

    private async Task InstallAsync(string folder)
    {
        Directory.CreateDirectory(folder);
        var start = new ProcessStartInfo("npm") { RedirectStandardError = true, RedirectStandardOutput = true };
        foreach (var argument in (string[])["install", "--prefix", folder, "--no-audit", "--no-fund", "--ignore-scripts", .. packages])
            start.ArgumentList.Add(argument);
        try
        {
            using var npm = Process.Start(start)!;
            var errors = npm.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
            var output = npm.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken);
            using var limit = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
            limit.CancelAfter(InstallLimit);
            await npm.WaitForExitAsync(limit.Token);
            await output;
            if (npm.ExitCode != 0)
                Assert.Skip($"SKIPPED: {string.Join(" and ", packages)} could not be installed; npm says: {await errors}");
        }
        catch (Win32Exception)
        {
            Assert.Skip($"SKIPPED: npm is not installed, so there is no {string.Join(" and ", packages)} to compare with");
        }
    }
}
