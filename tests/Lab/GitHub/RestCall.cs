using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;

namespace Mayfly.Lab.GitHub;

/// <summary>One call of the REST API whose caller has proved itself.</summary>
/// <param name="Path">The route's match, whose groups are the path's parts.</param>
/// <param name="Installation">Null for a call of the App itself.</param>
internal sealed record RestCall(HttpContext Context, Match Path, Installation? Installation)
{
    private const int MostPerPage = 100;

    public string Part(string name) => Path.Groups[name].Value;

    public long Id => long.Parse(Path.Groups["id"].ValueSpan, CultureInfo.InvariantCulture);

    /// <summary>Full name of the path's repository.</summary>
    public string Repository => $"{Part("owner")}/{Part("repo")}";

    /// <summary>What registered runners are kept under: the path's repository, or its organisation.</summary>
    public string Scope => Path.Groups["repo"].Success ? $"repos/{Repository}" : $"orgs/{Part("owner")}";

    public string Query(string name) => Context.Request.Query[name].ToString();

    /// <exception cref="GitHubFault">400: no JSON object.</exception>
    public async Task<JsonObject> ReadAsync()
    {
        if (Context.Request.ContentLength is 0 or null && Context.Request.Headers.TransferEncoding.Count == 0)
            return [];
        try
        {
            return await JsonNode.ParseAsync(Context.Request.Body, cancellationToken: Context.RequestAborted) as JsonObject ?? throw new JsonException();
        }
        catch (JsonException)
        {
            throw new GitHubFault(400, "Problems parsing JSON");
        }
    }

    /// <summary>30 by default, 100 at most: GitHub takes no more, and says nothing.</summary>
    public int PerPage => int.TryParse(Query("per_page"), NumberStyles.None, CultureInfo.InvariantCulture, out var given) && given > 0 ? Math.Min(given, MostPerPage) : 30;

    /// <summary>The asked page of a list, with links to the others in the header as GitHub sets them.</summary>
    public JsonObject Page<T>(string name, IReadOnlyList<T> all, Func<T, JsonObject> json) => new()
    {
        ["total_count"] = all.Count, [name] = Page(all, json),
    };

    public JsonArray Page<T>(IReadOnlyList<T> all, Func<T, JsonObject> json)
    {
        var page = int.TryParse(Query("page"), NumberStyles.None, CultureInfo.InvariantCulture, out var given) && given > 0 ? given : 1;
        var last = Math.Max(1, (all.Count + PerPage - 1) / PerPage);
        var links = new List<string>();
        if (page > 1)
            links.AddRange([Link("prev", "page", $"{page - 1}"), Link("first", "page", "1")]);
        if (page < last)
            links.AddRange([Link("next", "page", $"{page + 1}"), Link("last", "page", $"{last}")]);
        if (links.Count > 0)
            Context.Response.Headers.Link = string.Join(", ", links);
        return new JsonArray([.. all.Skip((page - 1) * PerPage).Take(PerPage).Select(json)]);
    }

    /// <summary>This call's address with one parameter changed.</summary>
    public string Link(string relation, string parameter, string value)
    {
        var query = Context.Request.Query.Where(q => q.Key != parameter).Select(q => $"{q.Key}={Uri.EscapeDataString(q.Value.ToString())}").Append($"{parameter}={Uri.EscapeDataString(value)}");
        return $"<{Context.Request.Scheme}://{Context.Request.Host}{Context.Request.Path}?{string.Join('&', query)}>; rel=\"{relation}\"";
    }
}
