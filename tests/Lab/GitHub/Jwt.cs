using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Mayfly.Lab.GitHub;

/// <summary>JSON web tokens signed with RSA, checked as GitHub checks them.</summary>
internal static class Jwt
{
    /// <summary>The claims of a token whose signature holds; null if it is none or the signature does not hold.</summary>
    public static JsonObject? Verify(string token, RSA key)
    {
        if (token.Split('.') is not [var header, var claims, var signature])
            return null;
        try
        {
            var padding = (string?)JsonNode.Parse(Base64Url.DecodeFromChars(header))?["alg"] switch
            {
                "RS256" => RSASignaturePadding.Pkcs1,
                "PS256" => RSASignaturePadding.Pss,
                _ => null,
            };
            return padding is not null
                && key.VerifyData(Encoding.ASCII.GetBytes($"{header}.{claims}"), Base64Url.DecodeFromChars(signature), HashAlgorithmName.SHA256, padding)
                ? JsonNode.Parse(Base64Url.DecodeFromChars(claims)) as JsonObject
                : null;
        }
        catch (Exception e) when (e is FormatException or JsonException)
        {
            return null;
        }
    }
}
