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

    [Fact]
    public async Task Secrets_come_from_SSM_where_their_settings_say_so_and_one_that_is_not_there_is_named()
    {
        await using var world = await World.StartAsync(controller: false);
        await PutAsync(world, "/mayfly/controller/app-key", world.Lab.GitHub.Options.AppKey.ExportRSAPrivateKeyPem());
        await PutAsync(world, "/mayfly/controller/webhook-secret", world.Lab.GitHub.Options.WebhookSecret + "\n");
        var settings = new Dictionary<string, string> { ["Mayfly__GitHub__PrivateKeyFile"] = "ssm:/mayfly/controller/app-key", ["Mayfly__GitHub__WebhookSecretFile"] = "ssm:/mayfly/controller/webhook-secret" };
        await world.StartControllerAsync(settings);
        var (job, status) = await world.Lab.GitHub.Jobs.QueueAsync("build", ["mayfly"], []);
        Assert.Equal(202, status);
        await world.LineAsync("launched i-", $"{job.Id}");

        foreach (var (name, value) in new Dictionary<string, string>
        {
            ["AWS_REGION"] = world.Lab.Options.Region, ["AWS_ENDPOINT_URL_SSM"] = world.Lab.AwsAddress.AbsoluteUri, ["AWS_SHARED_CREDENTIALS_FILE"] = Path.Combine(world.Folder, "credentials"),
            ["Mayfly__GitHub__AppId"] = "7", ["Mayfly__GitHub__Installations"] = "1", ["Mayfly__GitHub__Repositories"] = "o/r", ["Mayfly__DatabasePasswordFile"] = "ssm:/mayfly/controller/database-password",
        })
            settings[name] = value;
        var (code, output) = await RunAsync(["--check-config"], settings);
        Assert.Equal(78, code);
        Assert.Contains("Mayfly:DatabasePasswordFile='ssm:/mayfly/controller/database-password'", output, StringComparison.Ordinal);
        Assert.Contains("ParameterNotFound", output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_policy_comes_from_SSM_where_its_setting_says_so_and_a_wrong_or_missing_one_is_refused_at_start()
    {
        await using var world = await World.StartAsync(controller: false);
        const string Name = "/mayfly/controller/policy";
        await PutAsync(world, Name, "default: {allow: {cpu: 4, ram: 16, families: [m7i]}}", "String");
        await world.StartControllerAsync(new Dictionary<string, string> { ["Mayfly__Policy"] = $"ssm:{Name}" });
        await world.LineAsync("policy ssm:/mayfly/controller/policy");
        var (job, _) = await world.Lab.GitHub.Jobs.QueueAsync("build", ["mayfly/cpu=8"], []);
        await world.LineAsync($"{job.Id}", "cpu=8", "4");

        var settings = new Dictionary<string, string>
        {
            ["AWS_REGION"] = world.Lab.Options.Region, ["AWS_ENDPOINT_URL_SSM"] = world.Lab.AwsAddress.AbsoluteUri, ["AWS_SHARED_CREDENTIALS_FILE"] = Path.Combine(world.Folder, "credentials"),
            ["Mayfly__GitHub__AppId"] = "7", ["Mayfly__GitHub__Installations"] = "1", ["Mayfly__GitHub__Repositories"] = "o/r", ["Mayfly__Policy"] = "ssm:/mayfly/controller/wrong",
            ["Mayfly__GitHub__PrivateKeyFile"] = Path.Combine(world.Folder, "app.pem"), ["Mayfly__GitHub__WebhookSecretFile"] = Path.Combine(world.Folder, "webhook.secret"),
        };
        var (code, output) = await RunAsync(["--check-config"], settings);
        Assert.Equal(78, code);
        Assert.Contains("Mayfly:Policy='ssm:/mayfly/controller/wrong': it cannot be read: GetParameter: ParameterNotFound", output, StringComparison.Ordinal);
        await PutAsync(world, "/mayfly/controller/wrong", "default:\n  alow: {}", "String");
        (code, output) = await RunAsync(["--check-config"], settings);
        Assert.Equal(78, code);
        Assert.Contains("ssm:/mayfly/controller/wrong, line 2, column 3: default.'alow' is not known", output, StringComparison.Ordinal);
    }

    private static async Task PutAsync(World world, string name, string value, string type = "SecureString")
    {
        using var http = new HttpClient(new Amazon.Runtime.Signing.SigV4SigningHandler(
            new Amazon.Runtime.BasicAWSCredentials(world.Lab.User.Id, world.Lab.User.Secret), Amazon.RegionEndpoint.GetBySystemName(world.Lab.Options.Region), "ssm", new HttpClientHandler()));
        using var request = new HttpRequestMessage(HttpMethod.Post, world.Lab.AwsAddress)
        {
            Content = new StringContent(System.Text.Json.JsonSerializer.Serialize(new { Name = name, Value = value, Type = type, Tier = "Standard" }), new System.Net.Http.Headers.MediaTypeHeaderValue("application/x-amz-json-1.1")),
            Headers = { { "X-Amz-Target", "AmazonSSM.PutParameter" } },
        };
        using var response = await http.SendAsync(request, TestContext.Current.CancellationToken);
        response.EnsureSuccessStatusCode();
    }

    private static async Task<(int ExitCode, string Output)> RunAsync(string[] arguments, Dictionary<string, string> environment)
    {
        var start = new ProcessStartInfo("dotnet");
        start.ArgumentList.Add(Path.Combine(AppContext.BaseDirectory, "mayfly-controller.dll"));
        foreach (var argument in arguments)
            start.ArgumentList.Add(argument);
        start.Environment.Remove("AWS_REGION");
        foreach (var (name, value) in environment)
            start.Environment[name] = value;
        return await Programs.RunAsync(start);
    }
}
