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
        var apart = folder + ".new"; // what is installed halfway is not to be found
        if (Directory.Exists(apart))
            Directory.Delete(apart, recursive: true);
        Directory.CreateDirectory(apart);
        var start = new ProcessStartInfo("npm") { RedirectStandardError = true, RedirectStandardOutput = true };
        foreach (var argument in (string[])["install", "--prefix", apart, "--no-audit", "--no-fund", "--ignore-scripts", .. packages])
            start.ArgumentList.Add(argument);
        try
        {
            using var npm = Process.Start(start)!;
            var errors = npm.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
            var output = npm.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken);
            using var limit = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
            limit.CancelAfter(InstallLimit);
            try
            {
                await npm.WaitForExitAsync(limit.Token);
            }
            catch (OperationCanceledException)
            {
                npm.Kill(entireProcessTree: true);
                await npm.WaitForExitAsync(TestContext.Current.CancellationToken);
            }

            await output;
            if (npm.ExitCode != 0)
                Assert.Skip($"SKIPPED: {string.Join(" and ", packages)} could not be installed; npm says: {await errors}");
            if (Directory.Exists(folder))
                Directory.Delete(folder, recursive: true);
            Directory.Move(apart, folder);
        }
        catch (Win32Exception)
        {
            Assert.Skip($"SKIPPED: npm is not installed, so there is no {string.Join(" and ", packages)} to compare with");
        }
    }
}
