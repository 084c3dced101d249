using System.Net;
using System.Net.Http.Headers;

namespace Mayfly.Aws;

/// <summary>A request's content; the address and the method are the service's.</summary>
/// <param name="Target">The operation, where the protocol has it in a header.</param>
internal sealed record AwsRequest(byte[] Body, string ContentType, string? Target);

/// <summary>What paces the calls of a connection, each try of each.</summary>
/// <param name="WaitAsync">Until the action may be called.</param>
/// <param name="Throttled">The service has refused the action for its rate.</param>
public sealed record CallPace(Func<string, CancellationToken, ValueTask> WaitAsync, Action<string> Throttled);

/// <summary>
/// A signed HTTP connection to one AWS service in one region. The service packages that would marshal the calls do not
/// restore everywhere this is built, so the calls that Mayfly makes are written out in this folder (docs/decisions/0003).
/// </summary>
public sealed class AwsConnection : IDisposable
{
    /// <summary>Tries of one call before its error is handed on: with pauses of 0.2, 0.4 and 0.8 s and jitter, a
    /// passing throttle is outlived and a lasting one is reported within about two seconds.</summary>
    private const int Tries = 4;

    /// <summary>A page of a thousand instances takes about 5 MB; nothing that is asked for is larger.</summary>
    private const int MostAnswerBytes = 16 << 20;

    private static readonly TimeSpan FirstPause = TimeSpan.FromMilliseconds(200);

    /// <summary>Notices a moved endpoint.</summary>
    private static readonly TimeSpan Lifetime = TimeSpan.FromMinutes(5);

    private readonly HttpClient _http;
    private readonly Uri _address;
    private readonly string _service;
    private readonly string _region;
    private readonly AwsKeySource _keys;
    private readonly TimeProvider _time;
    private readonly CallPace? _pace;

    private AwsConnection(HttpClient http, Uri address, string service, string region, AwsKeySource keys, TimeProvider time, CallPace? pace) =>
        (_http, _address, _service, _region, _keys, _time, _pace) = (http, address, service, region, keys, time, pace);

    /// <summary>
    /// Connects to a service. The address follows the standard variables <c>AWS_ENDPOINT_URL_&lt;SERVICE&gt;</c> and
    /// <c>AWS_ENDPOINT_URL</c>, else the region's own endpoint.
    /// https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html
    /// </summary>
    /// <param name="service">Signing name, such as <c>ssm</c>.</param>
    /// <param name="limit">End of one try, connecting included.</param>
    /// <param name="connect">How a connection is made; null for HttpClient's own way.</param>
    /// <param name="pace">Null for a caller of few calls.</param>
    public static AwsConnection To(
        string service, string region, AwsKeySource keys, TimeSpan limit, TimeProvider time, Func<SocketsHttpConnectionContext, CancellationToken, ValueTask<Stream>>? connect = null,
        CallPace? pace = null) =>
        new(new HttpClient(WipedConnections.MakeHandler(Lifetime, useProxy: true, connect)) { Timeout = limit }, AddressOf(service, region, service), service, region, keys, time, pace);

    /// <summary>Connects to a service whose endpoint is named otherwise than its signature.</summary>
    /// <param name="endpoint">The first words of its host's name.</param>
    public static AwsConnection ToEndpoint(string endpoint, string service, string region, AwsKeySource keys, TimeSpan limit, TimeProvider time, CallPace? pace = null) =>
        new(new HttpClient(WipedConnections.MakeHandler(Lifetime, useProxy: true)) { Timeout = limit }, AddressOf(service, region, endpoint), service, region, keys, time, pace);

    /// <summary>Connects with keys that do not change.</summary>
    public static AwsConnection To(string service, string region, AwsKeys keys, TimeSpan limit, TimeProvider time) =>
        To(service, region, _ => ValueTask.FromResult(keys), limit, time);

    /// <summary>Sends a request and returns the body of a successful answer, in memory that the garbage collector does not
    /// copy: whoever gets a secret zeroes it. Throttling, server faults and lost connections are tried again, so the
    /// call has to be idempotent.</summary>
    /// <param name="readError">Reads the service's error from an unsuccessful answer.</param>
    /// <exception cref="AwsException">The service refused.</exception>
    /// <exception cref="HttpRequestException">The service cannot be reached.</exception>
    /// <exception cref="TimeoutException">The service did not answer in time.</exception>
    internal async Task<byte[]> SendAsync(
        string action, AwsRequest content, Func<HttpResponseMessage, byte[], AwsException> readError, CancellationToken cancel)
    {
        for (var attempt = 1; ; attempt++)
        {
            if (_pace is not null)
                await _pace.WaitAsync(action, cancel);
            try
            {
                using var request = await SignedAsync(content, cancel);
                using var response = await _http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancel);
                var body = await WipedConnections.ReadAsync(response, MostAnswerBytes, _http.Timeout, cancel);
                if (response.IsSuccessStatusCode)
                    return body;
                var error = readError(response, body);
                if (error.IsThrottling || error.Status == HttpStatusCode.ServiceUnavailable) // from whom has too much to do
                    _pace?.Throttled(action);
                throw error;
            }
            catch (AwsException refused) when ((refused.IsThrottling || refused.IsServerFault) && attempt < Tries)
            {
            }
            catch (HttpRequestException) when (attempt < Tries)
            {
            }
            catch (OperationCanceledException timeout) when (!cancel.IsCancellationRequested)
            {
                if (attempt == Tries)
                    throw new TimeoutException($"{action}: {_address} did not answer within {_http.Timeout.TotalSeconds:F0} s, {Tries} times", timeout);
            }

            var pause = FirstPause * Math.Pow(2, attempt - 1) * (1 + Random.Shared.NextDouble());
            await Task.Delay(pause, _time, cancel);
        }
    }

    public void Dispose() => _http.Dispose();

    private async Task<HttpRequestMessage> SignedAsync(AwsRequest content, CancellationToken cancel)
    {
        var keys = await _keys(cancel);
        var request = new HttpRequestMessage(HttpMethod.Post, _address) { Content = new ByteArrayContent(content.Body) };
        request.Content.Headers.ContentType = MediaTypeHeaderValue.Parse(content.ContentType);
        if (content.Target is not null)
            request.Headers.Add("X-Amz-Target", content.Target);
        Signature.Sign(request, _address, content.Body, keys, _service, _region, _time.GetUtcNow());
        return request;
    }

    private static Uri AddressOf(string service, string region, string endpoint)
    {
        var variable = $"AWS_ENDPOINT_URL_{service.ToUpperInvariant()}";
        var given = Environment.GetEnvironmentVariable(variable);
        if (string.IsNullOrEmpty(given))
            (variable, given) = ("AWS_ENDPOINT_URL", Environment.GetEnvironmentVariable("AWS_ENDPOINT_URL"));
        if (string.IsNullOrEmpty(given))
            return new Uri($"https://{endpoint}.{region}.{Domain(region)}/");
        return Uri.TryCreate(given, UriKind.Absolute, out var address) && address.Scheme is ("http" or "https")
            ? address
            : throw new FormatException($"{variable}='{given}' is not an http or https address");
    }

    /// <summary>The partition's domain. Those of the isolated partitions are set by <c>AWS_ENDPOINT_URL</c>.
    /// https://docs.aws.amazon.com/general/latest/gr/rande.html</summary>
    private static string Domain(string region) => region.StartsWith("cn-", StringComparison.Ordinal) ? "amazonaws.com.cn" : "amazonaws.com";
}
