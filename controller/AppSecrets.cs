using System.Security.Cryptography;
using System.Text;

namespace Mayfly.Controller;

/// <summary>What proves GitHub to us and us to GitHub. Read once, from files; changed ones take a restart.</summary>
internal sealed record AppSecrets(RSA Key, byte[] Webhook)
{
    /// <exception cref="SettingsException">A file cannot be used. Names the file, never what it holds.</exception>
    public static AppSecrets Read(Settings settings)
    {
        var webhook = Encoding.UTF8.GetBytes(Text("WebhookSecretFile", settings.WebhookSecretFile).Trim());
        if (webhook.Length == 0) // anyone can sign with an empty secret
            throw Unusable("WebhookSecretFile", settings.WebhookSecretFile, "is empty; write the secret of the App's webhook into it");
        var key = RSA.Create();
        try
        {
            key.ImportFromPem(Text("PrivateKeyFile", settings.PrivateKeyFile));
            return new AppSecrets(key, webhook);
        }
        catch (Exception e) when (e is ArgumentException or CryptographicException)
        {
            key.Dispose();
            throw Unusable("PrivateKeyFile", settings.PrivateKeyFile, "holds no RSA private key in PEM; take the file that GitHub gave for the App");
        }
    }

    private static string Text(string key, string path)
    {
        try
        {
            return File.ReadAllText(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw Unusable(key, path, $"cannot be read: {e.Message}");
        }
    }

    private static SettingsException Unusable(string key, string path, string reason) => new($"Mayfly:GitHub:{key}='{path}': the file {reason}");

    /// <summary>A record would print what it holds.</summary>
    public override string ToString() => "***";
}
