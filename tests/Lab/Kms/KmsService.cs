using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using Mayfly.Lab.Aws;
using Mayfly.Lab.Ssm;

namespace Mayfly.Lab.Kms;

/// <summary>
/// KMS in its JSON 1.1 protocol, as far as envelope encryption goes: symmetric keys, and an encryption context that has to be
/// the same to decrypt. Tests make keys with <see cref="AddKey"/>, take them away with <see cref="Disable"/> and disturb calls
/// with <see cref="Disturb"/>. https://docs.aws.amazon.com/kms/latest/APIReference/
/// </summary>
internal sealed class KmsService(string region, string account, Journal journal)
{
    private const int NonceBytes = 12;
    private const int TagBytes = 16;
    private const int MostPlaintextBytes = 4096;

    private readonly ConcurrentDictionary<string, byte[]> _keys = new();
    private readonly ConcurrentDictionary<string, string> _aliases = new();
    private readonly ConcurrentDictionary<string, bool> _disabled = new();

    /// <summary>Called before each call; throws the fault that a test wants. Null by default.</summary>
    public Action<string, Principal>? Disturb { get; set; }

    /// <summary>Makes a key.</summary>
    /// <param name="alias">Such as <c>alias/mayfly</c>; may be null.</param>
    /// <returns>Its ARN.</returns>
    public string AddKey(string? alias = null)
    {
        var id = $"{Guid.NewGuid()}";
        _keys[id] = RandomNumberGenerator.GetBytes(32);
        if (alias is not null)
            _aliases[alias] = id;
        return ArnOf(id);
    }

    /// <summary>From now on the key can neither encrypt nor decrypt.</summary>
    public void Disable(string keyId) => _disabled[IdOf(keyId)] = true;

    public JsonObject Call(HttpRequest request, byte[] body, Principal caller)
    {
        var target = request.Headers["X-Amz-Target"].ToString();
        if (request.ContentType?.StartsWith("application/x-amz-json-1.1", StringComparison.Ordinal) != true || !target.StartsWith("TrentService.", StringComparison.Ordinal))
            throw new AwsFault("UnknownOperationException", "");
        var action = target["TrentService.".Length..];
        Disturb?.Invoke(action, caller);
        if (caller.InstanceArn is not null)
            throw new AwsFault("AccessDeniedException", $"User: {caller.Arn} is not authorized to perform: kms:{action} because no identity-based policy allows the kms:{action} action");
        var input = JsonInput.Parse(body);
        var answer = action switch
        {
            "Encrypt" => Encrypt(new JsonInput(input, "KeyId", "Plaintext", "EncryptionContext", "EncryptionAlgorithm")),
            "Decrypt" => Decrypt(new JsonInput(input, "KeyId", "CiphertextBlob", "EncryptionContext", "EncryptionAlgorithm")),
            "GenerateDataKey" => GenerateDataKey(new JsonInput(input, "KeyId", "KeySpec", "NumberOfBytes", "EncryptionContext")),
            "DescribeKey" => DescribeKey(new JsonInput(input, "KeyId")),
            _ => throw new AwsFault("UnknownOperationException", $"{action} is not an operation of KMS that the lab has"),
        };
        journal.Record("kms", action, (string?)answer["KeyId"] ?? "", caller.Arn);
        return answer;
    }

    private JsonObject Encrypt(JsonInput input)
    {
        var id = IdOf(input.Require("KeyId"));
        CheckAlgorithm(input);
        var plaintext = Bytes(input, "Plaintext", MostPlaintextBytes);
        return new JsonObject { ["CiphertextBlob"] = Convert.ToBase64String(Seal(id, plaintext, ContextOf(input))), ["KeyId"] = ArnOf(id), ["EncryptionAlgorithm"] = "SYMMETRIC_DEFAULT" };
    }

    private JsonObject GenerateDataKey(JsonInput input)
    {
        var id = IdOf(input.Require("KeyId"));
        var (spec, count) = (input.Text("KeySpec"), input.Integer("NumberOfBytes", 0, 1, 1024));
        if (spec is null == (count == 0))
            throw new AwsFault("ValidationException", "Please specify either number of bytes or key spec.");
        var key = RandomNumberGenerator.GetBytes(spec switch
        {
            null => count,
            "AES_256" => 32,
            "AES_128" => 16,
            _ => throw new AwsFault("ValidationException", $"Value '{spec}' at 'keySpec' failed to satisfy constraint: Member must satisfy enum value set: [AES_256, AES_128]"),
        });
        return new JsonObject { ["CiphertextBlob"] = Convert.ToBase64String(Seal(id, key, ContextOf(input))), ["Plaintext"] = Convert.ToBase64String(key), ["KeyId"] = ArnOf(id) };
    }

    private JsonObject Decrypt(JsonInput input)
    {
        CheckAlgorithm(input);
        var blob = Bytes(input, "CiphertextBlob", 6144);
        var (id, plaintext) = Open(blob, ContextOf(input));
        if (input.Text("KeyId") is { } wanted && IdOf(wanted) != id)
            throw new AwsFault("IncorrectKeyException", "The key ID in the request does not identify a CMK that can perform this operation.");
        return new JsonObject { ["KeyId"] = ArnOf(id), ["Plaintext"] = Convert.ToBase64String(plaintext), ["EncryptionAlgorithm"] = "SYMMETRIC_DEFAULT" };
    }

