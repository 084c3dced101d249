using Amazon;
using Amazon.Runtime;
using Amazon.Runtime.Signing;

namespace Mayfly.Aws;

/// <summary>
/// A signed HTTP connection to one AWS service in one region. AWSSDK.Core signs and finds the credentials; the
/// service packages that would marshal the calls do not restore everywhere this is built, so the calls that Mayfly
/// makes are written out in this folder (docs/decisions/0003).
/// </summary>
public sealed class AwsConnection : IDisposable
{
    /// <summary>Tries of one call before its error is handed on: with pauses of 0.2, 0.4 and 0.8 s and jitter, a
    /// passing throttle is outlived and a lasting one is reported within about two seconds.</summary>
    private const int Tries = 4;

    private static readonly TimeSpan FirstPause = TimeSpan.FromMilliseconds(200);

    private readonly HttpClient _http;
    private readonly TimeProvider _time;

    private AwsConnection(HttpClient http, TimeProvider time)
    {
        _http = http;
        _time = time;
    }

    /// <summary>
    /// Connects to a service. The address follows the standard variables <c>AWS_ENDPOINT_URL_&lt;SERVICE&gt;</c> and
    /// <c>AWS_ENDPOINT_URL</c>, else the region's own endpoint.
    /// https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html
    /// </summary>
    /// <param name="service">Signing name, such as <c>ssm</c>.</param>
    /// <param name="limit">End of one try, connecting included.</param>
    public static AwsConnection To(string service, string region, AWSCredentials credentials, TimeSpan limit, TimeProvider time)
    {
        var endpoint = RegionEndpoint.GetBySystemName(region);
        var signing = new SigV4SigningHandler(credentials, endpoint, service, new SocketsHttpHandler
        {
            AllowAutoRedirect = false, // a followed redirect would not be signed again
            PooledConnectionLifetime = TimeSpan.FromMinutes(5), // notices a moved endpoint
        });
        return new AwsConnection(new HttpClient(signing) { BaseAddress = AddressOf(service, endpoint), Timeout = limit }, time);
    }

    /// <summary>Sends what <paramref name="makeRequest"/> makes and returns the body of a successful answer. Throttling,
    /// server faults and lost connections are tried again, so the call has to be idempotent.</summary>
    /// <param name="readError">Reads the service's error from an unsuccessful answer.</param>
    /// <exception cref="AwsException">The service refused.</exception>
    /// <exception cref="HttpRequestException">The service cannot be reached.</exception>
    /// <exception cref="TimeoutException">The service did not answer in time.</exception>
    internal async Task<byte[]> SendAsync(
        string action, Func<HttpRequestMessage> makeRequest, Func<HttpResponseMessage, byte[], AwsException> readError, CancellationToken cancel)
    {
        for (var attempt = 1; ; attempt++)
        {
            try
            {
                using var request = makeRequest();
                using var response = await _http.SendAsync(request, cancel);
                var body = await response.Content.ReadAsByteArrayAsync(cancel);
                return response.IsSuccessStatusCode ? body : throw readError(response, body);
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
                    throw new TimeoutException($"{action}: {_http.BaseAddress} did not answer within {_http.Timeout.TotalSeconds:F0} s, {Tries} times", timeout);
            }

            var pause = FirstPause * Math.Pow(2, attempt - 1) * (1 + Random.Shared.NextDouble());
            await Task.Delay(pause, _time, cancel);
        }
    }

    public void Dispose() => _http.Dispose();

    private static Uri AddressOf(string service, RegionEndpoint region)
    {
        var variable = $"AWS_ENDPOINT_URL_{service.ToUpperInvariant()}";
        var given = Environment.GetEnvironmentVariable(variable);
        if (string.IsNullOrEmpty(given))
            (variable, given) = ("AWS_ENDPOINT_URL", Environment.GetEnvironmentVariable("AWS_ENDPOINT_URL"));
        if (string.IsNullOrEmpty(given))
            return new Uri($"https://{service}.{region.SystemName}.{region.PartitionDnsSuffix}/");
        return Uri.TryCreate(given, UriKind.Absolute, out var address) && address.Scheme is ("http" or "https")
            ? address
            : throw new FormatException($"{variable}='{given}' is not an http or https address");
    }
}
