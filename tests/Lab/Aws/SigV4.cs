using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Text;
using Mayfly.Lab.Pricing;

namespace Mayfly.Lab.Aws;

/// <summary>A request whose signature holds.</summary>
internal sealed record Signed(AccessKey Key, string Service, string Region);

/// <summary>
/// Checks AWS Signature Version 4 in the Authorization header, as the services do.
/// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
/// </summary>
internal sealed class SigV4(Keyring keys, Func<string, bool> hasRegion, TimeProvider time)
{
    private static readonly TimeSpan AllowedSkew = TimeSpan.FromMinutes(5);

    private readonly ConcurrentDictionary<string, bool> _seenAuthorities = new();

    /// <summary>Other authorities that the lab is reached under.</summary>
    public IList<string> AlsoKnownAs { get; } = [];

    /// <exception cref="AwsFault">Missing, incomplete, unknown key, expired, or not the right signature.</exception>
    public Signed Verify(HttpRequest request, byte[] body)
    {
        var claim = Authorization.Of(request);
        // STS also answers for the region that its global endpoint is in, and the price list from a few regions only, whichever one works in.
        if (claim.Service == "pricing" ? !PriceList.Endpoints.Contains(claim.Region) : !hasRegion(claim.Region) && !(claim.Service == "sts" && claim.Region == "us-east-1"))
            throw Mismatch(claim.Service, $"Credential should be scoped to a valid region, not '{claim.Region}'.");
        if ((time.GetUtcNow() - claim.At).Duration() > AllowedSkew)
            throw new AwsFault(claim.Service switch { "ec2" => "RequestExpired", "ssm" or "kms" or "pricing" => "InvalidSignatureException", _ => "SignatureDoesNotMatch" },
                $"Signature expired: {claim.Date} is not within 5 minutes of now", claim.Service == "sts" ? 403 : 400);

        var key = keys.Find(claim.KeyId) ?? throw UnknownKey(claim.Service);
        // Temporary keys are worth nothing without their token, lasting ones nothing with one.
        if (request.Headers["X-Amz-Security-Token"].ToString() != (key.SessionToken ?? ""))
            throw UnknownKey(claim.Service);
        var unsigned = request.Headers.Keys.Select(h => h.ToLowerInvariant())
            .Where(h => h == "host" || h.StartsWith("x-amz-", StringComparison.Ordinal)).FirstOrDefault(h => !claim.SignedHeaders.Contains(h));
        if (unsigned is not null)
            throw Mismatch(claim.Service, $"'{unsigned}' must be a 'SignedHeader' in the AWS Authorization.");
        if (!IsSignedBy(key, claim, request, body))
            throw Mismatch(claim.Service, "The request signature we calculated does not match the signature you provided.");
        if (key.Expires <= time.GetUtcNow())
            throw claim.Service switch
            {
                "ec2" => new AwsFault("RequestExpired", "Request has expired."),
                "ssm" or "kms" or "pricing" => new AwsFault("ExpiredTokenException", "The security token included in the request is expired"),
                _ => new AwsFault("ExpiredToken", "The security token included in the request is expired", 403),
            };
        return new Signed(key, claim.Service, claim.Region);
    }

    private bool IsSignedBy(AccessKey key, Authorization claim, HttpRequest request, byte[] body)
    {
        var signature = Encoding.ASCII.GetBytes(claim.Signature);
        var signingKey = Hmac(Hmac(Hmac(Hmac(Encoding.UTF8.GetBytes("AWS4" + key.Secret), claim.Day), claim.Region), claim.Service), "aws4_request");
        var (before, after) = Canonical(request, body, claim.SignedHeaders);
        foreach (var authority in Authorities(request))
        {
            var hash = Hex(SHA256.HashData(Encoding.UTF8.GetBytes(before + authority + after)));
            var right = Hex(Hmac(signingKey, $"{Authorization.Algorithm}\n{claim.Date}\n{claim.Scope}\n{hash}"));
            if (!CryptographicOperations.FixedTimeEquals(Encoding.ASCII.GetBytes(right), signature))
                continue;
            if (authority != request.Host.Value)
                _seenAuthorities[authority] = true;
            return true;
        }

        return false;
    }

    /// <summary>
    /// The authorities that a client may have signed for. A checking proxy on the loopback puts its own Host in the
    /// place of the client's, while the signature stays valid for the one that the client used; so any port of the
    /// loopback is accepted if the signature is right for it, and nothing else is. One that was right is tried first
    /// from then on: all of them take a second.
    /// </summary>
    private IEnumerable<string> Authorities(HttpRequest request)
    {
        yield return request.Host.Value ?? "";
        foreach (var other in AlsoKnownAs)
            yield return other;
        foreach (var seen in _seenAuthorities.Keys)
            yield return seen;
        if (request.Host.Host is not ("127.0.0.1" or "localhost"))
            yield break;
        for (var port = 1; port <= ushort.MaxValue; port++)
        {
            yield return $"127.0.0.1:{port}";
            yield return $"localhost:{port}";
        }
    }

    /// <summary>The canonical request before and after the value of its host header.</summary>
    private static (string Before, string After) Canonical(HttpRequest request, byte[] body, IReadOnlyList<string> signedHeaders)
    {
        var text = new StringBuilder();
        text.Append(request.Method).Append('\n');
        text.Append(request.Path.HasValue ? request.Path.ToUriComponent() : "/").Append('\n');
        text.AppendJoin('&', request.Query.SelectMany(q => q.Value.Select(v => (Key: Uri.EscapeDataString(q.Key), Value: Uri.EscapeDataString(v ?? ""))))
            .OrderBy(q => q.Key, StringComparer.Ordinal).ThenBy(q => q.Value, StringComparer.Ordinal).Select(q => $"{q.Key}={q.Value}")).Append('\n');
        var host = 0;
        foreach (var header in signedHeaders.Order(StringComparer.Ordinal))
        {
            text.Append(header).Append(':');
            if (header == "host")
                host = text.Length;
            else
                text.AppendJoin(',', request.Headers[header].Select(Collapse));
            text.Append('\n');
        }

        text.Append('\n').AppendJoin(';', signedHeaders).Append('\n').Append(Hex(SHA256.HashData(body)));
        return (text.ToString(0, host), text.ToString(host, text.Length - host));
    }

    private static string Collapse(string? value) => string.Join(' ', (value ?? "").Split(' ', StringSplitOptions.RemoveEmptyEntries));

    private static AwsFault Mismatch(string service, string message) => service switch
    {
        "ec2" => new AwsFault("AuthFailure", message, 401),
        "ssm" or "kms" or "pricing" => new AwsFault("InvalidSignatureException", message),
        _ => new AwsFault("SignatureDoesNotMatch", message, 403),
    };

    private static AwsFault UnknownKey(string service) => service switch
    {
        "ec2" => new AwsFault("AuthFailure", "AWS was not able to validate the provided access credentials", 401),
        "ssm" or "kms" or "pricing" => new AwsFault("UnrecognizedClientException", "The security token included in the request is invalid."),
        _ => new AwsFault("InvalidClientTokenId", "The security token included in the request is invalid.", 403),
    };

    private static byte[] Hmac(byte[] key, string data) => HMACSHA256.HashData(key, Encoding.UTF8.GetBytes(data));

    private static string Hex(byte[] bytes) => Convert.ToHexStringLower(bytes);
}
