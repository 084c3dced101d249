using System.Text;
using Mayfly.Aws;

namespace Mayfly.Controller;

/// <summary>A text by reference: the file that holds it, or <c>ssm:</c> and the name of a parameter in Parameter Store, for where
/// no file can be mounted.</summary>
internal static class ReferredText
{
    private const string Scheme = "ssm:";

    /// <summary>End of one try.</summary>
    private static readonly TimeSpan CallLimit = TimeSpan.FromSeconds(15);

    public static bool IsParameter(string reference) => reference.StartsWith(Scheme, StringComparison.Ordinal);

    public static bool IsReference(string text) => IsParameter(text) ? text.Length > Scheme.Length : File.Exists(text);

    /// <exception cref="SettingsException">It cannot be read: names the setting and the reference, never what it holds.</exception>
    /// <exception cref="HttpRequestException">SSM cannot be reached.</exception>
    /// <exception cref="TimeoutException">It did not answer in time.</exception>
    public static async Task<string> ReadAsync(string key, string reference, string region, CancellationToken cancel)
    {
        if (IsParameter(reference))
        {
            using var connection = AwsConnection.To("ssm", region, (await KeyChain.FindAsync()).KeysAsync, CallLimit, TimeProvider.System);
            return await ReadParameterAsync(key, reference, new SsmClient(connection), cancel);
        }

        try
        {
            return await File.ReadAllTextAsync(reference, cancel);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw Unreadable(key, reference, e);
        }
    }

    /// <inheritdoc cref="ReadAsync"/>
    public static async Task<string> ReadParameterAsync(string key, string reference, SsmClient ssm, CancellationToken cancel)
    {
        try
        {
            // What is no SecureString is answered as it is.
            using var text = await ssm.GetDecryptedAsync(reference[Scheme.Length..], cancel);
            return Encoding.UTF8.GetString(text.Reveal());
        }
        catch (Exception e) when (e is AwsException or InvalidDataException)
        {
            throw Unreadable(key, reference, e);
        }
    }

    private static SettingsException Unreadable(string key, string reference, Exception why) => new($"Mayfly:{key}='{reference}': it cannot be read: {why.Message}");
}
