using System.Buffers;
using System.Security.Cryptography;
using System.Text.Json;
using Mayfly.Contract;

namespace Mayfly.Aws;

/// <summary>A parameter as DescribeParameters tells of it: never its value.</summary>
public sealed record ParameterDescription(string Name, DateTimeOffset Modified);

/// <summary>The calls to SSM Parameter Store that Mayfly makes, in its JSON 1.1 protocol.
/// https://docs.aws.amazon.com/systems-manager/latest/APIReference/</summary>
public sealed class SsmClient(AwsConnection connection)
{
    /// <summary>Stores a SecureString under the account's default key. The tier is always sent: nothing upgrades a
    /// parameter by its size.</summary>
    /// <exception cref="AwsException"><c>ParameterAlreadyExists</c>, which after a lost answer may be our own;
    /// <c>ParameterLimitExceeded</c>; <c>ValidationException</c> for a value over 4,096 characters.</exception>
    public Task PutSecureStringAsync(string name, string value, IReadOnlyDictionary<string, string> tags, CancellationToken cancel) =>
        CallAsync("PutParameter", input =>
        {
            input.WriteString("Name", name);
            input.WriteString("Value", value);
            input.WriteString("Type", "SecureString");
            input.WriteString("Tier", "Standard");
            input.WriteStartArray("Tags");
            foreach (var (key, tag) in tags)
            {
                input.WriteStartObject();
                input.WriteString("Key", key);
                input.WriteString("Value", tag);
                input.WriteEndObject();
            }

            input.WriteEndArray();
        }, cancel);

    /// <summary>A parameter's decrypted value. It never becomes a string: what carried it is zeroed.</summary>
    /// <exception cref="AwsException"><c>ParameterNotFound</c>, or <c>AccessDeniedException</c> where the policy asks for
    /// a tag: of a parameter that is gone no tag is left to match.</exception>
    public async Task<Secret> GetDecryptedAsync(string name, CancellationToken cancel)
    {
        var body = await CallAsync("GetParameter", input =>
        {
            input.WriteString("Name", name);
            input.WriteBoolean("WithDecryption", true);
        }, cancel);
        try
        {
            return ReadValue(body) ?? throw new InvalidDataException("GetParameter: an answer without a value");
        }
        catch (JsonException)
        {
            throw new InvalidDataException("GetParameter: the answer is not JSON"); // the reader's message could quote it
        }
        finally
        {
            CryptographicOperations.ZeroMemory(body);
        }
    }

    /// <summary>The value of a parameter that holds no secret; null if there is none of that name.</summary>
    public async Task<string?> FindTextAsync(string name, CancellationToken cancel)
    {
        using var answer = JsonDocument.Parse(await CallAsync("GetParameters", input =>
        {
            input.WriteStartArray("Names");
            input.WriteStringValue(name);
            input.WriteEndArray();
        }, cancel));
        return answer.RootElement.GetProperty("Parameters").EnumerateArray().Select(p => p.GetProperty("Value").GetString()).FirstOrDefault();
    }

    /// <summary>Deletes a parameter.</summary>
    /// <exception cref="AwsException">As <see cref="GetDecryptedAsync"/>.</exception>
    public Task DeleteAsync(string name, CancellationToken cancel) =>
        CallAsync("DeleteParameter", input => input.WriteString("Name", name), cancel);

    /// <summary>Deletes parameters, at most ten; those that are gone are no error.</summary>
    public Task DeleteManyAsync(IReadOnlyList<string> names, CancellationToken cancel) => CallAsync("DeleteParameters", input =>
    {
        input.WriteStartArray("Names");
        foreach (var name in names)
            input.WriteStringValue(name);
        input.WriteEndArray();
    }, cancel);

    /// <summary>Parameters right below a path.</summary>
    /// <param name="path">Without its last slash.</param>
    /// <param name="mostPages">Of 50 parameters; more are not asked for.</param>
    public async Task<IReadOnlyList<ParameterDescription>> DescribeBelowAsync(string path, int mostPages, CancellationToken cancel)
    {
        var found = new List<ParameterDescription>();
        string? page = null;
        for (var pages = 0; pages < mostPages; pages++)
        {
            using var answer = JsonDocument.Parse(await CallAsync("DescribeParameters", input =>
            {
                input.WriteNumber("MaxResults", 50);
                if (page is not null)
                    input.WriteString("NextToken", page);
                input.WriteStartArray("ParameterFilters");
                input.WriteStartObject();
                input.WriteString("Key", "Path");
                input.WriteString("Option", "OneLevel");
                input.WriteStartArray("Values");
                input.WriteStringValue(path);
                input.WriteEndArray();
                input.WriteEndObject();
                input.WriteEndArray();
            }, cancel));
            foreach (var parameter in answer.RootElement.GetProperty("Parameters").EnumerateArray())
            {
                found.Add(new ParameterDescription(parameter.GetProperty("Name").GetString()!,
                    DateTimeOffset.UnixEpoch.AddSeconds(parameter.GetProperty("LastModifiedDate").GetDouble())));
            }

            page = answer.RootElement.TryGetProperty("NextToken", out var next) ? next.GetString() : null;
            if (string.IsNullOrEmpty(page))
                break;
        }

        return found;
    }

    /// <summary>Whether a parameter is there, asked without reading it: by its tags.</summary>
    public async Task<bool> ExistsAsync(string name, CancellationToken cancel)
    {
        try
        {
            await CallAsync("ListTagsForResource", input =>
            {
                input.WriteString("ResourceType", "Parameter");
                input.WriteString("ResourceId", name);
            }, cancel);
            return true;
        }
        catch (AwsException e) when (e.Code == "InvalidResourceId")
        {
            return false;
        }
    }

    private Task<byte[]> CallAsync(string action, Action<Utf8JsonWriter> write, CancellationToken cancel)
    {
        var body = new ArrayBufferWriter<byte>();
        using (var input = new Utf8JsonWriter(body))
        {
            input.WriteStartObject();
            write(input);
            input.WriteEndObject();
        }

        return connection.SendAsync(action, new AwsRequest(body.WrittenSpan.ToArray(), "application/x-amz-json-1.1", $"AmazonSSM.{action}"),
            (response, answer) => JsonError.Read(action, response, answer), cancel);
    }

    /// <summary>The value at <c>Parameter.Value</c>.</summary>
    private static Secret? ReadValue(ReadOnlySpan<byte> answer)
    {
        var reader = new Utf8JsonReader(answer);
        var depth = 0;
        while (reader.Read())
        {
            if (reader.TokenType != JsonTokenType.PropertyName)
                continue;
            var isParameter = reader.CurrentDepth == 1 && reader.ValueTextEquals("Parameter"u8);
            var isValue = depth == 1 && reader.CurrentDepth == 2 && reader.ValueTextEquals("Value"u8);
            reader.Read();
            if (isValue && reader.TokenType == JsonTokenType.String)
                return Unescape(ref reader);
            if (isParameter && reader.TokenType == JsonTokenType.StartObject)
                depth = 1;
            else
                reader.Skip();
        }

        return null;
    }

    private static Secret Unescape(ref Utf8JsonReader reader)
    {
        // Unescaping only ever shortens.
        var buffer = Secret.Allocate(reader.ValueSpan.Length);
        var length = reader.CopyString(buffer);
        if (length == buffer.Length)
            return new Secret(buffer);
        var value = Secret.Allocate(length);
        buffer.AsSpan(0, length).CopyTo(value);
        CryptographicOperations.ZeroMemory(buffer);
        return new Secret(value);
    }
}
