using System.Diagnostics;
using System.Security.Cryptography;
using System.Text.Json;
using Mayfly.Machine.Tests;
using Xunit;

namespace Mayfly.Image.Tests;

/// <summary>The image's own build, as Cake calls it.</summary>
internal static class Builder
{
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(10);

    /// <summary>Builds with the stand-in and an empty cache below a folder; gives the image's folder.</summary>
    public static async Task<string> BuildAsync(string packer, string folder, params (string Name, string Value)[] environment)
    {
        var (code, output) = await TryBuildAsync(packer, folder, environment, $"--runner={Built.Path("artifacts/runner")}");
        Assert.True(code == 0, output);
        return Path.Combine(folder, "out");
    }

    /// <summary>The same as <see cref="BuildAsync"/>, by the Packer template's local source.</summary>
    /// <param name="packer">A copy of the folder; it may be altered.</param>
    public static async Task<string> BuildByPackerAsync(string packer, string folder, params (string Name, string Value)[] environment)
    {
        await FitTemplateAsync(packer);
        var (code, output, error) = await StartAsync("packer",
            [
                "build", "-only=null.local", $"-var=image={Path.Combine(folder, "out")}", $"-var=agent={Built.Path("artifacts/agent/mayfly-agent")}", $"-var=runner={Built.Path("artifacts/runner")}",
                $"-var=cache={Path.Combine(folder, "cache")}", "-var=build_arguments=[\"--runner-kind=stand-in\"]", packer,
            ], [.. environment, ("CHECKPOINT_DISABLE", "1")]);
        Assert.True(code == 0, output + error);
        return Path.Combine(folder, "out");
    }

    /// <summary>Makes a copy of the template such that the installed Packer can read it: one too old to know <c>packer init</c>
    /// does not know either what the template marks as newer.</summary>
    public static async Task FitTemplateAsync(string copy)
    {
        var (_, output, error) = await StartAsync("packer", ["init", "-help"], []);
        if (!(output + error).Contains("Usage: packer init", StringComparison.Ordinal))
            await RunAsync("sed", ["-i", "/# newer$/,/# end$/d", Path.Combine(copy, "mayfly.pkr.hcl")]);
    }

    public static Task<(int Code, string Output)> TryBuildAsync(string packer, string folder, params string[] arguments) =>
        TryBuildAsync(packer, folder, [], arguments);

    /// <summary>Runs a program to its end; gives its exit code and all that it printed.</summary>
    public static async Task<(int Code, string Output)> TryRunAsync(string program, params string[] arguments)
    {
        var (code, output, error) = await StartAsync(program, arguments, []);
        return (code, output + error);
    }

    /// <summary>Runs a program that has to succeed, and gives what it printed.</summary>
    public static async Task<string> RunAsync(string program, string[] arguments)
    {
        var (code, output, error) = await StartAsync(program, arguments, []);
        Assert.True(code == 0, $"{program} exited with {code}: {error}");
        return output;
    }

    /// <summary>What packer/verify.sh finds of an image's folder, and of a certificate if one is given: one line a check.</summary>
    public static async Task<IReadOnlyList<string>> VerifyAsync(params string[] arguments)
    {
        _ = Built.Image;
        var (code, output, error) = await StartAsync(Built.Path("packer/verify.sh"), arguments, []);
        var checks = output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.True(code == (checks.Any(c => c.StartsWith("FAILED", StringComparison.Ordinal)) ? 1 : 0), output + error);
        return checks;
    }

    public static JsonElement Manifest(string image) => JsonDocument.Parse(File.ReadAllBytes(Path.Combine(image, "manifest.json"))).RootElement;

    public static string Digest(string file)
    {
        using var stream = File.OpenRead(file);
        return Convert.ToHexStringLower(SHA256.HashData(stream));
    }

    private static async Task<(int Code, string Output)> TryBuildAsync(string packer, string folder, (string Name, string Value)[] environment, params string[] arguments)
    {
        _ = Built.Image;
        var (code, output, error) = await StartAsync(Path.Combine(packer, "build.sh"),
            [$"--agent={Built.Path("artifacts/agent/mayfly-agent")}", "--runner-kind=stand-in", $"--out={Path.Combine(folder, "out")}", $"--cache={Path.Combine(folder, "cache")}", .. arguments], environment);
        return (code, output + error);
    }

    public static async Task<(int Code, string Output, string Error)> StartAsync(string program, string[] arguments, (string Name, string Value)[] environment)
    {
        var start = new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (var (name, value) in environment)
            start.Environment[name] = value;
        using var process = Process.Start(start)!;
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        limit.CancelAfter(Limit);
        try
        {
            var output = process.StandardOutput.ReadToEndAsync(limit.Token);
            var error = process.StandardError.ReadToEndAsync(limit.Token);
            await process.WaitForExitAsync(limit.Token);
            return (process.ExitCode, await output, await error);
        }
        catch (OperationCanceledException)
        {
            process.Kill(entireProcessTree: true);
            throw;
        }
    }
}
