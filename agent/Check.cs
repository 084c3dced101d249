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
/// the metadata service and SSM as they are now, and nothing that the agent remembers.
/// A launch with <c>mayfly:check=true</c> has it told on the console.
/// </summary>
internal sealed class Check(TimeProvider time)
{
    private const string Unit = "mayfly-agent.service";
    private const string UnitCgroup = "/sys/fs/cgroup/system.slice/" + Unit;
    private const string RunnersCgroup = UnitCgroup + "/runner";
    private const int Looks = 5;

    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan Pause = TimeSpan.FromSeconds(1);

    private static Uri Metadata => Imds.AddressFrom(Environment.GetEnvironmentVariable("AWS_EC2_METADATA_SERVICE_ENDPOINT"));

    public async Task<IReadOnlyList<Guarantee>> AllAsync(CancellationToken cancel) =>
    [
        await LookAsync("the root is verified", () => Task.FromResult(Root())),
        await LookAsync("the kernel is locked down", () => Task.FromResult(Lockdown())),
        await LookAsync("every write lands on scratch", () => Task.FromResult(Views())),
        await LookAsync("scratch is encrypted, or in memory", () => Task.FromResult(Scratch())),
        await LookAsync("swap is encrypted, or in memory", () => Task.FromResult(Swap())),
        await LookAsync("the configuration is gone from its source", () => ConfigAsync(cancel)),
        await LookAsync("the metadata service's door is closed", () => DoorAsync(cancel)),
        await LookAsync("the egress policy is in force", () => EgressAsync(cancel)),
        await LookAsync("the job is in its sandbox", () => JobAsync(cancel)),
        await LookAsync("the job's processes and memory are limited", () => Task.FromResult(Limits())),
        await LookAsync("the agent's memory is locked and never dumped", () => Task.FromResult(Memory())),
        await LookAsync("the machine ends with the agent", () => BackstopsAsync(cancel)),
        await LookAsync("the machine ends with systemd", () => WatchdogAsync(cancel)),
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

    private static (bool, string) Root() => Root(DeviceMapper.StatusOf("mayfly-root").Status, DeviceMapper.VerityTableOf("mayfly-root"), File.ReadAllText("/proc/cmdline"));

    /// <param name="status">V: no block read so far was corrupt.</param>
    /// <param name="table">Its ninth word is the root hash. https://docs.kernel.org/admin-guide/device-mapper/verity.html</param>
    /// <param name="commandLine">Part of the signed file that was started.</param>
    internal static (bool Holds, string Detail) Root(string status, string table, string commandLine)
    {
        var (mapped, expected) = (table.Split(' ').ElementAtOrDefault(8), KernelCommandLine.Parse(commandLine).RootHash);
        return (status == "V" && mapped == expected, $"status {status}, root hash {mapped}{(mapped == expected ? "" : $" and not {expected}")}");
    }

    /// <summary>https://man7.org/linux/man-pages/man7/kernel_lockdown.7.html</summary>
    private static (bool, string) Lockdown()
    {
        var mode = File.ReadAllText("/sys/kernel/security/lockdown").Trim();
        var signed = File.ReadAllText("/sys/module/module/parameters/sig_enforce").Trim();
        return ((mode.Contains("[integrity]", StringComparison.Ordinal) || mode.Contains("[confidentiality]", StringComparison.Ordinal)) && signed == "Y",
            $"lockdown {mode}, only signed modules: {signed}");
    }

    private static (bool, string) Views()
    {
        var types = new[] { "/", Handover.JobRoot }.Select(at => $"{at} is {Mounts().LastOrDefault(m => m.At == at)?.Type ?? "not mounted"}").ToList();
        return (types.All(t => t.EndsWith(" overlay", StringComparison.Ordinal)), string.Join(", ", types));
    }

    /// <summary>Scratch itself is out of sight, but ext4 lists the device of each of its file systems, mounted in sight or not. Of
    /// others only the root's may be on a device, which nobody can write to.</summary>
    private static (bool Holds, string Detail) Scratch() => Scratch(
        Directory.EnumerateDirectories("/proc/fs/ext4").Select(folder => Path.GetFileName(folder)!),
        Mounts().Where(m => m.Source.StartsWith("/dev/", StringComparison.Ordinal) && m.Type is not ("squashfs" or "ext4")).Select(m => Path.GetFileName(m.Source)), TargetOf);

    /// <param name="targetOf">The device-mapper's target of a device; empty for one that it did not make.</param>
    internal static (bool Holds, string Detail) Scratch(IEnumerable<string> ofExt4, IEnumerable<string> ofOthers, Func<string, string> targetOf)
    {
        var devices = ofExt4.ToList();
        var bad = devices.Concat(ofOthers).Where(device => !IsSafe(device, targetOf)).ToList();
        return (devices.Count > 0 && bad.Count == 0, $"file systems on {(devices.Count == 0 ? "no device" : string.Join(", ", devices.Select(d => $"{d} {targetOf(d)}".TrimEnd())))}{(bad.Count == 0 ? "" : $"; in the clear on {string.Join(", ", bad)}")}");
    }

    private static (bool, string) Swap() => Swap(File.ReadLines("/proc/swaps"), TargetOf, () => Scratch().Holds);

    /// <param name="lines">Of <c>/proc/swaps</c>: a heading, then path, type and more of each area.</param>
    /// <param name="scratchHolds">A file is as safe as the file systems that there are.</param>
    internal static (bool Holds, string Detail) Swap(IEnumerable<string> lines, Func<string, string> targetOf, Func<bool> scratchHolds)
    {
        var areas = lines.Skip(1).Select(line => line.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries)).ToList();
        var bad = areas.Where(area => !(area[1] == "file" ? scratchHolds() : IsSafe(Path.GetFileName(area[0]), targetOf))).Select(area => area[0]).ToList();
        return (bad.Count == 0, areas.Count == 0 ? "there is none" : $"on {string.Join(", ", areas.Select(area => area[0]))}{(bad.Count == 0 ? "" : $"; in the clear on {string.Join(", ", bad)}")}");
    }

