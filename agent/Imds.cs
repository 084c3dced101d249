using System.Globalization;
using System.Net;

namespace Mayfly.Agent;

/// <summary>
/// The instance metadata service, version 2 only: every read bears a token, and there is no way back to version 1.
/// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html
/// </summary>
internal sealed class Imds(HttpClient http, TimeProvider time)
{
    private const string TokenHeader = "X-aws-ec2-metadata-token";
    private const string LifetimeHeader = "X-aws-ec2-metadata-token-ttl-seconds";
    private static readonly TimeSpan TokenLifetime = TimeSpan.FromSeconds(21600); // the longest allowed
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(100);

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

    /// <summary>A path's text, or null where there is none (404).</summary>
    /// <exception cref="HttpRequestException">Refused, or unreachable.</exception>
    public async Task<string?> GetAsync(string path, CancellationToken cancel)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, path);
        request.Headers.Add(TokenHeader, await TokenAsync(cancel));
        using var response = await http.SendAsync(request, cancel);
        if (response.StatusCode == HttpStatusCode.NotFound)
            return null;
        response.EnsureSuccessStatusCode();
        return await response.Content.ReadAsStringAsync(cancel);
    }

    private async Task<string> TokenAsync(CancellationToken cancel)
    {
        if (_token is not null && time.GetUtcNow() < _renewAt)
            return _token;
        using var request = new HttpRequestMessage(HttpMethod.Put, "latest/api/token");
        request.Headers.Add(LifetimeHeader, TokenLifetime.TotalSeconds.ToString(CultureInfo.InvariantCulture));
        using var response = await http.SendAsync(request, cancel);
        response.EnsureSuccessStatusCode();
        _token = await response.Content.ReadAsStringAsync(cancel);
        _renewAt = time.GetUtcNow() + TokenLifetime / 2;
        return _token;
    }
}
