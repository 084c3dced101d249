using System.Diagnostics;

namespace Mayfly.Controller.Tests;

/// <summary>The program as a user starts it.</summary>
public sealed class ProgramTests
{
    [Theory]
    [InlineData("--help", 0, "--check-config")]
    [InlineData("--help-config", 0, "| `GitHub:AppId` | must be set |")]
    [InlineData("--version", 0, "0.1.0")]
    [InlineData("--chek-config", 64, "--check-config")]
    [InlineData("--check-config", 78, "Mayfly:GitHub:AppId is not set; see docs/controller.md")]
    public async Task It_answers_its_arguments(string argument, int exitCode, string text)
    {
        var (code, output) = await RunAsync([argument], []);
        Assert.Equal(exitCode, code);
        Assert.Contains(text, output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_good_configuration_is_said_to_be_usable_and_a_database_that_is_none_is_not()
    {
        await using var world = await World.StartAsync(controller: false);
        await world.StartControllerAsync();
        await world.Controller.KillAsync();
        var settings = new Dictionary<string, string>
        {
            ["AWS_REGION"] = "eu-central-1", ["Mayfly__GitHub__AppId"] = "7", ["Mayfly__GitHub__Installations"] = "1", ["Mayfly__GitHub__Repositories"] = "o/r",
            ["Mayfly__GitHub__PrivateKeyFile"] = Path.Combine(world.Folder, "app.pem"), ["Mayfly__GitHub__WebhookSecretFile"] = Path.Combine(world.Folder, "webhook.secret"),
        };
        Assert.Equal((0, "the configuration is usable\n"), await RunAsync(["--check-config"], settings));
        settings["Mayfly__Database"] = Path.Combine(world.Folder, "app.pem");
        var (code, output) = await RunAsync([], settings);
        Assert.Equal(78, code);
        Assert.Contains("file is not a database", output, StringComparison.Ordinal);
    }

    private static async Task<(int ExitCode, string Output)> RunAsync(string[] arguments, Dictionary<string, string> environment)
    {
        var start = new ProcessStartInfo("dotnet") { RedirectStandardOutput = true, RedirectStandardError = true };
        start.ArgumentList.Add(Path.Combine(AppContext.BaseDirectory, "mayfly-controller.dll"));
        foreach (var argument in arguments)
            start.ArgumentList.Add(argument);
        start.Environment.Remove("AWS_REGION");
        foreach (var (name, value) in environment)
            start.Environment[name] = value;
        using var process = Process.Start(start)!;
        var error = process.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
        var output = await process.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken);
        await process.WaitForExitAsync(TestContext.Current.CancellationToken).WaitAsync(World.Limit, TestContext.Current.CancellationToken);
        return (process.ExitCode, output + await error);
    }
}
