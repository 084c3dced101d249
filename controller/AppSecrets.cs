using System.Security.Cryptography;
using System.Text;

namespace Mayfly.Controller;

/// <summary>What proves GitHub to us and us to GitHub and to the database. Read once, from files or from SSM; changed ones take a
/// restart.</summary>
/// <param name="Webhook">One, or two while the App's is being changed: a delivery signed with either is taken.</param>
/// <param name="DatabasePassword">Null where the database wants none, or finds it by itself.</param>
internal sealed record AppSecrets(RSA Key, IReadOnlyList<byte[]> Webhook, string? DatabasePassword)
{
    private const int MostWebhookSecrets = 2;

    /// <exception cref="SettingsException">One cannot be used. Names where it is, never what it holds.</exception>
    public static async Task<AppSecrets> ReadAsync(Settings settings)
    {
        var webhook = (await ReferredText.ReadAsync("GitHub:WebhookSecretFile", settings.WebhookSecretFile, settings.Region, CancellationToken.None))
            .Split('\n', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries).Select(Encoding.UTF8.GetBytes).ToList();
        if (webhook.Count == 0) // anyone can sign with an empty secret
            throw Unusable("GitHub:WebhookSecretFile", settings.WebhookSecretFile, "is empty; write the secret of the App's webhook into it");
        if (webhook.Count > MostWebhookSecrets)
            throw Unusable("GitHub:WebhookSecretFile", settings.WebhookSecretFile, $"holds {webhook.Count} lines; {MostWebhookSecrets} at most are taken, the new secret and the one before");
        var pem = await ReferredText.ReadAsync("GitHub:PrivateKeyFile", settings.PrivateKeyFile, settings.Region, CancellationToken.None);
        var password = settings.DatabasePasswordFile.Length > 0 ? (await ReferredText.ReadAsync("DatabasePasswordFile", settings.DatabasePasswordFile, settings.Region, CancellationToken.None)).Trim() : null;
        var key = RSA.Create();
        try
        {
            key.ImportFromPem(pem);
            return new AppSecrets(key, webhook, password);
        }
        catch (Exception e) when (e is ArgumentException or CryptographicException)
        {
            key.Dispose();
            throw Unusable("GitHub:PrivateKeyFile", settings.PrivateKeyFile, "holds no RSA private key in PEM; take the file that GitHub gave for the App");
        }
    }

    private static SettingsException Unusable(string key, string path, string reason) => new($"Mayfly:{key}='{path}': it {reason}");

    /// <summary>A record would print what it holds.</summary>
    public override string ToString() => "***";
}