    private static bool IsSafe(string device, Func<string, string> targetOf) => device.StartsWith("zram", StringComparison.Ordinal) || targetOf(device) == "crypt";

    private static string TargetOf(string device) => NameOf(device) is { Length: > 0 } name ? DeviceMapper.StatusOf(name).Target : "";

    private async Task<(bool, string)> ConfigAsync(CancellationToken cancel)
    {
        using var http = Imds.Connect(Metadata);
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
        await Command.RunAsync("/usr/sbin/nft", ["list", "table", "inet", "mayfly"], input: null, Limit, time, cancel);
        await ClosedDoor.TryAsync(Metadata, time, cancel);
        return (true, $"{Metadata.Host} refuses what does not bear the agent's mark, root included");
    }

    private async Task<(bool, string)> EgressAsync(CancellationToken cancel)
    {
        using var http = Imds.Connect(Metadata);
        var mode = (await Identity.LearnAsync(new Imds(http, time), cancel)).Settings.Egress;
        if (mode == EgressMode.Open)
            return (true, "open, as the launch has it");
        var listed = await Command.RunAsync("/usr/sbin/nft", ["list", "table", "inet", EgressRules.Table], input: null, Limit, time, cancel);
        return (EgressRules.AreInForce(mode, listed), $"{mode.ToString().ToLowerInvariant()}, by the table {EgressRules.Table}");
    }

    /// <summary>On its way into the sandbox a process is root's for a moment, so what does not hold is looked at again.</summary>
    private async Task<(bool, string)> JobAsync(CancellationToken cancel)
    {
        using var http = Imds.Connect(Metadata);
        var me = await Identity.LearnAsync(new Imds(http, time), cancel);
        for (var look = 1; ; look++)
        {
            var (holds, detail) = LookAtJob(me.Settings.Sudo);
            if (holds || look == Looks)
                return (holds, detail);
            await Task.Delay(Pause, time, cancel);
        }
    }

    /// <summary>A cgroup that goes while it is looked at, such as a container's that ends, says nothing of those that stay.</summary>
    private static (bool, string) LookAtJob(bool sudo)
    {
        try
        {
            return Job(sudo);
        }
        catch (IOException e)
        {
            return (false, e.Message);
        }
    }

