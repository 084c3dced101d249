using System.Text.Json.Nodes;

namespace Mayfly.Lab.Tests;

public sealed class AwsKmsTests
{
    private static JsonObject Context(string installation) => new() { ["installation"] = installation };

    [Fact]
    public async Task A_data_key_comes_back_under_its_own_context_and_no_other()
    {
        await using var lab = await Lab.StartAsync(new LabOptions());
        var client = new AwsClient(lab);
        var key = lab.Kms.AddKey("alias/mayfly");

        var made = await client.KmsAsync("GenerateDataKey", new JsonObject { ["KeyId"] = "alias/mayfly", ["KeySpec"] = "AES_256", ["EncryptionContext"] = Context("1") });
        Assert.Equal((key, 32), ((string)made.Json!["KeyId"]!, Convert.FromBase64String((string)made.Json["Plaintext"]!).Length));
        var blob = (string)made.Json["CiphertextBlob"]!;
        Assert.Equal((string)made.Json["Plaintext"]!, (string)(await DecryptAsync(blob, Context("1"))).Json!["Plaintext"]!);
        Assert.Equal("InvalidCiphertextException", (await DecryptAsync(blob, Context("2"))).Code);
        Assert.Equal("InvalidCiphertextException", (await DecryptAsync(blob, null)).Code);
        Assert.Equal("InvalidCiphertextException", (await DecryptAsync(Convert.ToBase64String(new byte[100]), Context("1"))).Code);

        Task<AwsAnswer> DecryptAsync(string blob, JsonObject? context)
        {
            var input = new JsonObject { ["CiphertextBlob"] = blob };
            if (context is not null)
                input["EncryptionContext"] = context;
            return client.KmsAsync("Decrypt", input);
        }
    }

    [Fact]
    public async Task What_is_encrypted_under_one_key_is_not_decrypted_under_another_nor_when_it_is_disabled()
    {
        await using var lab = await Lab.StartAsync(new LabOptions());
        var client = new AwsClient(lab);
        var (one, other) = (lab.Kms.AddKey(), lab.Kms.AddKey());

        var blob = (string)(await client.KmsAsync("Encrypt", new JsonObject { ["KeyId"] = one, ["Plaintext"] = "c2VjcmV0" })).Json!["CiphertextBlob"]!;
        Assert.Equal("c2VjcmV0", (string)(await client.KmsAsync("Decrypt", new JsonObject { ["CiphertextBlob"] = blob, ["KeyId"] = one })).Json!["Plaintext"]!);
        Assert.Equal("IncorrectKeyException", (await client.KmsAsync("Decrypt", new JsonObject { ["CiphertextBlob"] = blob, ["KeyId"] = other })).Code);
        lab.Kms.Disable(one);
        Assert.Equal("DisabledException", (await client.KmsAsync("Decrypt", new JsonObject { ["CiphertextBlob"] = blob })).Code);
    }

    [Theory]
    [InlineData("""{"Plaintext":"AA=="}""", "ValidationException")]
    [InlineData("""{"KeyId":"alias/none","Plaintext":"AA=="}""", "NotFoundException")]
    [InlineData("""{"KeyId":"alias/mayfly","Plaintext":"not base64"}""", "SerializationException")]
    [InlineData("""{"KeyId":"alias/mayfly","Plaintext":"AA==","EncryptionContext":["a"]}""", "SerializationException")]
    [InlineData("""{"KeyId":"alias/mayfly","Plaintext":"AA==","Colour":"red"}""", "ValidationException")]
    public async Task What_Encrypt_would_refuse_is_refused(string input, string code)
    {
        await using var lab = await Lab.StartAsync(new LabOptions());
        lab.Kms.AddKey("alias/mayfly");

        Assert.Equal(code, (await new AwsClient(lab).KmsAsync("Encrypt", JsonNode.Parse(input)!.AsObject())).Code);
    }

    [Fact]
    public async Task A_role_that_wants_an_external_id_is_assumed_with_it_alone_even_in_another_account()
    {
        await using var lab = await Lab.StartAsync(new LabOptions());
        const string role = "arn:aws:iam::999999999999:role/mayfly";
        lab.Sts.Add(new Aws.Role(role, "from-the-operator"));

        Assert.Equal("AccessDenied", (await AssumeAsync()).Code);
        Assert.Equal("AccessDenied", (await AssumeAsync(("ExternalId", "guessed"))).Code);
        var assumed = await AssumeAsync(("ExternalId", "from-the-operator"));
        Assert.Equal("arn:aws:sts::999999999999:assumed-role/mayfly/me", assumed.One("Arn"));

        Task<AwsAnswer> AssumeAsync(params (string, string)[] more) => new AwsClient(lab).StsAsync("AssumeRole", [("RoleArn", role), ("RoleSessionName", "me"), .. more]);
    }
}
