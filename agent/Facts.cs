using System.Globalization;
using System.Text.Json;
using Mayfly.Contract;

namespace Mayfly.Agent;

/// <summary>
/// What a job's log shows of its machine: files that the agent writes and the sandbox can only read. The runner's hooks
/// print them in its "Set up runner" and "Complete runner" steps. Nothing in them is a secret.
/// </summary>
internal static class Facts
{
    /// <summary>Where the agent writes them.</summary>
    public const string Folder = Handover.Folder + "/facts";

    /// <summary>Where the sandbox shows them.</summary>
    public const string FolderInside = "/run/mayfly";

    /// <summary>The folder's mode: for all to read.</summary>
    public const UnixFileMode Readable = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute
        | UnixFileMode.GroupRead | UnixFileMode.GroupExecute | UnixFileMode.OtherRead | UnixFileMode.OtherExecute;

    /// <summary>Which runner the image's build put in, and when that was released.</summary>
    private const string InstalledRunner = "/usr/lib/mayfly/runner.json";

    private const string Hooks = "/usr/lib/mayfly/hooks/";

    /// <summary>Highest use of memory, swap and disk so far; renewed while the job runs.</summary>
    public static string HighWater => Path.Combine(Folder, "high-water");

    /// <summary>How the runner finds its hooks.
    /// https://docs.github.com/en/actions/how-tos/manage-runners/self-hosted-runners/run-scripts</summary>
    public static readonly IReadOnlyDictionary<string, string> HookVariables = new Dictionary<string, string>
    {
        ["ACTIONS_RUNNER_HOOK_JOB_STARTED"] = Hooks + "job-started.sh",
        ["ACTIONS_RUNNER_HOOK_JOB_COMPLETED"] = Hooks + "job-completed.sh",
    };

    public static void Write(Identity me, Handover proved, IReadOnlyList<ConsoleEvent> events)
    {
        File.WriteAllText(Path.Combine(Folder, "machine"), Describe(me, proved, DescribeRunner(), events));
    }

    /// <summary>The runner's release, and when that was released where the build knew.</summary>
    public static string DescribeRunner() => File.Exists(InstalledRunner) ? DescribeRunner(File.ReadAllText(InstalledRunner)) : "unknown";

    /// <param name="json"><c>kind</c>, <c>version</c>, and <c>released</c> or null where the build could not learn it.</param>
    internal static string DescribeRunner(string json)
    {
        using var runner = JsonDocument.Parse(json);
        var (kind, version, released) = (runner.RootElement.GetProperty("kind"), runner.RootElement.GetProperty("version"), runner.RootElement.GetProperty("released"));
        return $"{version} ({kind}){(released.ValueKind == JsonValueKind.String ? $", released {released.ToString()[..10]}" : "")}";
    }

    internal static string Describe(Identity me, Handover proved, string runner, IReadOnlyList<ConsoleEvent> events) =>
        $"""
        Machine   {me.InstanceId}, {me.InstanceType} in {me.AvailabilityZone}
        Image     {me.ImageId}, root hash {proved.RootHash}
        Runner    {runner}
        Scratch   {proved.Scratch}
        Swap      {proved.Swap}
        Boot      {string.Join(", ", SecondsOfSteps(events))}

        """;

    /// <summary>A step lasted from the event before it to its own last one: what the firmware, the kernel and systemd took
    /// stands with the step that waited for them.</summary>
    private static IEnumerable<string> SecondsOfSteps(IReadOnlyList<ConsoleEvent> events)
    {
        var before = 0.0;
        foreach (var step in Step.All)
        {
            if (events.LastOrDefault(e => e.Step == step.Number && e.Name != "note") is not { } last)
                continue;
            yield return string.Create(CultureInfo.InvariantCulture, $"{step.Number} {step.Name} {last.At - before:F2} s");
            before = last.At;
        }
    }
}
