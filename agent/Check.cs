using System.Globalization;
using Mayfly.Aws;

namespace Mayfly.Agent;

/// <summary>Something that Mayfly promises of a running machine, and whether it holds there.</summary>
/// <param name="Detail">What was found.</param>
internal sealed record Guarantee(string Name, bool Holds, string Detail)
{
    public override string ToString() => $"{(Holds ? "holds" : "FAILS")}  {Name}: {Detail}";
}

/// <summary>
/// <c>mayfly-agent check</c>: looks at a running machine for each guarantee, from outside the job's sandbox. It asks the kernel,
/// the metadata service and SSM as they are now, and nothing that the agent remembers, but for the root hash to compare with.
/// A launch with <c>mayfly:check=true</c> has it told on the console.
/// </summary>
internal sealed class Check(TimeProvider time)
{
    private const string Unit = "mayfly-agent.service";
    private const string UnitCgroup = "/sys/fs/cgroup/system.slice/" + Unit;

    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(30);

    public async Task<IReadOnlyList<Guarantee>> AllAsync(CancellationToken cancel) =>
    [
        await LookAsync("the root is verified", () => Task.FromResult(Root())),
        await LookAsync("every write lands on scratch", () => Task.FromResult(Views())),
        await LookAsync("scratch is encrypted, or in memory", () => Task.FromResult(Scratch())),
        await LookAsync("swap is encrypted, or in memory", () => Task.FromResult(Swap())),
        await LookAsync("the configuration is gone from its source", () => ConfigAsync(cancel)),
        await LookAsync("the metadata service's door is closed", () => DoorAsync(cancel)),
        await LookAsync("the job is in its sandbox", () => Task.FromResult(Job())),
        await LookAsync("the agent's memory is locked and never dumped", () => Task.FromResult(Memory())),
        await LookAsync("the machine ends with the agent", () => BackstopsAsync(cancel)),
    ];

    /// <summary>What cannot be looked at does not hold.</summary>
    private static async Task<Guarantee> LookAsync(string name, Func<Task<(bool, string)>> look)
    {
        try
        {
            var (holds, detail) = await look();
            return new Guarantee(name, holds, detail);
        }
        catch (Exception e)
        {
            return new Guarantee(name, false, e.Message);
        }
    }

    private static (bool, string) Root()
    {
        var expected = Handover.Read(Handover.Folder).RootHash;
        var (target, status) = DeviceMapper.StatusOf("mayfly-root");
        // V: no block read so far was corrupt. https://docs.kernel.org/admin-guide/device-mapper/verity.html
        return (target == "verity" && status == "V", $"target {target}, status {status}, root hash {expected}");
    }

    private static (bool, string) Views()
    {
        var types = new[] { "/", Handover.JobRoot }.Select(at => $"{at} is {Mounts().LastOrDefault(m => m.At == at).Type ?? "not mounted"}").ToList();
        return (types.All(t => t.EndsWith(" overlay", StringComparison.Ordinal)), string.Join(", ", types));
    }

    private static (bool, string) Scratch() =>
        Directory.EnumerateDirectories("/sys/block", "dm-*").Any(d => NameOf(Path.GetFileName(d)) == "mayfly-scratch")
            ? (DeviceMapper.StatusOf("mayfly-scratch").Target == "crypt", $"target {DeviceMapper.StatusOf("mayfly-scratch").Target}")
            : (Directory.Exists("/sys/block/zram0"), "no disk is used");

    private static (bool, string) Swap()
    {
        var areas = File.ReadLines("/proc/swaps").Skip(1).Select(line => line.Split(' ')[0]).ToList();
        // A file of swap lies on the system's view, and so on scratch.
        var bad = areas.Where(area => !(area.StartsWith("/dev/zram", StringComparison.Ordinal) || !area.StartsWith("/dev/", StringComparison.Ordinal)
            || DeviceMapper.StatusOf(NameOf(Path.GetFileName(area))).Target == "crypt")).ToList();
        return (bad.Count == 0, areas.Count == 0 ? "there is none" : string.Join(", ", areas));
    }

