using System.Globalization;
using System.Security.Cryptography;
using System.Text;

namespace Mayfly.Lab.Aws;

/// <summary>A request whose signature holds.</summary>
internal sealed record Signed(AccessKey Key, string Service, string Region);

/// <summary>
/// Checks AWS Signature Version 4 in the Authorization header, as the services do.
/// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
/// </summary>
internal sealed class SigV4(Keyring keys, TimeProvider time)
{
    private const string Algorithm = "AWS4-HMAC-SHA256";
    private static readonly TimeSpan AllowedSkew = TimeSpan.FromMinutes(5);
    private string? _knownAuthority;

    /// <summary>Other authorities that the lab is reached under.</summary>
    public IList<string> AlsoKnownAs { get; } = [];

    /// <exception cref="AwsFault">Missing, incomplete, unknown key, expired, or not the right signature.</exception>
    public Signed Verify(HttpRequest request, byte[] body)
    {
        var authorization = request.Headers.Authorization.ToString();
        if (authorization.Length == 0)
            throw new AwsFault("MissingAuthenticationToken", "Request is missing Authentication Token", 403);
        if (!authorization.StartsWith(Algorithm + " ", StringComparison.Ordinal))
            throw Incomplete($"the Authorization header does not begin with {Algorithm}");
        var parts = authorization[(Algorithm.Length + 1)..].Split(',', StringSplitOptions.TrimEntries)
            .Select(part => part.Split('=', 2)).Where(pair => pair.Length == 2).ToDictionary(pair => pair[0], pair => pair[1]);
        if (!parts.TryGetValue("Credential", out var credential) || !parts.TryGetValue("SignedHeaders", out var signedHeaders)
            || !parts.TryGetValue("Signature", out var signature))
            throw Incomplete("Credential, SignedHeaders and Signature are required");
        if (credential.Split('/') is not [var id, var day, var region, var service, "aws4_request"])
            throw Incomplete("Credential must be id/date/region/service/aws4_request");

        var headers = signedHeaders.Split(';');
        if (!headers.Contains("host") || !headers.Contains("x-amz-date"))
            throw Incomplete("host and x-amz-date must be signed");
        var amzDate = request.Headers["X-Amz-Date"].ToString();
        if (!DateTimeOffset.TryParseExact(amzDate, "yyyyMMdd'T'HHmmss'Z'", CultureInfo.InvariantCulture,
                DateTimeStyles.AssumeUniversal, out var at) || !amzDate.StartsWith(day, StringComparison.Ordinal))
            throw Incomplete("X-Amz-Date is missing or does not match the credential's date");

        var key = keys.Find(id) ?? throw UnknownKey(service);
        if ((time.GetUtcNow() - at).Duration() > AllowedSkew)
            throw new AwsFault(service == "ec2" ? "RequestExpired" : "InvalidSignatureException", $"Signature expired: {amzDate} is not within 5 minutes of now", 400);
        if (key.SessionToken is not null && request.Headers["X-Amz-Security-Token"] != key.SessionToken)
            throw UnknownKey(service);
        if (key.Expires <= time.GetUtcNow())
            throw new AwsFault(service == "ssm" ? "ExpiredTokenException" : "ExpiredToken", "The security token included in the request is expired", 400);

        if (!Authorities(request).Any(authority => Matches(authority)))
        {
            throw new AwsFault(service == "ssm" ? "InvalidSignatureException" : service == "ec2" ? "AuthFailure" : "SignatureDoesNotMatch",
                "The request signature we calculated does not match the signature you provided.", service == "ec2" ? 401 : 403);
        }

        return new Signed(key, service, region);

        bool Matches(string authority)
        {
            var canonical = Canonical(request, body, headers, signedHeaders, authority);
            var scope = $"{day}/{region}/{service}/aws4_request";
            var toSign = $"{Algorithm}\n{amzDate}\n{scope}\n{Hex(SHA256.HashData(Encoding.UTF8.GetBytes(canonical)))}";
            var signingKey = Hmac(Hmac(Hmac(Hmac(Encoding.UTF8.GetBytes("AWS4" + key.Secret), day), region), service), "aws4_request");
            var right = CryptographicOperations.FixedTimeEquals(Encoding.ASCII.GetBytes(Hex(Hmac(signingKey, toSign))), Encoding.ASCII.GetBytes(signature));
            if (right && authority != request.Host.Value)
                _knownAuthority = authority;
            return right;
        }
    }

    /// <summary>
    /// The authorities that a client may have signed for. A checking proxy on the loopback puts its own Host in the
    /// place of the client's, while the signature stays valid for the one that the client used; so any port of the
    /// loopback is accepted if the signature is right for it, and nothing else is.
    /// </summary>
    private IEnumerable<string> Authorities(HttpRequest request)
    {
        yield return request.Host.Value ?? "";
        foreach (var other in AlsoKnownAs)
            yield return other;
        if (_knownAuthority is { } known)
            yield return known;
        if (request.Host.Host is not ("127.0.0.1" or "localhost"))
            yield break;
        for (var port = 1; port <= ushort.MaxValue; port++)
        {
            yield return $"127.0.0.1:{port}";
            yield return $"localhost:{port}";
        }
    }

    private static string Canonical(HttpRequest request, byte[] body, string[] headers, string signedHeaders, string authority)
    {
        var text = new StringBuilder();
        text.Append(request.Method).Append('\n');
        text.Append(request.Path.HasValue ? request.Path.ToUriComponent() : "/").Append('\n');
        text.AppendJoin('&', request.Query.SelectMany(q => q.Value.Select(v => (Key: Uri.EscapeDataString(q.Key), Value: Uri.EscapeDataString(v ?? ""))))
            .OrderBy(q => q.Key, StringComparer.Ordinal).ThenBy(q => q.Value, StringComparer.Ordinal).Select(q => $"{q.Key}={q.Value}")).Append('\n');
        foreach (var header in headers)
        {
            var value = header == "host" ? authority : string.Join(',', request.Headers[header].Select(Collapse));
            text.Append(header).Append(':').Append(value).Append('\n');
        }

        return text.Append('\n').Append(signedHeaders).Append('\n').Append(Hex(SHA256.HashData(body))).ToString();
    }

    private static string Collapse(string? value) => string.Join(' ', (value ?? "").Split(' ', StringSplitOptions.RemoveEmptyEntries));

    private static AwsFault Incomplete(string why) => new("IncompleteSignature", why, 400);

    private static AwsFault UnknownKey(string service) => service switch
    {
        "ec2" => new AwsFault("AuthFailure", "AWS was not able to validate the provided access credentials", 401),
        "ssm" => new AwsFault("UnrecognizedClientException", "The security token included in the request is invalid.", 400),
        _ => new AwsFault("InvalidClientTokenId", "The security token included in the request is invalid.", 403),
    };

    private static byte[] Hmac(byte[] key, string data) => HMACSHA256.HashData(key, Encoding.UTF8.GetBytes(data));

    private static string Hex(byte[] bytes) => Convert.ToHexStringLower(bytes);
}
