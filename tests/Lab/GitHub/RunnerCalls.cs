using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Mayfly.Lab.GitHub;

/// <summary>The calls about self-hosted runners, of a repository and of an organisation.
/// https://docs.github.com/rest/actions/self-hosted-runners</summary>
internal sealed class RunnerCalls(GitHubServer server)
{
    public async Task<(int Status, JsonNode? Body)> GenerateJitConfigAsync(RestCall call)
    {
        var request = await call.ReadAsync();
        var name = (string?)request["name"];
        var labels = (request["labels"] as JsonArray)?.Select(l => (string?)l ?? "").ToList();
        if (string.IsNullOrEmpty(name) || name.Length > 64 || request["runner_group_id"]?.GetValueKind() != JsonValueKind.Number || labels is null || labels.Count is < 1 or > 100 || labels.Contains(""))
            throw new GitHubFault(422, "Invalid request: name (1 to 64 characters), runner_group_id and 1 to 100 labels are required");
        if ((int)request["runner_group_id"]! != 1)
            throw new GitHubFault(404, "Not Found");
        var runner = server.Runners.Register(name, labels, (string?)request["work_folder"] ?? "_work", call.Scope);
        var encoded = runner.EncodeJitConfig(server.PublicAddress);
        if (server.JitPadding > 0)
            encoded = Pad(encoded, server.JitPadding);
        return (201, new JsonObject { ["runner"] = Json(runner), ["encoded_jit_config"] = encoded });
    }

    public JsonObject List(RestCall call)
    {
        var name = call.Query("name");
        return call.Page("runners", [.. server.Runners.All.Where(r => r.Scope == call.Scope && (name.Length == 0 || r.Name == name)).OrderBy(r => r.Id)], Json);
    }

    public JsonObject Show(RestCall call) => Json(Find(call));

    /// <exception cref="GitHubFault">422: it has a job.</exception>
    public void Delete(RestCall call)
    {
        var runner = Find(call);
        if (runner.Job is { State: not JobState.Completed })
            throw new GitHubFault(422, $"Bad request - Runner \"{runner.Name}\" is still running a job\"");
        server.Runners.Remove(runner, "deleted through the API");
    }

    private Runner Find(RestCall call) => server.Runners.Find(call.Id) is var runner && runner.Scope == call.Scope ? runner : throw new GitHubFault(404, "Not Found");

    private static JsonObject Json(Runner runner) => new()
    {
        ["id"] = runner.Id, ["name"] = runner.Name, ["os"] = "linux", ["status"] = runner.Session is null ? "offline" : "online",
        ["busy"] = runner.Job is { State: not JobState.Completed }, ["ephemeral"] = true, ["runner_group_id"] = 1,
        ["labels"] = new JsonArray([.. runner.Labels.Select((l, i) => new JsonObject { ["id"] = i + 1, ["name"] = l, ["type"] = "custom" })]),
    };

    private static string Pad(string encoded, int bytes)
    {
        var files = JsonNode.Parse(Convert.FromBase64String(encoded))!.AsObject();
        files[".runner"] = Convert.ToBase64String(RandomNumberGenerator.GetBytes(bytes));
        return Convert.ToBase64String(JsonSerializer.SerializeToUtf8Bytes(files));
    }
}
