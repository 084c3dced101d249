using System.Text.Json.Nodes;

namespace Mayfly.Lab.Tests;

/// <summary>Inputs of Parameter Store's operations.</summary>
internal static class AwsParameters
{
    public static JsonObject Put(string name, string value = "v", string? type = "SecureString", string? tier = null, bool overwrite = false, params (string Key, string Value)[] tags)
    {
        var input = new JsonObject { ["Name"] = name, ["Value"] = value };
        if (type is not null)
            input["Type"] = type;
        if (tier is not null)
            input["Tier"] = tier;
        if (overwrite)
            input["Overwrite"] = true;
        if (tags.Length > 0)
            input["Tags"] = new JsonArray([.. tags.Select(t => new JsonObject { ["Key"] = t.Key, ["Value"] = t.Value })]);
        return input;
    }

    public static JsonObject Named(string name, bool decrypt = false) => decrypt ? new() { ["Name"] = name, ["WithDecryption"] = true } : new() { ["Name"] = name };
}
