using System.Buffers.Text;
using System.Collections.Concurrent;
using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;
using Mayfly.Contract;

namespace Mayfly.Controller;

/// <summary>GitHub refused a call.</summary>
internal sealed class GitHubException(string call, HttpStatusCode status, string message, bool isRateLimit) : Exception($"GitHub {call}: {(int)status} {message}")
{
    public HttpStatusCode Status { get; } = status;

    /// <summary>A limit of GitHub's is reached, for now.</summary>
    public bool IsRateLimit { get; } = isRateLimit;

    /// <summary>Asking again makes no difference. GitHub also answers 403 when its rate limits are reached, which pass.</summary>
    public bool IsFinal => !IsRateLimit && Status is HttpStatusCode.NotFound or HttpStatusCode.Forbidden or HttpStatusCode.UnprocessableEntity;
}

/// <summary>A runner that was registered for one job, with its configuration.</summary>
internal sealed record RegisteredRunner(long Id, RunnerFiles Files) : IDisposable
{
    public void Dispose() => Files.Dispose();
}

/// <summary>
/// The App's calls to GitHub. The App proves itself by a token that it signs (RS256), gets a token for one installation
/// with it, and keeps that until shortly before it expires. https://docs.github.com/rest/actions/self-hosted-runners
/// </summary>
internal sealed class GitHubApp(HttpClient http, Settings settings, RSA key, TimeProvider time) : IDisposable
{
    /// <summary>GitHub allows ten minutes; a clock that runs ahead must not make the end too far away.</summary>
    private static readonly TimeSpan AppTokenLifetime = TimeSpan.FromMinutes(9);

    /// <summary>A token is renewed this long before it expires, so that none expires on its way.</summary>
    private static readonly TimeSpan RenewBefore = TimeSpan.FromMinutes(5);

    /// <summary>A call that would have to wait longer for GitHub's limits is not made.</summary>
    private static readonly TimeSpan MostWait = TimeSpan.FromSeconds(30);

    /// <summary>Tries of a call that GitHub refuses for its limits, each after the pause that GitHub asks for.</summary>
    private const int Tries = 3;

    private readonly ConcurrentDictionary<long, GitHubPace> _paces = new();
    private readonly SemaphoreSlim _renewing = new(1);
    private readonly Dictionary<long, (string Token, DateTimeOffset Expires)> _tokens = [];

    /// <summary>How many calls GitHub takes from an installation.</summary>
    public GitHubPace PaceOf(long installation) => _paces.GetOrAdd(installation, _ => new GitHubPace(settings, time));

    /// <summary>Registers a just-in-time runner for one job.</summary>
    /// <exception cref="GitHubException">409: the name is in use.</exception>
    public async Task<RegisteredRunner> RegisterAsync(Repo repo, string name, IReadOnlyList<string> labels, CancellationToken cancel)
    {
        var answer = await CallAsync(repo.Installation, HttpMethod.Post, $"repos/{repo.FullName}/actions/runners/generate-jitconfig",
            new JitRequest(name, settings.RunnerGroup, labels, "_work"), GitHubJson.Default.JitRequest, GitHubJson.Default.JitAnswer, cancel);
        try
        {
            return new RegisteredRunner(answer!.Runner.Id, RunnerFiles.ParseJitConfig(answer.EncodedJitConfig));
        }
        catch (EnvelopeException)
        {
            await DeleteRunnerAsync(repo, answer!.Runner.Id, cancel);
            throw;
        }
    }

    /// <summary>Removes a runner; one that is gone is no error.</summary>
    /// <returns>False if it runs a job: GitHub keeps it then.</returns>
    public async Task<bool> DeleteRunnerAsync(Repo repo, long runnerId, CancellationToken cancel)
    {
        try
        {
            await CallAsync(repo.Installation, HttpMethod.Delete, string.Create(CultureInfo.InvariantCulture, $"repos/{repo.FullName}/actions/runners/{runnerId}"),
                null, GitHubJson.Default.JitRequest, GitHubJson.Default.JitAnswer, cancel);
        }
        catch (GitHubException e) when (e.Status == HttpStatusCode.NotFound)
        {
        }
        catch (GitHubException e) when (e.Status == HttpStatusCode.UnprocessableEntity)
        {
            return false;
        }

        return true;
    }

    /// <summary>Whether the job still waits for a runner; one that GitHub no longer knows does not.</summary>
    public async Task<bool> IsQueuedAsync(Repo repo, long job, CancellationToken cancel)
    {
        try
        {
            var answer = await CallAsync(repo.Installation, HttpMethod.Get, string.Create(CultureInfo.InvariantCulture, $"repos/{repo.FullName}/actions/jobs/{job}"),
                null, GitHubJson.Default.JitRequest, GitHubJson.Default.JobAnswer, cancel);
            return answer?.Status is not ("in_progress" or "completed");
        }
        catch (GitHubException e) when (e.Status == HttpStatusCode.NotFound)
        {
            return false;
        }
    }