    /// <summary>Each process of the runner's cgroup but the first, which waits outside for the sandbox's end, as does one for a
    /// container engine's. Capabilities within a user namespace of its own reach nothing.</summary>
    private static (bool, string) Job(bool sudo)
    {
        var all = Directory.EnumerateFiles(RunnersCgroup, "cgroup.procs", SearchOption.AllDirectories).SelectMany(File.ReadAllLines).ToList();
        var inside = all.Where(id => NamespaceOf(id, "pid") is { Length: > 0 } other && other != NamespaceOf("self", "pid")).ToList();
        var capable = inside.Where(id => NamespaceOf(id, "user") == NamespaceOf("self", "user")
            && Status(id, "CapEff") is { Length: > 0 } effective && effective.Any(c => c != '0') && Status(id, "Uid").StartsWith("1001", StringComparison.Ordinal)).ToList();
        var privileged = inside.Where(id => NamespaceOf(id, "user") == NamespaceOf("self", "user") && Status(id, "NoNewPrivs") == "0").ToList();
        var waiting = Engine.IsInstalled && !sudo ? 2 : 1;
        return (inside.Count > 0 && capable.Count == 0 && all.Count - inside.Count <= waiting && (sudo || privileged.Count == 0),
            string.Create(CultureInfo.InvariantCulture, $"{inside.Count} processes in namespaces of their own, {capable.Count} of its user with capabilities, {privileged.Count} without no-new-privileges{(sudo ? ", which sudo needs" : "")}"));
    }

    private static (bool, string) Limits()
    {
        var limits = RunnerCgroup.Files.Select(file => (File: file, Value: File.ReadAllText(Path.Combine(RunnersCgroup, file)).Trim())).ToList();
        return (limits.All(l => long.TryParse(l.Value, NumberStyles.None, CultureInfo.InvariantCulture, out _)), string.Join(", ", limits.Select(l => $"{l.File} {l.Value}")));
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
        // As systemd has them in force: a drop-in may say something else than the unit's own file.
        var shown = (await Command.RunAsync("/usr/bin/systemctl", ["show", Unit, "--property=FailureAction,SuccessAction,WatchdogUSec"], input: null, Limit, time, cancel))
            .Split('\n', StringSplitOptions.RemoveEmptyEntries);
        return (((string[])["FailureAction=poweroff-immediate", "SuccessAction=poweroff-immediate", "WatchdogUSec=30s"]).All(shown.Contains), $"{string.Join(", ", shown)}; both timers are set");
    }

    /// <summary>The kernel's watchdog reboots a machine whose systemd is silent, and a machine that was rebooted ends.</summary>
    private async Task<(bool, string)> WatchdogAsync(CancellationToken cancel)
    {
        var limit = (await Command.RunAsync("/usr/bin/systemctl", ["show", "--property=RuntimeWatchdogUSec", "--value"], input: null, Limit, time, cancel)).Trim();
        var held = new DirectoryInfo("/proc/1/fd").EnumerateFiles().Select(file => file.LinkTarget).FirstOrDefault(to => to?.StartsWith("/dev/watchdog", StringComparison.Ordinal) == true);
        return (held is not null && limit is not ("0" or "infinity"), $"systemd holds {held ?? "no watchdog"}, to be told within {limit}");
    }

    private static IEnumerable<Mount> Mounts() => File.ReadLines("/proc/mounts").Select(line => line.Split(' ')).Select(m => new Mount(m[0], m[1], m[2]));

    /// <summary>No tuple: of each method of LINQ there would be a copy in the binary for it, 240 KB of them.</summary>
    private sealed record Mount(string Source, string At, string Type);

    private static string NameOf(string device) => File.Exists($"/sys/block/{device}/dm/name") ? File.ReadAllText($"/sys/block/{device}/dm/name").Trim() : "";

    /// <summary>Empty for a process that has gone.</summary>
    private static string NamespaceOf(string process, string kind) => new FileInfo($"/proc/{process}/ns/{kind}").LinkTarget ?? "";

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
