using System.Globalization;
using System.Net.Http.Headers;
using System.Security.Cryptography;
using System.Text;

namespace Mayfly.Aws;

/// <summary>
/// AWS Signature Version 4 of a POST to a service's root, which is all that Mayfly sends. AWSSDK.Core's own signing brings
/// its whole runtime with it, 4 MB of a native program (docs/decisions/0009).
/// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
/// </summary>
internal static class Signature
{
    private const string Algorithm = "AWS4-HMAC-SHA256";

    /// <summary>Adds the date, the session's token and the signature. Signs every header that the services ask for; the body
    /// must not change afterwards.</summary>
    public static void Sign(HttpRequestMessage request, Uri address, ReadOnlySpan<byte> body, AwsKeys keys, string service, string region, DateTimeOffset now)
    {
        var date = now.UtcDateTime.ToString("yyyyMMdd'T'HHmmss'Z'", CultureInfo.InvariantCulture);
        request.Headers.Add("X-Amz-Date", date);
        if (keys.Token is not null)
            request.Headers.Add("X-Amz-Security-Token", keys.Token);

        // In the order of their names, in small letters.
        var headers = new SortedDictionary<string, string>(StringComparer.Ordinal)
        {
            ["host"] = address.Authority,
            ["content-type"] = request.Content!.Headers.ContentType!.ToString(),
        };
        foreach (var (name, values) in request.Headers)
            headers[name.ToLowerInvariant()] = string.Join(',', values);
        var names = string.Join(';', headers.Keys);

        var canonical = new StringBuilder($"POST\n{address.AbsolutePath}\n\n");
        foreach (var (name, value) in headers)
            canonical.Append(name).Append(':').Append(value).Append('\n');
        canonical.Append('\n').Append(names).Append('\n').Append(Hash(body));

        var scope = $"{date[..8]}/{region}/{service}/aws4_request";
        var signature = Convert.ToHexStringLower(Hmac(Key(keys.Secret, date[..8], region, service),
            $"{Algorithm}\n{date}\n{scope}\n{Hash(Encoding.UTF8.GetBytes(canonical.ToString()))}"));
        request.Headers.Authorization = new AuthenticationHeaderValue(Algorithm, $"Credential={keys.Id}/{scope}, SignedHeaders={names}, Signature={signature}");
    }

    private static byte[] Key(string secret, string day, string region, string service) =>
        Hmac(Hmac(Hmac(Hmac(Encoding.UTF8.GetBytes("AWS4" + secret), day), region), service), "aws4_request");

    private static byte[] Hmac(byte[] key, string data) => HMACSHA256.HashData(key, Encoding.UTF8.GetBytes(data));

    private static string Hash(ReadOnlySpan<byte> data) => Convert.ToHexStringLower(SHA256.HashData(data));
}
