using System.Buffers.Text;
using System.Net;
using System.Net.Http.Headers;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Mayfly.StandIn;

/// <summary>The service refused; <see cref="Status"/> and <see cref="Kind"/> tell how.</summary>
internal sealed class ServiceException(HttpStatusCode status, string path, string kind, string message) : Exception(message)
{
    public HttpStatusCode Status { get; } = status;

    public string Path { get; } = path;

    /// <summary>The broker's word for it, or OAuth's; empty if there is none.</summary>
    public string Kind { get; } = kind;
}

/// <summary>The runner's side of GitHub's V2 protocol.</summary>
internal sealed class Service(RunnerRoot root, string version, TimeProvider time) : IDisposable
{
    /// <summary>As the official one, it waits for an answer as long as the connection lasts.</summary>
    private readonly HttpClient _http = new() { Timeout = Timeout.InfiniteTimeSpan };
    private string? _session;

    public async Task ConnectAsync(CancellationToken cancel)
    {
        var now = time.GetUtcNow().ToUnixTimeSeconds();
        var (algorithm, padding) = root.RequiresFips ? ("PS256", RSASignaturePadding.Pss) : ("RS256", RSASignaturePadding.Pkcs1);
        var head = Encode(new JsonObject { ["typ"] = "JWT", ["alg"] = algorithm });
        var claims = Encode(new JsonObject
        {
            ["sub"] = root.ClientId, ["iss"] = root.ClientId, ["jti"] = $"{Guid.NewGuid()}", ["aud"] = root.AuthorizationUrl.AbsoluteUri,
            ["nbf"] = now, ["exp"] = now + 300,
        });
        var signature = Base64Url.EncodeToString(root.Key.SignData(Encoding.ASCII.GetBytes($"{head}.{claims}"), HashAlgorithmName.SHA256, padding));
        using var content = new FormUrlEncodedContent(new Dictionary<string, string>
        {
            ["grant_type"] = "client_credentials", ["client_assertion_type"] = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            ["client_assertion"] = $"{head}.{claims}.{signature}",
        });
        var answer = await SendAsync(HttpMethod.Post, root.AuthorizationUrl, content, cancel);
        _http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", (string?)answer?["access_token"]);
    }

    public async Task OpenSessionAsync(CancellationToken cancel)
    {
        var answer = await PostAsync(new Uri(root.Server, "session"), new JsonObject
        {
            ["ownerName"] = $"{Dns.GetHostName()} (PID: {Environment.ProcessId})",
            ["agent"] = new JsonObject { ["id"] = root.AgentId, ["name"] = root.AgentName, ["version"] = version, ["osDescription"] = Environment.OSVersion.VersionString },
            ["useFipsEncryption"] = true,
        }, cancel);
        _session = (string?)answer?["sessionId"];
    }

    /// <summary>The next message, or null if there was nothing to say for a while.</summary>
    public async Task<JsonObject?> NextMessageAsync(bool busy, CancellationToken cancel) => await SendAsync(HttpMethod.Get,
        new Uri(root.Server, $"message?sessionId={_session}&status={(busy ? "Busy" : "Online")}&runnerVersion={version}&os=Linux&architecture=X64&disableUpdate=true"), null, cancel);

    public Task AcknowledgeAsync(string requestId, CancellationToken cancel) =>
        PostAsync(new Uri(root.Server, "acknowledge"), new JsonObject { ["runnerRequestId"] = requestId }, cancel);

    /// <param name="bearer">A job's token; the listener's own if null.</param>
    public async Task<JsonObject?> PostAsync(Uri address, JsonObject body, CancellationToken cancel, string? bearer = null)
    {
        using var content = new StringContent(body.ToJsonString(), Encoding.UTF8, "application/json");
        return await SendAsync(HttpMethod.Post, address, content, cancel, bearer);
    }

    public async Task UploadAsync(Uri address, string text, CancellationToken cancel)
    {
        using var content = new StringContent(text);
        content.Headers.Add("x-ms-blob-type", "BlockBlob");
        await SendAsync(HttpMethod.Put, address, content, cancel);
    }

    public async Task CloseSessionAsync()
    {
        try
        {
            using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(60), time);
            await SendAsync(HttpMethod.Delete, new Uri(root.Server, "session"), null, limit.Token);
        }
        catch (Exception e) when (e is HttpRequestException or ServiceException or OperationCanceledException)
        {
            // an ephemeral runner's session ends with its registration
        }
    }

    public void Dispose() => _http.Dispose();

    private async Task<JsonObject?> SendAsync(HttpMethod method, Uri address, HttpContent? content, CancellationToken cancel, string? bearer = null)
    {
        using var request = new HttpRequestMessage(method, address) { Content = content };
        if (bearer is not null)
            request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", bearer);
        using var response = await _http.SendAsync(request, cancel);
        var text = await response.Content.ReadAsStringAsync(cancel);
        var isJson = response.Content.Headers.ContentType?.MediaType == "application/json";
        var answer = isJson && text.Length > 0 ? JsonNode.Parse(text) as JsonObject : null;
        if (!response.IsSuccessStatusCode)
        {
            throw new ServiceException(response.StatusCode, address.AbsolutePath, (string?)(answer?["errorKind"] ?? answer?["error"]) ?? "",
                $"{method} {address.AbsolutePath}: {(int)response.StatusCode}");
        }

        return answer;
    }

    private static string Encode(JsonObject part) => Base64Url.EncodeToString(Encoding.UTF8.GetBytes(part.ToJsonString()));
}
