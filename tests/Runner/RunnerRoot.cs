using System.Security.Cryptography;
using System.Text.Json;

namespace Mayfly.StandIn;

/// <summary>
/// The runner's root: the parent of the real folder that the program lies in, links resolved. Its three files are read
/// here and deleted after the one job.
/// </summary>
internal sealed class RunnerRoot
{
    private static readonly string[] ConfigFiles = [".runner", ".credentials", ".credentials_rsaparams"];

    private readonly JsonElement _settings;
    private readonly JsonElement _credentials;

    private RunnerRoot(string path, JsonElement settings, JsonElement credentials, RSA key)
    {
        (Path, _settings, _credentials, Key) = (path, settings, credentials, key);
    }

    public string Path { get; }

    public RSA Key { get; }

    public string AgentId => Text(_settings, "AgentId");

    public bool RequiresFips =>
        _credentials.GetProperty("data").TryGetProperty("requireFipsCryptography", out var value) && bool.TryParse(value.ToString(), out var required) && required;

    public string AgentName => Text(_settings, "AgentName");

    public Uri Server => new(Text(_settings, "ServerUrlV2"));

    /// <summary>What the lab wants this runner to do wrong; empty for nothing.</summary>
    public string Fault => _settings.TryGetProperty("mayfly.lab.fault", out var fault) ? fault.ToString() : "";

    public string ClientId => Text(_credentials.GetProperty("data"), "clientId");

    public Uri AuthorizationUrl => new(Text(_credentials.GetProperty("data"), "authorizationUrl"));

    public string Work => System.IO.Path.GetFullPath(System.IO.Path.Combine(Path, Text(_settings, "WorkFolder")));

    public static string Find() =>
        System.IO.Path.GetDirectoryName(System.IO.Path.GetDirectoryName(new FileInfo(Environment.ProcessPath!).ResolveLinkTarget(true)?.FullName ?? Environment.ProcessPath!)!)!;

    /// <summary>Null if the runner is not configured.</summary>
    public static RunnerRoot? Read(string path)
    {
        if (ConfigFiles.Any(name => !File.Exists(System.IO.Path.Combine(path, name))))
            return null;
        using var key = JsonDocument.Parse(File.ReadAllBytes(System.IO.Path.Combine(path, ConfigFiles[2])));
        byte[] Number(string name) => key.RootElement.GetProperty(name).GetBytesFromBase64();
        return new RunnerRoot(path, Json(ConfigFiles[0]), Json(ConfigFiles[1]), RSA.Create(new RSAParameters
        {
            D = Number("d"), DP = Number("dp"), DQ = Number("dq"), Exponent = Number("exponent"), InverseQ = Number("inverseQ"),
            Modulus = Number("modulus"), P = Number("p"), Q = Number("q"),
        }));

        JsonElement Json(string name)
        {
            using var document = JsonDocument.Parse(File.ReadAllBytes(System.IO.Path.Combine(path, name)));
            return document.RootElement.Clone();
        }
    }

    /// <summary>False if a file could not be deleted.</summary>
    public bool DeleteConfig()
    {
        try
        {
            foreach (var name in ConfigFiles)
                File.Delete(System.IO.Path.Combine(Path, name));
            return true;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    private static string Text(JsonElement from, string name) => from.GetProperty(name).ToString();
}