    private async Task<(bool, string)> ConfigAsync(CancellationToken cancel)
    {
        using var http = Imds.Connect(Imds.AddressFrom(Environment.GetEnvironmentVariable("AWS_EC2_METADATA_SERVICE_ENDPOINT")));
        var imds = new Imds(http, time);
        var me = await Identity.LearnAsync(imds, cancel);
        var role = new InstanceRole(imds, time);
        using var connection = role.ConnectTo("ssm", me.Region);
        var parameter = new ParameterSource(new SsmClient(connection), me.InstanceId);
        using var ec2 = role.ConnectTo("ec2", me.Region);
        var tags = new TagSource(imds, new Ec2Client(ec2), me.InstanceId);
        var (noParameter, noTags) = (await parameter.IsGoneAsync(cancel), await tags.IsGoneAsync(cancel));
        return (noParameter && noTags, $"{parameter.Name} {(noParameter ? "cannot" : "CAN")} be read, {tags.Name} {(noTags ? "are not there" : "ARE there")}");
    }

    private async Task<(bool, string)> DoorAsync(CancellationToken cancel)
    {
        var metadata = Imds.AddressFrom(Environment.GetEnvironmentVariable("AWS_EC2_METADATA_SERVICE_ENDPOINT"));
        await Command.RunAsync("/usr/sbin/nft", ["list", "table", "inet", "mayfly"], input: null, Limit, time, cancel);
        await ClosedDoor.TryAsync(metadata, time, cancel);
        return (true, $"{metadata.Host} refuses what does not bear the agent's mark, root included");
    }

    /// <summary>Each process of the runner's cgroup but the first, which waits outside for the sandbox's end.</summary>
    private static (bool, string) Job()
    {
        var own = NamespaceOf("self");
        var inside = File.ReadAllLines(UnitCgroup + "/runner/cgroup.procs").Where(id => NamespaceOf(id) is { Length: > 0 } other && other != own).ToList();
        var capable = inside.Where(id => Status(id, "CapEff") is { Length: > 0 } effective && effective.Any(c => c != '0') && Status(id, "Uid").StartsWith("1001", StringComparison.Ordinal)).ToList();
        var outside = File.ReadAllLines(UnitCgroup + "/runner/cgroup.procs").Length - inside.Count;
        return (inside.Count > 0 && capable.Count == 0 && outside <= 1,
            string.Create(CultureInfo.InvariantCulture, $"{inside.Count} processes in namespaces of their own, {capable.Count} of its user with capabilities, no-new-privileges {(inside.All(id => Status(id, "NoNewPrivs") == "1") ? "on" : "off")}"));
    }

    private static (bool, string) Memory()
    {
        var agent = File.ReadLines(UnitCgroup + "/agent/cgroup.procs").First();
        var locked = Status(agent, "VmLck");
        var cores = File.ReadLines($"/proc/{agent}/limits").First(line => line.StartsWith("Max core file size", StringComparison.Ordinal)).Split(' ', StringSplitOptions.RemoveEmptyEntries);
        return (locked.Length > 0 && locked[0] != '0' && cores[4] == "0", $"{locked} locked, core files of {cores[4]} bytes at most");
    }

    private async Task<(bool, string)> BackstopsAsync(CancellationToken cancel)
    {
        // Of several units it would be content with one.
        foreach (var timer in (string[])["mayfly-deadman.timer", "mayfly-ceiling.timer"])
            await Command.RunAsync("/usr/bin/systemctl", ["is-active", timer], input: null, Limit, time, cancel);
        var unit = await File.ReadAllLinesAsync($"/usr/lib/systemd/system/{Unit}", cancel);
        string[] wanted = ["FailureAction=poweroff-immediate", "SuccessAction=poweroff-immediate", "WatchdogSec=30"];
        return (wanted.All(unit.Contains), $"{string.Join(", ", wanted)}; both timers are set");
    }

    private static IEnumerable<(string At, string Type)> Mounts() => File.ReadLines("/proc/mounts").Select(line => line.Split(' ')).Select(m => (m[1], m[2]));

    private static string NameOf(string device) => File.Exists($"/sys/block/{device}/dm/name") ? File.ReadAllText($"/sys/block/{device}/dm/name").Trim() : "";

    /// <summary>Empty for a process that has gone.</summary>
    private static string NamespaceOf(string process) => new FileInfo($"/proc/{process}/ns/pid").LinkTarget ?? "";

    private static string Status(string process, string field)
    {
        try
        {
            return File.ReadLines($"/proc/{process}/status").FirstOrDefault(line => line.StartsWith(field + ":", StringComparison.Ordinal))?[(field.Length + 1)..].Trim() ?? "";
        }
        catch (IOException)
        {
            return "";
        }
    }
}
