using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;

namespace Mayfly.Lab.GitHub;

/// <summary>Tokens of listeners and of workers. They are JSON web tokens, since the runner reads claims from them.</summary>
internal sealed class RunnerTokens(TimeProvider time)
{
    /// <summary>Measured as <c>exp</c> less <c>nbf</c>: GitHub refuses a second more.</summary>
    private const long LongestAssertion = 300;

    /// <summary>What the runner's clock may be off by.</summary>
    private const long Skew = 300;

    private readonly byte[] _key = RandomNumberGenerator.GetBytes(32);

    /// <summary>Why an assertion does not prove that it comes from the runner; null if it does.</summary>
    public string? Refusal(string assertion, Runner runner, Uri audience)
    {
        if (Jwt.Verify(assertion, runner.Key) is not { } claims)
            return "The assertion's signature does not hold";
        if (claims["sub"]?.ToString() != $"{runner.ClientId}" || claims["iss"]?.ToString() != $"{runner.ClientId}")
            return "The assertion is another client's";
        if (claims["aud"]?.ToString() != audience.AbsoluteUri)
            return "The assertion is for another service";
        if ((long?)claims["exp"] is not { } expires || (long?)claims["nbf"] is not { } begins || expires - begins > LongestAssertion)
            return "The assertion's lifetime is missing or greater than the allowed maximum of 00:05:00";
        var now = time.GetUtcNow().ToUnixTimeSeconds();
        return begins > now + Skew || expires < now - Skew ? $"The assertion is not valid now. Current server time is {time.GetUtcNow():O}" : null;
    }

    public string Issue(JsonObject claims)
    {
        claims["jti"] = $"{Guid.NewGuid()}";
        claims["iss"] = "lab";
        claims["nbf"] = time.GetUtcNow().ToUnixTimeSeconds();
        claims["exp"] = time.GetUtcNow().AddHours(6).ToUnixTimeSeconds();
        var body = Encode("""{"typ":"JWT","alg":"HS256"}""") + "." + Encode(claims.ToJsonString());
        return body + "." + Base64Url.EncodeToString(HMACSHA256.HashData(_key, Encoding.ASCII.GetBytes(body)));
    }

    private static string Encode(string json) => Base64Url.EncodeToString(Encoding.UTF8.GetBytes(json));
}
