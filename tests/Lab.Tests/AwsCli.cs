using System.Diagnostics;
using System.Text.Json.Nodes;
using Mayfly.Lab.Aws;

namespace Mayfly.Lab.Tests;

/// <summary>The official AWS CLI, pointed at a lab as anybody would point it: by the standard variables.</summary>
internal sealed class AwsCli(Lab lab, AccessKey? key, Uri? imds = null)
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(60);

    /// <summary>Skips the test where there is no AWS CLI.</summary>
    public static void RequireOrSkip()
    {
        var found = (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':').Any(folder => File.Exists(Path.Combine(folder, "aws")));
        if (!found)
            Assert.Skip("SKIPPED: the AWS CLI is not installed (apt-get install awscli), so the lab is not tried with a client of AWS's own");
    }

    /// <summary>What a command that works printed.</summary>
    public async Task<JsonNode?> RunAsync(params string[] arguments)
    {
        var (code, output, error) = await TryAsync(arguments);
        Assert.True(code == 0, $"aws {string.Join(' ', arguments)}: {error}");
        return output.Trim().Length == 0 ? null : JsonNode.Parse(output);
    }

    public async Task<(int Code, string Output, string Error)> TryAsync(params string[] arguments)
    {
        var start = new ProcessStartInfo("aws") { RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (var argument in arguments)
            start.ArgumentList.Add(argument);
        foreach (var name in start.Environment.Keys.Where(k => k.StartsWith("AWS_", StringComparison.Ordinal)).ToList())
            start.Environment.Remove(name);
        (string, string?)[] variables =
        [
            ("AWS_CONFIG_FILE", "/dev/null"), ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"), ("AWS_PAGER", ""), ("AWS_MAX_ATTEMPTS", "1"),
            ("AWS_ENDPOINT_URL", lab.AwsAddress.AbsoluteUri.TrimEnd('/')), ("AWS_DEFAULT_REGION", lab.Options.Region), ("AWS_DEFAULT_OUTPUT", "json"),
            ("AWS_ACCESS_KEY_ID", key?.Id), ("AWS_SECRET_ACCESS_KEY", key?.Secret),
            ("AWS_EC2_METADATA_SERVICE_ENDPOINT", imds?.AbsoluteUri), ("AWS_EC2_METADATA_DISABLED", imds is null ? "true" : null),
        ];
        foreach (var (name, value) in variables.Where(v => v.Item2 is not null))
            start.Environment[name] = value;
        using var process = Process.Start(start)!;
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        limit.CancelAfter(Limit);
        try
        {
            var error = process.StandardError.ReadToEndAsync(limit.Token);
            var output = await process.StandardOutput.ReadToEndAsync(limit.Token);
            await process.WaitForExitAsync(limit.Token);
            return (process.ExitCode, output, await error);
        }
        finally
        {
            if (!process.HasExited)
                process.Kill(entireProcessTree: true);
        }
    }
}
