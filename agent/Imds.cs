using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Mayfly.Aws;

namespace Mayfly.Agent;

/// <summary>
/// The instance metadata service, version 2 only: every read bears a token, and there is no way back to version 1.
/// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html
/// </summary>
internal sealed class Imds(HttpClient http, TimeProvider time)
{
    private const string TokenHeader = "X-aws-ec2-metadata-token";
    private const string TagsPath = "latest/meta-data/tags/instance";
    private const string LifetimeHeader = "X-aws-ec2-metadata-token-ttl-seconds";
    private static readonly TimeSpan TokenLifetime = TimeSpan.FromSeconds(21600); // the longest allowed
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(100);

    /// <summary>Of a probe's read or write.</summary>
    private static readonly TimeSpan ProbeLimit = TimeSpan.FromSeconds(2);

    /// <summary>Tries of one read that the service throttles or fails to answer. Pauses of 0.1, 0.2, 0.4 and 0.8 s: it
    /// allows 1,024 packets a second, so a burst is over in the first of them, and a service that is really down costs
    /// a step no more than 1.5 s and five times <see cref="HttpClient.Timeout"/>.</summary>
    private const int Tries = 5;

    /// <summary>The longest that is read, a list of 50 tags, has about 6,400 bytes.</summary>
    private const int MostBytes = 64 << 10;

    private string? _token;
    private DateTimeOffset _renewAt;

    /// <summary>The standard address, or the one in <c>AWS_EC2_METADATA_SERVICE_ENDPOINT</c>.</summary>
    public static Uri AddressFrom(string? endpoint)
    {
        if (string.IsNullOrEmpty(endpoint))
            return new Uri("http://169.254.169.254/");
        return Uri.TryCreate(endpoint, UriKind.Absolute, out var address) && address.Scheme == "http"
            ? address
            : throw new FormatException($"AWS_EC2_METADATA_SERVICE_ENDPOINT='{endpoint}' is not an http address");
    }

    /// <summary>A client for the service at this address, which the closed door lets through.</summary>
    public static HttpClient Connect(Uri address)
    {
        var handler = WipedConnections.MakeHandler(Timeout.InfiniteTimeSpan, useProxy: false, MarkedSocket.ConnectAsync);
        return new HttpClient(handler) { BaseAddress = address, Timeout = TimeSpan.FromSeconds(2) };
    }

    /// <summary>Asks until the service answers: the network comes up while the agent already runs.</summary>
    /// <exception cref="TimeoutException">It did not within the limit; tells the last error.</exception>
    public async Task WaitUntilReachableAsync(TimeSpan limit, CancellationToken cancel)
    {
        var start = time.GetTimestamp();
        while (true)
        {
            try
            {
                await TokenAsync(cancel);
                return;
            }
            catch (Exception e) when (e is HttpRequestException || (e is OperationCanceledException && !cancel.IsCancellationRequested))
            {
                if (time.GetElapsedTime(start) > limit)
                    throw new TimeoutException($"the metadata service at {http.BaseAddress} did not answer within {limit.TotalSeconds:F0} s: {e.Message}", e);
            }

            await Task.Delay(Pause, time, cancel);
        }
    }

    /// <summary>A path's text, or null where there is none (404). Paths may be read in parallel.</summary>
    /// <exception cref="HttpRequestException">Refused, or unreachable or out of order at every try; names the path.</exception>
    public async Task<string?> GetAsync(string path, CancellationToken cancel) =>
        await GetBytesAsync(path, cancel) is { } bytes ? Encoding.UTF8.GetString(bytes) : null;

    /// <summary>As <see cref="GetAsync"/>, for what is asked every few seconds and is hardly ever there. Blocks for as long as the
    /// probe does before it begins to wait.</summary>
    public async Task<string?> GetRareAsync(string path, NotFoundProbe probe, CancellationToken cancel) =>
        probe.IsNotFound(path, TokenHeader, await TokenAsync(cancel)) ? null : await GetAsync(path, cancel);

    /// <summary>A probe of the service at this address, which the closed door lets through. There is none of a name, which would
    /// have to be asked for first.</summary>
    public static NotFoundProbe ProbeOf(Uri address) => new(address.Authority, () => IPAddress.TryParse(address.DnsSafeHost, out var ip)
        ? MarkedSocket.Connect(new IPEndPoint(ip, address.Port), ProbeLimit)
        : throw new SocketException((int)SocketError.HostNotFound));

    /// <summary>Keys of the instance's tags; none where the launch template does not put tags into metadata.</summary>
    public async Task<IReadOnlyCollection<string>> TagKeysAsync(CancellationToken cancel) =>
        (await GetAsync(TagsPath, cancel))?.Split('\n', StringSplitOptions.RemoveEmptyEntries) ?? [];

    /// <summary>Where a tag's value stands.</summary>
    public static string TagPath(string key) => $"{TagsPath}/{key}";

    /// <summary>As <see cref="GetAsync"/>, for what must not become a string; whoever gets a secret zeroes it.</summary>
    public async Task<byte[]?> GetBytesAsync(string path, CancellationToken cancel)
    {
        for (var attempt = 1; ; attempt++)
        {
            try
            {
                using var request = new HttpRequestMessage(HttpMethod.Get, path);
                request.Headers.Add(TokenHeader, await TokenAsync(cancel));
                using var response = await http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancel);
                if (response.StatusCode == HttpStatusCode.NotFound)
                    return null;
                if (response.IsSuccessStatusCode)
                    return await ReadAsync(response, cancel);
                if (response.StatusCode == HttpStatusCode.Unauthorized)
                    _token = null; // ended early, as when an instance was moved: the next try gets another
                else if (!IsPassing(response.StatusCode))
                    throw Refused(path, response.StatusCode);
                if (attempt == Tries)
                    throw Refused(path, response.StatusCode);
            }
            catch (HttpRequestException e) when (attempt < Tries && (e.StatusCode is null || IsPassing(e.StatusCode.Value)))
            {
            }
            catch (OperationCanceledException e) when (!cancel.IsCancellationRequested)
            {
                if (attempt == Tries)
                    throw new HttpRequestException($"the metadata service did not answer {path} within {http.Timeout.TotalSeconds:F0} s, {Tries} times", e);
            }

            await Task.Delay(Pause * Math.Pow(2, attempt - 1), time, cancel);
        }
    }

    private async Task<string> TokenAsync(CancellationToken cancel)
    {
        if (_token is { } token && time.GetUtcNow() < _renewAt)
            return token;
        using var request = new HttpRequestMessage(HttpMethod.Put, "latest/api/token");
        request.Headers.Add(LifetimeHeader, TokenLifetime.TotalSeconds.ToString(CultureInfo.InvariantCulture));
        using var response = await http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancel);
        if (!response.IsSuccessStatusCode)
            throw Refused("latest/api/token", response.StatusCode);
        token = Encoding.UTF8.GetString(await ReadAsync(response, cancel));
        _renewAt = time.GetUtcNow() + TokenLifetime / 2;
        return _token = token;
    }

    private Task<byte[]> ReadAsync(HttpResponseMessage response, CancellationToken cancel) =>
        WipedConnections.ReadAsync(response, MostBytes, http.Timeout, cancel);

    /// <summary>Throttled, or at fault itself.</summary>
    private static bool IsPassing(HttpStatusCode status) => status == HttpStatusCode.TooManyRequests || (int)status >= 500;

    private static HttpRequestException Refused(string path, HttpStatusCode status) =>
        new($"the metadata service answered {path} with HTTP {(int)status}", null, status);
}