    /// <summary>The id of the runner of that name, or null.</summary>
    public async Task<long?> FindRunnerAsync(Repo repo, string name, CancellationToken cancel)
    {
        var answer = await CallAsync(repo.Installation, HttpMethod.Get, $"repos/{repo.FullName}/actions/runners?name={Uri.EscapeDataString(name)}",
            null, GitHubJson.Default.JitRequest, GitHubJson.Default.RunnerList, cancel);
        return answer?.Runners.FirstOrDefault(r => r.Name == name)?.Id;
    }

    /// <summary>Puts a failed check on a commit, for people to read.
    /// https://docs.github.com/rest/checks/runs#create-a-check-run</summary>
    /// <param name="externalId">Finds the check's job again.</param>
    /// <exception cref="GitHubException">403: the App lacks the permission <c>checks: write</c>.</exception>
    public Task FailCheckAsync(Repo repo, string headSha, string externalId, string title, string summary, CancellationToken cancel) =>
        CallAsync(repo.Installation, HttpMethod.Post, $"repos/{repo.FullName}/check-runs",
            new CheckRequest("Mayfly", headSha, externalId, "completed", "failure", new CheckOutput(title, summary)), GitHubJson.Default.CheckRequest, GitHubJson.Default.RunnerAnswer, cancel);

    /// <summary>Cancels a run, with all of its jobs.</summary>
    /// <exception cref="GitHubException">403: the App lacks <c>actions: write</c>. 409: it has ended.</exception>
    public Task CancelRunAsync(Repo repo, long run, CancellationToken cancel) =>
        CallAsync(repo.Installation, HttpMethod.Post, string.Create(CultureInfo.InvariantCulture, $"repos/{repo.FullName}/actions/runs/{run}/cancel"),
            null, GitHubJson.Default.JitRequest, GitHubJson.Default.JobAnswer, cancel);

    /// <summary>Reads what an installation may.</summary>
    public Task<TAnswer?> GetAsync<TAnswer>(long installation, string path, JsonTypeInfo<TAnswer> type, CancellationToken cancel)
        where TAnswer : class => CallAsync(installation, HttpMethod.Get, path, null, GitHubJson.Default.JitRequest, type, cancel);

    /// <summary>Asks for what needs no words.</summary>
    public Task PostAsync(long installation, string path, CancellationToken cancel) =>
        CallAsync(installation, HttpMethod.Post, path, null, GitHubJson.Default.JitRequest, GitHubJson.Default.JobAnswer, cancel);

    /// <summary>A call as the App itself.</summary>
    /// <param name="read">Is given the answer's headers.</param>
    public Task<TAnswer?> AsAppAsync<TAnswer>(HttpMethod method, string path, JsonTypeInfo<TAnswer> type, Action<HttpResponseHeaders>? read, CancellationToken cancel)
        where TAnswer : class => SendAsync(method, path, SignAppToken(), null, type, pace: null, cancel, read);

