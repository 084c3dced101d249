using System.Net.Http.Headers;
using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;

namespace Mayfly.Aws;

/// <summary>The calls to SSM Parameter Store that Mayfly makes, in its JSON 1.1 protocol.
/// https://docs.aws.amazon.com/systems-manager/latest/APIReference/</summary>
public sealed class SsmClient(AwsConnection connection)
{
    /// <summary>Stores a SecureString under the account's default key. The tier is always sent: nothing upgrades a
    /// parameter by its size.</summary>
    /// <exception cref="AwsException"><c>ParameterAlreadyExists</c>, which after a lost answer may be our own;
    /// <c>ParameterLimitExceeded</c>; <c>ValidationException</c> for a value over 4,096 characters.</exception>
    public Task PutSecureStringAsync(string name, string value, IReadOnlyDictionary<string, string> tags, CancellationToken cancel) =>
        CallAsync("PutParameter",
            new PutParameterRequest(name, value, "SecureString", "Standard", [.. tags.Select(t => new SsmTag(t.Key, t.Value))]),
            SsmJson.Default.PutParameterRequest, cancel);

    /// <summary>A parameter's decrypted value.</summary>
    /// <exception cref="AwsException"><c>ParameterNotFound</c>, or <c>AccessDeniedException</c> where the policy asks for
    /// a tag: of a parameter that is gone no tag is left to match.</exception>
    public async Task<string> GetDecryptedAsync(string name, CancellationToken cancel)
    {
        var body = await CallAsync("GetParameter", new GetParameterRequest(name, true), SsmJson.Default.GetParameterRequest, cancel);
        var response = JsonSerializer.Deserialize(body, SsmJson.Default.GetParameterResponse);
        System.Security.Cryptography.CryptographicOperations.ZeroMemory(body);
        return response?.Parameter?.Value ?? throw new InvalidDataException("GetParameter: an answer without a value");
    }

    /// <summary>Deletes a parameter.</summary>
    /// <exception cref="AwsException">As <see cref="GetDecryptedAsync"/>.</exception>
    public Task DeleteAsync(string name, CancellationToken cancel) =>
        CallAsync("DeleteParameter", new DeleteParameterRequest(name), SsmJson.Default.DeleteParameterRequest, cancel);

    /// <summary>Whether a parameter is there, asked without reading it: by its tags.</summary>
    public async Task<bool> ExistsAsync(string name, CancellationToken cancel)
    {
        try
        {
            await CallAsync("ListTagsForResource", new ListTagsRequest("Parameter", name), SsmJson.Default.ListTagsRequest, cancel);
            return true;
        }
        catch (AwsException e) when (e.Code == "InvalidResourceId")
        {
            return false;
        }
    }

    private Task<byte[]> CallAsync<T>(string action, T input, JsonTypeInfo<T> type, CancellationToken cancel)
    {
        return connection.SendAsync(action, MakeRequest, (response, body) => ReadError(action, response, body), cancel);

        HttpRequestMessage MakeRequest()
        {
            var content = new ByteArrayContent(JsonSerializer.SerializeToUtf8Bytes(input, type));
            content.Headers.ContentType = new MediaTypeHeaderValue("application/x-amz-json-1.1");
            return new HttpRequestMessage(HttpMethod.Post, "") { Content = content, Headers = { { "X-Amz-Target", $"AmazonSSM.{action}" } } };
        }
    }

    private static AwsException ReadError(string action, HttpResponseMessage response, byte[] body)
    {
        SsmError? error = null;
        try
        {
            error = JsonSerializer.Deserialize(body, SsmJson.Default.SsmError);
        }
        catch (JsonException)
        {
            // not the service's own answer (a proxy's page, say): the status still tells
        }

        // The type may come as "namespace#Code".
        var code = error?.Type?.Split('#')[^1] ?? "Unknown";
        return new AwsException(action, code, error?.Message ?? error?.MessageCapital ?? "no message", response.StatusCode);
    }
}

internal sealed record SsmTag(string Key, string Value);

internal sealed record PutParameterRequest(string Name, string Value, string Type, string Tier, IReadOnlyList<SsmTag> Tags);

internal sealed record GetParameterRequest(string Name, bool WithDecryption);

internal sealed record GetParameterResponse(SsmParameter? Parameter);

internal sealed record SsmParameter(string? Value);

internal sealed record DeleteParameterRequest(string Name);

internal sealed record ListTagsRequest(string ResourceType, string ResourceId);

internal sealed record SsmError(
    [property: JsonPropertyName("__type")] string? Type,
    [property: JsonPropertyName("message")] string? Message,
    [property: JsonPropertyName("Message")] string? MessageCapital);

[JsonSerializable(typeof(PutParameterRequest))]
[JsonSerializable(typeof(GetParameterRequest))]
[JsonSerializable(typeof(GetParameterResponse))]
[JsonSerializable(typeof(DeleteParameterRequest))]
[JsonSerializable(typeof(ListTagsRequest))]
[JsonSerializable(typeof(SsmError))]
internal sealed partial class SsmJson : JsonSerializerContext;
