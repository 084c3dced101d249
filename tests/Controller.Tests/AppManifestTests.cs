using System.Diagnostics;
using System.Net;
using System.Text.Json;
using System.Text.Json.Nodes;
using Mayfly.Lab.GitHub;

namespace Mayfly.Controller.Tests;

/// <summary>The App's manifest, and the script that makes the App from it.</summary>
public sealed class AppManifestTests
{
    private static readonly string Deploy = Path.Combine(AwsCalls.Repository(), "controller", "deploy");

    /// <summary>The lab refuses a call whose permission the App has not; the controller registers runners with repositories, so
    /// the organisation's permission is the lab's alone.</summary>
    [Fact]
    public void The_App_asks_for_what_the_lab_allows_it()
    {
        var manifest = JsonNode.Parse(File.ReadAllText(Path.Combine(Deploy, "github-app.json")))!;
        var asked = manifest["default_permissions"]!.AsObject().ToDictionary(p => p.Key, p => (string)p.Value!);
        Assert.Equal(new GitHubOptions().Permissions.Where(p => p.Key != "organization_self_hosted_runners").OrderBy(p => p.Key, StringComparer.Ordinal), asked.OrderBy(p => p.Key, StringComparer.Ordinal));
        Assert.Equal("""["workflow_job"]""", manifest["default_events"]!.ToJsonString());
    }

    [Fact]
    public async Task The_page_hands_the_manifest_to_GitHub_under_a_name()
    {
        var (code, page) = await RunAsync([], "page", "my-mayfly", "octo-org");
        Assert.True(code == 0, page);
        Assert.Contains("https://github.com/organizations/octo-org/settings/apps/new", page, StringComparison.Ordinal);
        var value = WebUtility.HtmlDecode(page.Split("name=\"manifest\" value=\"")[1].Split('"')[0]);
        Assert.Equal("my-mayfly", (string?)JsonNode.Parse(value)!["name"]);
    }

    [Fact]
    public async Task The_Apps_secrets_go_to_SSM_and_are_shown_to_nobody()
    {
        Assert.SkipUnless(File.Exists("/usr/bin/curl") && Environment.GetEnvironmentVariable("PATH")!.Split(':').Any(p => File.Exists(Path.Combine(p, "aws"))), "curl or the AWS CLI is missing");
        await using var world = await World.StartAsync(controller: false);
        var credentials = Path.Combine(world.Folder, "credentials");
        await File.WriteAllTextAsync(credentials, $"[default]\naws_access_key_id={world.Lab.User.Id}\naws_secret_access_key={world.Lab.User.Secret}\n", TestContext.Current.CancellationToken);
        using var github = new HttpListener();
        var address = $"http://127.0.0.1:{Mayfly.Lab.ControllerProcess.FreePort()}";
        github.Prefixes.Add(address + "/");
        github.Start();
        var conversion = ConvertAsync(github);

        var (code, output) = await RunAsync(
            new() { ["GITHUB_API"] = address, ["AWS_ENDPOINT_URL_SSM"] = world.Lab.AwsAddress.AbsoluteUri, ["AWS_REGION"] = world.Lab.Options.Region, ["AWS_SHARED_CREDENTIALS_FILE"] = credentials }, "keep", "a-code");
        Assert.True(code == 0, output);
        Assert.Equal("POST /app-manifests/a-code/conversions", await conversion);
        Assert.Equal(
            new Dictionary<string, string> { ["/mayfly/controller/app-key"] = "the key\nof the App", ["/mayfly/controller/webhook-secret"] = "the secret" },
            world.Lab.Ssm.Parameters.ToDictionary(p => p.Name, p => p.Value));
        Assert.All(world.Lab.Ssm.Parameters, p => Assert.Equal("SecureString", p.Type));
        Assert.Contains("App 4711", output, StringComparison.Ordinal);
        Assert.DoesNotContain("the key", output, StringComparison.Ordinal);
        Assert.DoesNotContain("the secret", output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_is_no_code_is_refused_by_its_value()
    {
        var (code, output) = await RunAsync([], "keep", "../../user");
        Assert.Equal((64, true), (code, output.Contains("'../../user' is not a code", StringComparison.Ordinal)));
    }

    /// <summary>GitHub's one answer. https://docs.github.com/rest/apps/apps#create-a-github-app-from-a-manifest</summary>
    private static async Task<string> ConvertAsync(HttpListener github)
    {
        var call = await github.GetContextAsync().WaitAsync(World.Limit, TestContext.Current.CancellationToken);
        call.Response.StatusCode = 201;
        await using (var body = call.Response.OutputStream)
            await JsonSerializer.SerializeAsync(body, new { id = 4711, html_url = "https://github.com/apps/my-mayfly", pem = "the key\nof the App", webhook_secret = "the secret" }, cancellationToken: TestContext.Current.CancellationToken);
        return $"{call.Request.HttpMethod} {call.Request.Url!.AbsolutePath}";
    }

    private static async Task<(int ExitCode, string Output)> RunAsync(Dictionary<string, string> environment, params string[] arguments)
    {
        var start = new ProcessStartInfo(Path.Combine(Deploy, "github-app.sh"), arguments);
        foreach (var (name, value) in environment)
            start.Environment[name] = value;
        return await Programs.RunAsync(start);
    }
}