    /// <summary>The App's own token, for calls about installations. The packages that make such tokens and restore here are
    /// years old; it is three parts in base64 and one signature.</summary>
    public string SignAppToken()
    {
        var now = time.GetUtcNow().AddSeconds(-30); // GitHub refuses a token from the future; clocks differ
        var head = Base64Url.EncodeToString("""{"alg":"RS256","typ":"JWT"}"""u8);
        var claims = Base64Url.EncodeToString(Encoding.UTF8.GetBytes(string.Create(CultureInfo.InvariantCulture,
            $$"""{"iat":{{now.ToUnixTimeSeconds()}},"exp":{{(now + AppTokenLifetime).ToUnixTimeSeconds()}},"iss":"{{settings.AppId}}"}""")));
        var signature = key.SignData(Encoding.ASCII.GetBytes($"{head}.{claims}"), HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
        return $"{head}.{claims}.{Base64Url.EncodeToString(signature)}";
    }

    public void Dispose()
    {
        foreach (var pace in _paces.Values)
            pace.Dispose();
        _renewing.Dispose();
        http.Dispose();
        key.Dispose();
    }

    private async Task<string> InstallationTokenAsync(long installation, CancellationToken cancel)
    {
        await _renewing.WaitAsync(cancel);
        try
        {
            if (_tokens.TryGetValue(installation, out var kept) && time.GetUtcNow() < kept.Expires - RenewBefore)
                return kept.Token;
            var answer = await SendAsync(HttpMethod.Post, string.Create(CultureInfo.InvariantCulture, $"app/installations/{installation}/access_tokens"),
                SignAppToken(), null, GitHubJson.Default.InstallationToken, pace: null, cancel);
            _tokens[installation] = (answer!.Token, answer.ExpiresAt);
            return answer.Token;
        }
        finally
        {
            _renewing.Release();
        }
    }

    private async Task<TAnswer?> CallAsync<TRequest, TAnswer>(
        long installation, HttpMethod method, string path, TRequest? body, JsonTypeInfo<TRequest> requestType, JsonTypeInfo<TAnswer> answerType, CancellationToken cancel)
        where TRequest : class
        where TAnswer : class
    {
        var content = body is null ? null : JsonSerializer.SerializeToUtf8Bytes(body, requestType);
        var pace = PaceOf(installation);
        for (var attempt = 1; ; attempt++)
        {
            if (pace.UntilCall(method) is var wait && wait > MostWait)
                throw new GitHubException($"{method} {path}", HttpStatusCode.TooManyRequests, $"not asked: GitHub's limits leave nothing for another {wait.TotalSeconds:F0} s", isRateLimit: true);
            await pace.TakeAsync(method, cancel);
            var token = await InstallationTokenAsync(installation, cancel);
            try
            {
                return await SendAsync(method, path, token, content, answerType, pace, cancel);
            }
            catch (GitHubException e) when (e.IsRateLimit && attempt < Tries && pace.UntilCall(method) <= MostWait)
            {
                // its pace has learned from the answer
            }
            catch (GitHubException e) when (e.Status == HttpStatusCode.Unauthorized)
            {
                // Revoked before its time, as when the App's permissions change: the next call gets a new one.
                await ForgetAsync(installation, token, cancel);
                throw;
            }
        }
    }

    private async Task ForgetAsync(long installation, string token, CancellationToken cancel)
    {
        await _renewing.WaitAsync(cancel);
        if (_tokens.TryGetValue(installation, out var kept) && kept.Token == token)
            _tokens.Remove(installation);
        _renewing.Release();
    }

    private async Task<TAnswer?> SendAsync<TAnswer>(HttpMethod method, string path, string token, byte[]? content, JsonTypeInfo<TAnswer> answerType, GitHubPace? pace, CancellationToken cancel, Action<HttpResponseHeaders>? read = null)
        where TAnswer : class
    {
        using var request = new HttpRequestMessage(method, path);
        request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", token);
        request.Headers.Accept.ParseAdd("application/vnd.github+json");
        request.Headers.UserAgent.ParseAdd("mayfly-controller");
        request.Headers.Add("X-GitHub-Api-Version", "2022-11-28");
        if (content is not null)
        {
            request.Content = new ByteArrayContent(content);
            request.Content.Headers.ContentType = new MediaTypeHeaderValue("application/json");
        }

        using var response = await http.SendAsync(request, cancel);
        var body = await response.Content.ReadAsByteArrayAsync(cancel);
        var message = response.IsSuccessStatusCode ? "" : MessageOf(body);
        var isLimit = GitHubPace.IsLimit(response, message);
        pace?.Learn(response, isLimit);
        if (!response.IsSuccessStatusCode)
            throw new GitHubException($"{method} {path}", response.StatusCode, message, isLimit);
        read?.Invoke(response.Headers);
        return body.Length == 0 ? null : JsonSerializer.Deserialize(body, answerType);
    }

    private static string MessageOf(byte[] body)
    {
        try
        {
            return JsonSerializer.Deserialize(body, GitHubJson.Default.GitHubError)?.Message ?? "";
        }
        catch (JsonException)
        {
            return "(no JSON)";
        }
    }
}

internal sealed record JitRequest(string Name, long RunnerGroupId, IReadOnlyList<string> Labels, string WorkFolder);

internal sealed record CheckRequest(string Name, string HeadSha, string ExternalId, string Status, string Conclusion, CheckOutput Output);

internal sealed record CheckOutput(string Title, string Summary);

internal sealed record JitAnswer(RunnerAnswer Runner, string EncodedJitConfig);

internal sealed record RunnerAnswer(long Id, string Name);

internal sealed record JobAnswer(string? Status);

internal sealed record RunnerList(IReadOnlyList<RunnerAnswer> Runners);

internal sealed record InstallationToken(string Token, DateTimeOffset ExpiresAt);

internal sealed record GitHubError(string? Message);

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(JitRequest))]
[JsonSerializable(typeof(CheckRequest))]
[JsonSerializable(typeof(JitAnswer))]
[JsonSerializable(typeof(JobAnswer))]
[JsonSerializable(typeof(RunnerList))]
[JsonSerializable(typeof(InstallationToken))]
[JsonSerializable(typeof(GitHubError))]
internal sealed partial class GitHubJson : JsonSerializerContext;
