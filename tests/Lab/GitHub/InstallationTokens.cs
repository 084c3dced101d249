using System.Collections.Concurrent;
using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json.Nodes;

namespace Mayfly.Lab.GitHub;

/// <summary>What a token opens.</summary>
internal sealed record InstallationToken(Installation Installation, IReadOnlyCollection<string> Repositories, IReadOnlyDictionary<string, string> Permissions, DateTimeOffset Expires);

/// <summary>
/// Who calls: the App by a token that it signed itself, or an installation by one that it was given for an hour.
/// https://docs.github.com/apps/creating-github-apps/authenticating-with-a-github-app
/// </summary>
internal sealed class InstallationTokens(GitHubOptions options, TimeProvider time)
{
    private readonly ConcurrentDictionary<string, InstallationToken> _tokens = new();

    /// <summary>No token that was issued is known any more.</summary>
    public void Forget() => _tokens.Clear();

    /// <param name="request">May ask for less than the installation has: permissions, and repositories by name.</param>
    public JsonObject Issue(long id, JsonObject request)
    {
        var installation = options.Installations.FirstOrDefault(i => i.Id == id) ?? throw new GitHubFault(404, "Not Found");
        if (installation.IsSuspended)
            throw new GitHubFault(403, "This installation has been suspended");
        var permissions = options.Permissions;
        if (request["permissions"] is JsonObject asked)
        {
            permissions = asked.ToDictionary(p => p.Key, p => (string?)p.Value ?? "");
            if (permissions.Any(p => !Includes(options.Permissions, p.Key, p.Value)))
                throw new GitHubFault(422, "The permissions requested are not granted to this installation.");
        }

        var repositories = installation.FullNames.ToList();
        if (request["repositories"] is JsonArray names)
        {
            repositories = [.. names.Select(n => $"{installation.Owner}/{(string?)n}")];
            if (repositories.Except(installation.FullNames).Any())
                throw new GitHubFault(422, "There is at least one repository that does not exist or is not accessible to the parent installation.");
        }

        var token = "ghs_" + Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(18));
        var expires = time.GetUtcNow().AddHours(1);
        _tokens[token] = new InstallationToken(installation, repositories, permissions, expires);
        return new JsonObject
        {
            ["token"] = token, ["expires_at"] = expires.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture),
            ["permissions"] = new JsonObject([.. permissions.Select(p => KeyValuePair.Create(p.Key, (JsonNode?)JsonValue.Create(p.Value)))]), ["repository_selection"] = "selected",
        };
    }

    /// <exception cref="GitHubFault">401: no token, or one that has expired.</exception>
    public InstallationToken Require(HttpContext context) =>
        _tokens.TryGetValue(Bearer(context), out var token) && token.Expires > time.GetUtcNow() ? token : throw new GitHubFault(401, "Bad credentials");

    /// <summary>The App signs a token that lives for at most ten minutes and was not issued in the future.</summary>
    public void RequireApp(HttpContext context)
    {
        var claims = Jwt.Verify(Bearer(context), options.AppKey) ?? throw new GitHubFault(401, "A JSON web token could not be decoded");
        var now = time.GetUtcNow().ToUnixTimeSeconds();
        var (issued, expires) = ((long?)claims["iat"] ?? 0, (long?)claims["exp"] ?? 0);
        if (claims["iss"]?.ToString() != options.AppId.ToString(CultureInfo.InvariantCulture))
            throw new GitHubFault(401, "'Issuer' claim ('iss') must be the App's id");
        if (issued > now + 60)
            throw new GitHubFault(401, "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued");
        if (expires <= now)
            throw new GitHubFault(401, "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires");
        if (expires > now + 600)
            throw new GitHubFault(401, "'Expiration time' claim ('exp') is too far in the future");
    }

    /// <summary>Whether these permissions hold one: writing includes reading.</summary>
    public static bool Includes(IReadOnlyDictionary<string, string> permissions, string name, string level) =>
        permissions.TryGetValue(name, out var given) && (given == level || (given == "write" && level == "read"));

    private static string Bearer(HttpContext context)
    {
        var header = context.Request.Headers.Authorization.ToString();
        return header.StartsWith("Bearer ", StringComparison.OrdinalIgnoreCase) ? header[7..] : throw new GitHubFault(401, "Requires authentication");
    }
}