    private JsonObject DescribeKey(JsonInput input)
    {
        var id = Find(input.Require("KeyId"));
        return new JsonObject
        {
            ["KeyMetadata"] = new JsonObject
            {
                ["AWSAccountId"] = account, ["KeyId"] = id, ["Arn"] = ArnOf(id), ["Enabled"] = !_disabled.ContainsKey(id), ["KeyUsage"] = "ENCRYPT_DECRYPT",
                ["KeyState"] = _disabled.ContainsKey(id) ? "Disabled" : "Enabled", ["KeySpec"] = "SYMMETRIC_DEFAULT", ["KeyManager"] = "CUSTOMER",
            },
        };
    }

    /// <summary>The key's id, a nonce, the tag and the ciphertext; the context is authenticated with it and not part of it.</summary>
    private byte[] Seal(string id, byte[] plaintext, byte[] context)
    {
        var header = Encoding.ASCII.GetBytes(id);
        var blob = new byte[header.Length + NonceBytes + TagBytes + plaintext.Length];
        header.CopyTo(blob, 0);
        var nonce = blob.AsSpan(header.Length, NonceBytes);
        RandomNumberGenerator.Fill(nonce);
        using var aes = new AesGcm(_keys[id], TagBytes);
        aes.Encrypt(nonce, plaintext, blob.AsSpan(header.Length + NonceBytes + TagBytes), blob.AsSpan(header.Length + NonceBytes, TagBytes), context);
        return blob;
    }

    private (string Id, byte[] Plaintext) Open(byte[] blob, byte[] context)
    {
        const int idCharacters = 36; // of a GUID
        var id = blob.Length >= idCharacters + NonceBytes + TagBytes ? Encoding.ASCII.GetString(blob, 0, idCharacters) : "";
        if (!_keys.TryGetValue(id, out var key))
            throw new AwsFault("InvalidCiphertextException", "");
        RequireEnabled(id);
        var plaintext = new byte[blob.Length - idCharacters - NonceBytes - TagBytes];
        using var aes = new AesGcm(key, TagBytes);
        try
        {
            aes.Decrypt(blob.AsSpan(idCharacters, NonceBytes), blob.AsSpan(idCharacters + NonceBytes + TagBytes), blob.AsSpan(idCharacters + NonceBytes, TagBytes), plaintext, context);
        }
        catch (AuthenticationTagMismatchException)
        {
            throw new AwsFault("InvalidCiphertextException", ""); // altered, or another context: KMS does not tell which
        }

        return (id, plaintext);
    }

    private string IdOf(string keyId)
    {
        var id = Find(keyId);
        RequireEnabled(id);
        return id;
    }

    /// <summary>By id, ARN or alias.</summary>
    private string Find(string keyId)
    {
        var name = keyId.StartsWith("arn:", StringComparison.Ordinal) ? keyId.Split(':', 6)[^1] : keyId;
        name = name.StartsWith("key/", StringComparison.Ordinal) ? name[4..] : name;
        name = _aliases.GetValueOrDefault(name, name);
        return _keys.ContainsKey(name) ? name : throw new AwsFault("NotFoundException", keyId.Contains("alias/", StringComparison.Ordinal) ? $"Alias {keyId} is not found." : $"Key '{ArnOf(name)}' does not exist");
    }

    private void RequireEnabled(string id)
    {
        if (_disabled.ContainsKey(id))
            throw new AwsFault("DisabledException", $"{ArnOf(id)} is disabled.");
    }

    private static void CheckAlgorithm(JsonInput input)
    {
        if (input.Text("EncryptionAlgorithm") is { } algorithm && algorithm != "SYMMETRIC_DEFAULT")
            throw new AwsFault("InvalidKeyUsageException", $"The algorithm {algorithm} is not valid for the key.");
    }

    private static byte[] Bytes(JsonInput input, string name, int most)
    {
        try
        {
            return Convert.FromBase64String(input.Require(name)) is { Length: > 0 } bytes && bytes.Length <= most
                ? bytes
                : throw new AwsFault("ValidationException", $"1 validation error detected: Value at '{name}' failed to satisfy constraint: Member must have length between 1 and {most}");
        }
        catch (FormatException)
        {
            throw new AwsFault("SerializationException", $"{name} is not base64");
        }
    }

    /// <summary>In a fixed order, with lengths, so that no two contexts give the same bytes.</summary>
    private static byte[] ContextOf(JsonInput input) =>
        Encoding.UTF8.GetBytes(string.Concat(input.Map("EncryptionContext").OrderBy(p => p.Key, StringComparer.Ordinal).Select(p => $"{p.Key.Length}:{p.Key}={p.Value.Length}:{p.Value};")));

    private string ArnOf(string id) => $"arn:aws:kms:{region}:{account}:key/{id}";
}
