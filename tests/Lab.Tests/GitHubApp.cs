using System.Buffers.Text;
using System.Net;
using System.Net.Http.Headers;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using Mayfly.Lab.GitHub;

namespace Mayfly.Lab.Tests;

/// <summary>A GitHub App that calls the lab as any App calls GitHub.</summary>
internal sealed class GitHubApp(Lab lab) : IDisposable
{
    private readonly HttpClient _http = new() { BaseAddress = lab.GitHubAddress };

    private GitHubOptions Options => lab.Options.GitHub;

    public string Repository => $"/repos/{Options.FullName}";

    /// <summary>A token as an App signs it; every part can be made wrong.</summary>
    public string Assert(int issuedAgo = 30, int expiresIn = 540, RSA? key = null, string? issuer = null)
    {
        var now = lab.Options.Time.GetUtcNow().ToUnixTimeSeconds();
        var body = Encode("""{"alg":"RS256","typ":"JWT"}""") + "."
            + Encode(new JsonObject { ["iat"] = now - issuedAgo, ["exp"] = now + expiresIn, ["iss"] = issuer ?? $"{Options.AppId}" }.ToJsonString());
        return body + "." + Base64Url.EncodeToString((key ?? Options.AppKey).SignData(Encoding.ASCII.GetBytes(body), HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1));
    }

    public async Task<string> TokenAsync(long? installation = null)
    {
        var (status, answer) = await CallAsync(HttpMethod.Post, $"/app/installations/{installation ?? Options.InstallationId}/access_tokens", Assert());
        Xunit.Assert.Equal(HttpStatusCode.Created, status);
        return answer!["token"]!.ToString();
    }

    public async Task<(HttpStatusCode Status, JsonObject? Answer)> CallAsync(HttpMethod method, string path, string? bearer, JsonNode? body = null, bool withUserAgent = true)
    {
        var (status, answer, _) = await SendAsync(method, path, bearer, body, withUserAgent);
        return (status, answer as JsonObject);
    }

    /// <summary>With the answer's headers, and answers that are lists.</summary>
    public async Task<(HttpStatusCode Status, JsonNode? Answer, IReadOnlyDictionary<string, string> Headers)> SendAsync(
        HttpMethod method, string path, string? bearer, JsonNode? body = null, bool withUserAgent = true)
    {
        using var request = new HttpRequestMessage(method, path);
        if (withUserAgent)
            request.Headers.Add("User-Agent", "lab-tests");
        if (bearer is not null)
            request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", bearer);
        if (body is not null)
            request.Content = new StringContent(body.ToJsonString(), Encoding.UTF8, "application/json");
        using var response = await _http.SendAsync(request, TestContext.Current.CancellationToken);
        var text = await response.Content.ReadAsStringAsync(TestContext.Current.CancellationToken);
        return (response.StatusCode, text.Length == 0 ? null : JsonNode.Parse(text),
            response.Headers.ToDictionary(h => h.Key, h => string.Join(", ", h.Value), StringComparer.OrdinalIgnoreCase));
    }

    /// <summary>The address of the next page; null on the last.</summary>
    public static string? NextOf(IReadOnlyDictionary<string, string> headers) => headers.GetValueOrDefault("Link")?.Split(", ")
        .Where(l => l.EndsWith("rel=\"next\"", StringComparison.Ordinal)).Select(l => l[1..l.IndexOf('>', StringComparison.Ordinal)]).SingleOrDefault();

    public async Task<(HttpStatusCode Status, JsonObject? Answer)> RegisterAsync(string token, string name, params string[] labels) =>
        await CallAsync(HttpMethod.Post, $"{Repository}/actions/runners/generate-jitconfig", token, Request(name, labels));

    public static JsonObject Request(string name, params string[] labels) => new()
    {
        ["name"] = name, ["runner_group_id"] = 1, ["labels"] = new JsonArray([.. labels.Select(l => JsonValue.Create(l))]), ["work_folder"] = "_work",
    };

    public void Dispose() => _http.Dispose();

    private static string Encode(string json) => Base64Url.EncodeToString(Encoding.UTF8.GetBytes(json));
}
