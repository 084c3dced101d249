using System.Text.Json;

namespace Mayfly.Contract;

/// <summary>
/// The three files that a just-in-time configuration consists of. The official runner started with
/// <c>--jitconfig</c> does nothing but write them into its root folder; Mayfly writes them itself, so that
/// the secret stands neither in a command line nor in an environment.
/// </summary>
public sealed class RunnerFiles : IDisposable
{
    public const string SettingsName = ".runner";
    public const string CredentialsName = ".credentials";
    public const string KeyName = ".credentials_rsaparams";

    /// <summary>The only names accepted. The official runner turns every key of the JSON into a path, unchecked.</summary>
    public static readonly IReadOnlyList<string> Names = [SettingsName, CredentialsName, KeyName];

    /// <summary>Contents in the order of <see cref="Names"/>.</summary>
    public IReadOnlyList<Secret> Contents { get; }

    public RunnerFiles(Secret settings, Secret credentials, Secret key) => Contents = [settings, credentials, key];

    /// <summary>
    /// Reads what GitHub answers as <c>encoded_jit_config</c>: base64 of a JSON object whose keys are file names
    /// and whose values are the files in base64.
    /// </summary>
    /// <exception cref="EnvelopeException">Not base64, not JSON, or not exactly the three files. Names no content.</exception>
    public static RunnerFiles ParseJitConfig(string encodedJitConfig)
    {
        byte[] json;
        try
        {
            json = Convert.FromBase64String(encodedJitConfig);
        }
        catch (FormatException)
        {
            throw new EnvelopeException(EnvelopeFault.Malformed, "GitHub's encoded_jit_config is not base64");
        }

        var contents = new Secret?[Names.Count];
        try
        {
            var reader = new Utf8JsonReader(json);
            if (!reader.Read() || reader.TokenType != JsonTokenType.StartObject)
                throw NotThreeFiles();
            while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
            {
                var index = IndexOfName(ref reader);
                if (index < 0 || contents[index] is not null || !reader.Read() || reader.TokenType != JsonTokenType.String
                    || !reader.TryGetBytesFromBase64(out var bytes))
                    throw NotThreeFiles();
                contents[index] = new Secret(bytes);
            }
        }
        catch (JsonException)
        {
            // The reader's own message quotes the text it stumbled over.
            throw NotThreeFiles();
        }
        finally
        {
            System.Security.Cryptography.CryptographicOperations.ZeroMemory(json);
        }

        return contents is [{ } settings, { } credentials, { } key]
            ? new RunnerFiles(settings, credentials, key)
            : throw NotThreeFiles();
    }

    public void Dispose()
    {
        foreach (var content in Contents)
            content.Dispose();
    }

    private static int IndexOfName(ref Utf8JsonReader reader)
    {
        for (var i = 0; i < Names.Count; i++)
        {
            if (reader.ValueTextEquals(Names[i]))
                return i;
        }

        return -1;
    }

    private static EnvelopeException NotThreeFiles() =>
        new(EnvelopeFault.Malformed, $"GitHub's encoded_jit_config is not a JSON object of exactly {string.Join(", ", Names)}");
}
