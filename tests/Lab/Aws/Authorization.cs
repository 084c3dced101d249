using System.Globalization;

namespace Mayfly.Lab.Aws;

/// <summary>
/// What the Authorization header says of a request: whose key, for which day, region and service, over which headers.
/// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
/// </summary>
internal sealed record Authorization(
    string KeyId, string Day, string Region, string Service, IReadOnlyList<string> SignedHeaders, string Signature, string Date, DateTimeOffset At)
{
    public const string Algorithm = "AWS4-HMAC-SHA256";

    public string Scope => $"{Day}/{Region}/{Service}/aws4_request";

    /// <exception cref="AwsFault">Missing, or not all of it is there.</exception>
    public static Authorization Of(HttpRequest request)
    {
        var isJson = request.Headers.ContainsKey("X-Amz-Target");
        var header = request.Headers.Authorization.ToString();
        if (header.Length == 0)
            throw isJson
                ? new AwsFault("MissingAuthenticationTokenException", "Missing Authentication Token")
                : new AwsFault("MissingAuthenticationToken", "Request is missing Authentication Token", 403);
        if (!header.StartsWith(Algorithm + " ", StringComparison.Ordinal))
            throw Incomplete($"the Authorization header does not begin with {Algorithm}");
        var parts = new Dictionary<string, string>();
        foreach (var part in header[(Algorithm.Length + 1)..].Split(',', StringSplitOptions.TrimEntries))
        {
            if (part.Split('=', 2) is not [var name, var value] || !parts.TryAdd(name, value))
                throw Incomplete($"'{part}' is not a key and its value, or is there twice");
        }

        if (!parts.TryGetValue("Credential", out var credential) || !parts.TryGetValue("SignedHeaders", out var signedHeaders)
            || !parts.TryGetValue("Signature", out var signature))
            throw Incomplete("Credential, SignedHeaders and Signature are required");
        if (credential.Split('/') is not [var id, var day, var region, var service, "aws4_request"])
            throw Incomplete("Credential must be id/date/region/service/aws4_request");
        var date = request.Headers["X-Amz-Date"].ToString();
        if (!DateTimeOffset.TryParseExact(date, "yyyyMMdd'T'HHmmss'Z'", CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var at)
            || !date.StartsWith(day, StringComparison.Ordinal))
            throw Incomplete("X-Amz-Date is missing or does not match the credential's date");
        return new Authorization(id, day, region, service, signedHeaders.Split(';'), signature, date, at);

        AwsFault Incomplete(string why) => new(isJson ? "IncompleteSignatureException" : "IncompleteSignature", why);
    }
}
