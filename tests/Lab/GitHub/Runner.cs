using System.Security.Cryptography;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Mayfly.Lab.GitHub;

/// <summary>A registered just-in-time runner.</summary>
/// <param name="sharedKey">Null for a key of its own.</param>
internal sealed class Runner(long id, string name, IReadOnlyList<string> labels, string workFolder, RSA? sharedKey = null) : IDisposable
{
    /// <summary>The plus signs of base64 stay as they are: escaped, they would make the configuration longer than GitHub's.</summary>
    private static readonly JsonSerializerOptions Plain = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    public long Id { get; } = id;
    public string Name { get; } = name;
    public IReadOnlyList<string> Labels { get; } = labels;
    public RSA Key { get; } = sharedKey ?? RSA.Create(2048);

    /// <summary>Where it is registered: <c>repos/owner/name</c> or <c>orgs/owner</c>.</summary>
    public string Scope { get; init; } = "";

    public DateTimeOffset Registered { get; init; }

    public Guid ClientId { get; } = Guid.NewGuid();

    /// <summary>Bearer token of its session, once it has one.</summary>
    public string? AccessToken { get; set; }

    public Guid? Session { get; set; }
    public bool Listened { get; set; }
    public Job? Job { get; set; }

    /// <summary>Its registration is gone: it gets no more tokens and no job. What it has begun it may end.</summary>
    public bool IsRemoved { get; set; }

    /// <summary>One of <see cref="RunnerFault"/>.</summary>
    public string? Fault { get; set; }

    public Uri AuthorizationUrl(Uri server) => new(server, $"_apis/oauth2/token/{ClientId}");

    /// <summary>GitHub's encoded_jit_config: base64 of a JSON object of three files, each in base64.</summary>
    public string EncodeJitConfig(Uri server)
    {
        var parameters = Key.ExportParameters(includePrivateParameters: true);
        JsonObject files = new()
        {
            [".runner"] = File(new JsonObject
            {
                ["AgentId"] = $"{Id}", ["AgentName"] = Name, ["PoolId"] = "1", ["PoolName"] = "Default", ["Ephemeral"] = "true", ["DisableUpdate"] = "true",
                // Were ServerUrl another, the runner would connect to the older service there as well.
                ["ServerUrl"] = new Uri(server, "broker/").AbsoluteUri, ["ServerUrlV2"] = new Uri(server, "broker/").AbsoluteUri,
                ["UseV2Flow"] = "true", ["WorkFolder"] = workFolder, [RunnerFault.Variable] = Fault ?? "",
            }),
            [".credentials"] = File(new JsonObject
            {
                ["scheme"] = "OAuth",
                ["data"] = new JsonObject
                {
                    ["clientId"] = $"{ClientId}", ["authorizationUrl"] = AuthorizationUrl(server).AbsoluteUri, ["requireFipsCryptography"] = "True",
                },
            }),
            [".credentials_rsaparams"] = File(new JsonObject
            {
                ["d"] = Text(parameters.D), ["dp"] = Text(parameters.DP), ["dq"] = Text(parameters.DQ), ["exponent"] = Text(parameters.Exponent),
                ["inverseQ"] = Text(parameters.InverseQ), ["modulus"] = Text(parameters.Modulus), ["p"] = Text(parameters.P), ["q"] = Text(parameters.Q),
            }),
        };
        return File(files);
    }

    /// <summary>It may take the job: it is of the job's repository or organisation, and bears all its labels.</summary>
    public bool Serves(Job job) => (Scope == $"repos/{job.Repository}" || Scope == $"orgs/{job.Repository.Split('/')[0]}")
        && job.Labels.All(l => Labels.Contains(l, StringComparer.OrdinalIgnoreCase));

    public void Dispose()
    {
        if (sharedKey is null)
            Key.Dispose();
    }

    private static string File(JsonObject content) => Convert.ToBase64String(JsonSerializer.SerializeToUtf8Bytes(content, Plain));

    private static string Text(byte[]? number) => Convert.ToBase64String(number ?? []);
}
