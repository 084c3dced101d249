using System.Reflection;
using System.Text.Json.Nodes;
using NJsonSchema;

namespace Mayfly.Lab.Tests;

/// <summary>What GitHub publishes of its REST API's answers, by call and status, as JSON schemas. OpenAPI 3.0 says
/// <c>nullable</c> where JSON schema has a type of its own for it.</summary>
internal sealed class OpenApiSchemas
{
    private const string Version = "23.0.2";
    private const string Reference = "#/components/schemas/";

    private static readonly NpmPackages Octokit = new(
        typeof(OpenApiSchemas).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>().Single(a => a.Key == "Artifacts").Value!, $"openapi-{Version}",
        $"@octokit/openapi@{Version}");

    private readonly JsonNode _api;

    private OpenApiSchemas(JsonNode api) => _api = api;

    public static async Task<OpenApiSchemas> LoadAsync()
    {
        await using var file = File.OpenRead(await Octokit.FindAsync(Path.Combine("@octokit", "openapi", "generated", "api.github.com.json")));
        return new OpenApiSchemas((await JsonNode.ParseAsync(file, cancellationToken: TestContext.Current.CancellationToken))!);
    }

    /// <param name="call">Such as <c>get /app/installations</c>, with the path's parts named as GitHub does.</param>
    public async Task<JsonSchema> OfAsync(string call, int status)
    {
        var (method, path) = (call.Split(' ')[0], call.Split(' ')[1]);
        var response = _api["paths"]![path]?[method]?["responses"]?[$"{status}"] ?? throw new InvalidOperationException($"GitHub publishes no {status} of {call}");
        if ((string?)response["$ref"] is { } shared)
            response = _api["components"]!["responses"]![shared.Split('/')[^1]]!;
        var definitions = new JsonObject();
        var schema = Convert(response["content"]!["application/json"]!["schema"]!, definitions).AsObject();
        schema["definitions"] = definitions;
        return await JsonSchema.FromJsonAsync(schema.ToJsonString(), TestContext.Current.CancellationToken);
    }

    private JsonNode Convert(JsonNode node, JsonObject definitions)
    {
        if (node is JsonArray items)
            return new JsonArray([.. items.Select(i => i is null ? null : Convert(i, definitions))]);
        if (node is not JsonObject schema)
            return node.DeepClone();
        if ((string?)schema["$ref"] is { } reference)
        {
            var name = reference[Reference.Length..];
            if (!definitions.ContainsKey(name))
            {
                definitions[name] = new JsonObject(); // it may refer to itself
                definitions[name] = Convert(_api["components"]!["schemas"]![name]!, definitions);
            }

            return new JsonObject { ["$ref"] = $"#/definitions/{name}" };
        }

        var converted = new JsonObject();
        foreach (var (key, value) in schema)
        {
            if (value is not null && key is not ("nullable" or "example" or "examples" or "default" or "discriminator" or "deprecated" or "externalDocs"))
                converted[key] = Convert(value, definitions);
        }

        if (schema["nullable"] is not JsonValue)
            return converted;
        return new JsonObject { ["anyOf"] = new JsonArray(converted, new JsonObject { ["type"] = "null" }) };
    }
}
