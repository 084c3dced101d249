using System.Diagnostics;

namespace Mayfly.Controller.Tests;

/// <summary>Programs that a test runs to their end.</summary>
internal static class Programs
{
    /// <returns>What it wrote, errors last.</returns>
    public static async Task<(int ExitCode, string Output)> RunAsync(ProcessStartInfo start)
    {
        start.RedirectStandardOutput = start.RedirectStandardError = true;
        using var process = Process.Start(start)!;
        var error = process.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
        var output = await process.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken);
        await process.WaitForExitAsync(TestContext.Current.CancellationToken).WaitAsync(World.Limit, TestContext.Current.CancellationToken);
        return (process.ExitCode, output + await error);
    }
}
