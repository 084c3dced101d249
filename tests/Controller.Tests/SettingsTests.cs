using Microsoft.Extensions.Configuration;

namespace Mayfly.Controller.Tests;

public sealed class SettingsTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("mayfly-settings-").FullName;
    private readonly Dictionary<string, string?> _good;

    public SettingsTests()
    {
        Environment.SetEnvironmentVariable("AWS_REGION", "eu-central-1");
        using var key = System.Security.Cryptography.RSA.Create(2048);
        System.IO.File.WriteAllText(Path.Combine(_folder, "app.pem"), key.ExportRSAPrivateKeyPem());
        System.IO.File.WriteAllText(Path.Combine(_folder, "secret"), "a secret\n");
        System.IO.File.WriteAllText(Path.Combine(_folder, "empty"), " \n");
        _good = new()
        {
            ["Mayfly:GitHub:AppId"] = "7", ["Mayfly:GitHub:PrivateKeyFile"] = Path.Combine(_folder, "app.pem"), ["Mayfly:GitHub:WebhookSecretFile"] = Path.Combine(_folder, "secret"),
            ["Mayfly:GitHub:Installations"] = "1, 2", ["Mayfly:GitHub:Repositories"] = "octo-org/octo-repo,other/*",
        };
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void What_is_not_set_has_a_default()
    {
        var settings = From();
        Assert.Equal(new Uri("https://api.github.com/"), settings.GitHubApi);
        Assert.Equal([1, 2], settings.Installations);
        Assert.Equal(("mayfly", "mayfly", 1), (settings.Label, settings.LaunchTemplate, settings.RunnerGroup));
        Assert.Empty(settings.InstanceTypes);
    }

    [Theory]
    [InlineData("https://github.example.com/api/v3")]
    [InlineData("https://github.example.com/api/v3/")]
    public void The_path_of_an_Enterprise_Server_is_kept(string address) =>
        Assert.Equal(new Uri("https://github.example.com/api/v3/repos/o/r"), new Uri(From(("GitHub:Api", address)).GitHubApi, "repos/o/r"));

    [Theory]
    [InlineData("GitHub:AppId", "")]
    [InlineData("GitHub:AppId", "Iv1.abc")]
    [InlineData("GitHub:Api", "ftp://github.example.com")]
    [InlineData("GitHub:PrivateKeyFile", "/nowhere/app.pem")]
    [InlineData("GitHub:Installations", "mine")]
    [InlineData("GitHub:Installations", " , ")]
    [InlineData("GitHub:Repositories", "octo-repo")]
    [InlineData("GitHub:Repositories", "a/b/c")]
    [InlineData("Config", "user-data")]
    [InlineData("IdleTimeout", "0")]
    [InlineData("JobTimeout", "432001")]
    [InlineData("MaxBody", "-1")]
    public void A_wrong_setting_is_named_with_its_value(string key, string value)
    {
        var message = Assert.Throws<SettingsException>(() => From((key, value))).Message;
        Assert.Contains($"Mayfly:{key}", message, StringComparison.Ordinal);
        Assert.Contains(value.Split(',')[0].Trim(), message, StringComparison.Ordinal);
        Assert.Contains("docs/controller.md", message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_setting_that_there_is_not_is_named_without_its_value()
    {
        var message = Assert.Throws<SettingsException>(() => From(("GitHub:WebhookSecret", "a secret"))).Message;
        Assert.Contains("Mayfly:GitHub:WebhookSecret is not a setting", message, StringComparison.Ordinal);
        Assert.DoesNotContain("a secret", message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("octo-org/octo-repo", true)]
    [InlineData("Octo-Org/Octo-Repo", true)]
    [InlineData("other/anything", true)]
    [InlineData("octo-org/octo-repo-2", false)]
    [InlineData("others/anything", false)]
    [InlineData("other", false)]
    public void Only_listed_repositories_are_served(string repository, bool served) => Assert.Equal(served, From().Lists(repository));

    [Fact]
    public async Task Secrets_are_read_and_not_printed()
    {
        var secrets = await AppSecrets.ReadAsync(From());
        Assert.Equal("a secret"u8.ToArray(), Assert.Single(secrets.Webhook));
        Assert.Equal("***", $"{secrets}");
    }

    [Fact]
    public async Task While_the_webhooks_secret_is_being_changed_the_file_holds_both()
    {
        await File.WriteAllTextAsync(Path.Combine(_folder, "secret"), "the new one\nthe one before\n", TestContext.Current.CancellationToken);
        Assert.Equal(["the new one"u8.ToArray(), "the one before"u8.ToArray()], (await AppSecrets.ReadAsync(From())).Webhook);
        await File.WriteAllTextAsync(Path.Combine(_folder, "secret"), "one\ntwo\nthree\n", TestContext.Current.CancellationToken);
        Assert.Contains("holds 3 lines", (await Assert.ThrowsAsync<SettingsException>(() => AppSecrets.ReadAsync(From()))).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("GitHub:WebhookSecretFile", "empty", "is empty")]
    [InlineData("GitHub:PrivateKeyFile", "secret", "holds no RSA private key")]
    [InlineData("GitHub:PrivateKeyFile", "empty", "holds no RSA private key")]
    public async Task A_secret_that_cannot_be_used_is_named_by_its_file_alone(string key, string file, string reason)
    {
        var message = (await Assert.ThrowsAsync<SettingsException>(() => AppSecrets.ReadAsync(From((key, Path.Combine(_folder, file)))))).Message;
        Assert.Contains($"Mayfly:{key}", message, StringComparison.Ordinal);
        Assert.Contains(reason, message, StringComparison.Ordinal);
        Assert.DoesNotContain("a secret", message, StringComparison.Ordinal);
    }

    private Settings From(params (string Key, string Value)[] changes)
    {
        foreach (var (key, value) in changes)
            _good[$"Mayfly:{key}"] = value;
        return Settings.From(new ConfigurationBuilder().AddInMemoryCollection(_good).Build());
    }
}
