using System.Text;
using Mayfly.Aws;

namespace Mayfly.Controller;

/// <summary>A secret by reference: the file that holds it, or <c>ssm:</c> and the name of a SecureString in Parameter Store, for
/// where no file can be mounted.</summary>
internal static class SecretText
{
    private const string Scheme = "ssm:";

    /// <summary>End of one try.</summary>
    private static readonly TimeSpan CallLimit = TimeSpan.FromSeconds(15);

    public static bool IsReference(string text) => text.StartsWith(Scheme, StringComparison.Ordinal) ? text.Length > Scheme.Length : File.Exists(text);

    /// <exception cref="SettingsException">It cannot be read: names the setting and the reference, never what it holds.</exception>
    public static async Task<string> ReadAsync(string key, string reference, string region)
    {
        try
        {
            if (!reference.StartsWith(Scheme, StringComparison.Ordinal))
                return await File.ReadAllTextAsync(reference);
            using var connection = AwsConnection.To("ssm", region, (await KeyChain.FindAsync()).KeysAsync, CallLimit, TimeProvider.System);
            using var secret = await new SsmClient(connection).GetDecryptedAsync(reference[Scheme.Length..], CancellationToken.None);
            return Encoding.UTF8.GetString(secret.Reveal());
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or AwsException)
        {
            throw new SettingsException($"Mayfly:{key}='{reference}': it cannot be read: {e.Message}");
        }
    }
}
