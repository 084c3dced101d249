using System.Diagnostics;
using System.Globalization;
using System.Text;
using Mayfly.Lab.Ec2;

namespace Mayfly.Lab.Machines;

/// <summary>How light machines are made here.</summary>
/// <param name="RootImage">The image's root file system: the squashfs that a machine has below its verity.</param>
/// <param name="Environment">Lines for the machine's <c>mayfly.environment</c> credential: where it finds AWS.</param>
/// <param name="Folder">For mount points and what the initrd would have left.</param>
/// <param name="Limit">After this a machine is switched off, whatever it does.</param>
internal sealed record NspawnOptions(string RootImage, string Environment, string Folder, TimeSpan Limit)
{
    /// <summary>Room for all that the machine writes, in memory.</summary>
    public int ScratchMiB { get; init; } = 512;

    /// <summary>A drop-in for the agent's unit, such as another environment; empty for none.</summary>
    public Func<Instance, string> UnitDropIn { get; init; } = static _ => "";

    /// <summary>Further arguments for systemd-nspawn.</summary>
    public Func<Instance, IEnumerable<string>> Arguments { get; init; } = static _ => [];

    /// <summary>Called for each line on the console, as it is written.</summary>
    public Action<Instance, string>? OnConsoleLine { get; init; }
}

/// <summary>
/// An instance as a container: the image's own systemd and units from its own root, on this machine's kernel. It boots in
/// half a second, and has no device-mapper, no initrd and no kernel of its own: steps 1 to 4 are not its business. Power-off
/// is real: the kernel ends all of it. Needs root, cgroup v2 (alone or beside v1) and systemd-nspawn.
/// </summary>
internal sealed class NspawnMachine(Instance instance, NspawnOptions options) : IMachine
{
    /// <summary>What the initrd would have written, had there been one.</summary>
    private const string Handover = """{"RootHash":"light","Scratch":"memory of the machine that plays this one","Swap":"none","Storage":{"ScratchDevice":"","ScratchBytes":0,"InMemory":true,"SwapDevice":"","SwapBytes":0},"Events":[]}""";

    /// <summary>The lab gives the interface its address; DHCP has nobody to ask.</summary>
    private const string Network = "[Match]\nName=eth0\n\n[Link]\nUnmanaged=yes\n";

    /// <summary>Where this machine's old cgroups hold the controllers, a machine within has no limits to set.</summary>
    private const string Limits = "[Service]\nEnvironment=MAYFLY_LIMITS=if-offered\n";

    /// <summary>
    /// Opens the console, waits in its new namespaces until the network is laid, enters a cgroup of its own, mounts the root under two views in
    /// memory, the system's and the job's, and becomes systemd-nspawn, which holds the console open. Arguments: the cgroup, the root (file or folder),
    /// the mount point, MiB, the console, and what to become.
    /// </summary>
    private const string Script =
        """
        set -e
        cgroup=$1 image=$2 at=$3 size=$4 console=$5; shift 5
        exec 3<> "$console"
        echo ready; read go
        exec <&3 >&3 3>&-
        echo 0 > "$cgroup/cgroup.procs"
        mount -t tmpfs -o size="${size}m" tmpfs "$at"
        mkdir "$at/lower" "$at/root" "$at.run/job-root"
        if [ -d "$image" ]; then mount --bind "$image" "$at/lower"; else mount -t squashfs -o loop,ro "$image" "$at/lower"; fi
        for view in "$at/root" "$at.run/job-root"; do
          name=$(basename "$view"); mkdir "$at/$name.upper" "$at/$name.work"
          mount -t overlay overlay -o "lowerdir=$at/lower,upperdir=$at/$name.upper,workdir=$at/$name.work" "$view"
        done
        exec "$@"
        """;

    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly StringBuilder _console = new();
    private Process? _process;

    public Task Ended => _ended.Task;

    /// <summary>cgroup v2 is mounted below where v1 has the controllers, and in their place where it has not.</summary>
    private static string CgroupRoot => Directory.Exists("/sys/fs/cgroup/unified") ? "/sys/fs/cgroup/unified" : "/sys/fs/cgroup";

    private string Device => "mf" + instance.Id[^8..];

    /// <summary>Of whom the kernel ends with the first process of its namespace: 128 and SIGKILL.</summary>
    private const int KilledExitCode = 128 + 9;

    private const string AgentUnit = "payload/system.slice/mayfly-agent.service";

    private string Cgroup => Path.Combine(CgroupRoot, $"mayfly-{instance.Id}");

    public async Task StartAsync()
    {
        try
        {
            await PowerOnAsync();
        }
        catch
        {
            Kill();
            _ended.TrySetResult();
            throw;
        }
    }

    private async Task PowerOnAsync()
    {
        var root = await LightRoot.PrepareAsync(options.RootImage);
        var at = Directory.CreateDirectory(Path.Combine(options.Folder, instance.Id)).FullName;
        var run = Directory.CreateDirectory(at + ".run", UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute).FullName;
        await File.WriteAllTextAsync(Path.Combine(run, "handover.json"), Handover);
        await File.WriteAllTextAsync(at + ".network", Network);
        await File.WriteAllTextAsync(at + ".dns", $"nameserver {LabNetwork.Inside}\n");
        await File.WriteAllTextAsync(at + ".environment", options.Environment);
        await File.WriteAllTextAsync(at + ".unit", Limits + options.UnitDropIn(instance));
        Directory.CreateDirectory(Cgroup);

        var terminal = new PseudoTerminal();
        var start = new ProcessStartInfo("/usr/bin/unshare") { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (var argument in (IEnumerable<string>)[
            "--net", "--mount", "--", "/bin/sh", "-c", Script, "sh", Cgroup, root, at, $"{options.ScratchMiB}", terminal.Path,
            "timeout", "--kill-after=5", options.Limit.TotalSeconds.ToString("F0", CultureInfo.InvariantCulture),
            "systemd-nspawn", "--quiet", "--boot", $"--directory={at}/root", $"--machine={instance.Id}", "--register=no", "--keep-unit",
            "--capability=all", "--private-users=no", "--kill-signal=SIGKILL",
            "--console=pipe", $"--bind={terminal.Path}:/dev/console", // a console of its own would drop what it has not passed on when its machine dies
            $"--bind={run}:/run/mayfly", $"--bind-ro={at}.network:/run/systemd/network/10-lab.network", $"--bind-ro={at}.dns:/run/systemd/resolve/resolv.conf",
            $"--bind-ro={at}.unit:/run/systemd/system/mayfly-agent.service.d/lab.conf",
            $"--load-credential=mayfly.environment:{at}.environment", .. options.Arguments(instance),
            "--", "systemd.show_status=0", "systemd.log_target=journal"])
            start.ArgumentList.Add(argument);
        start.Environment["SYSTEMD_NSPAWN_UNIFIED_HIERARCHY"] = "1";
        _process = Process.Start(start) ?? throw new InvalidOperationException("unshare did not start");
        _ = await _process.StandardOutput.ReadLineAsync() ?? throw new InvalidOperationException("no namespaces: " + await _process.StandardError.ReadToEndAsync());
        await LabNetwork.JoinAsync(_process.Id, instance.Address, Device);
        await _process.StandardInput.WriteLineAsync("go");
        _process.StandardInput.Close();
        _ = FollowAsync(_process, terminal);
    }

    public void Kill()
    {
        try
        {
            File.WriteAllText(Path.Combine(Cgroup, "cgroup.kill"), "1");
            _process?.Kill(entireProcessTree: true);
        }
        catch (Exception e) when (e is InvalidOperationException or IOException or UnauthorizedAccessException)
        {
            // it has ended by itself
        }
    }

    public string ReadConsole()
    {
        lock (_console)
            return _console.ToString();
    }

    /// <summary>The agent's process, by its id here; 0 while there is none. What it starts bears its name too until it becomes
    /// another program, the sandbox's first process for tens of milliseconds: only the agent is systemd's own child.</summary>
    public int AgentProcessId() => ProcessIds("payload/init.scope", "systemd") is [var init, ..]
        ? ProcessIds("mayfly-agent").FirstOrDefault(id => StatusOf(id, "PPid:") == $"{init}") : 0;

    /// <summary>The cgroup of the agent and of what it starts, but for the runner; there once the runner is.</summary>
    public string AgentCgroup => Path.Combine(Cgroup, AgentUnit, "agent");

    /// <summary>The machine's PID 1, by its id here.</summary>
    public int InitProcessId() => ProcessIds("payload/init.scope", "systemd")[0];

    /// <summary>Processes of the agent's unit that bear this name (the kernel cuts names to 15 characters).</summary>
    public IReadOnlyList<int> ProcessIds(string name) => ProcessIds(AgentUnit, name);

    private IReadOnlyList<int> ProcessIds(string cgroup, string name)
    {
        try
        {
            return [.. Directory.GetFiles(Path.Combine(Cgroup, cgroup), "cgroup.procs", SearchOption.AllDirectories)
                .SelectMany(File.ReadAllLines).Select(line => int.Parse(line, CultureInfo.InvariantCulture))
                .Where(id => StatusOf(id, "Name:") == name)];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return []; // going or gone
        }
    }

    /// <summary>Of its status; empty for a process that has gone.</summary>
    private static string StatusOf(int processId, string name)
    {
        try
        {
            return File.ReadLines($"/proc/{processId}/status").FirstOrDefault(line => line.StartsWith(name, StringComparison.Ordinal))?[name.Length..].Trim() ?? "";
        }
        catch (IOException)
        {
            return "";
        }
    }

    /// <summary>Holds what the machine writes, beyond its end if need be.</summary>
    public MachineLayers HoldLayers() => new(_process!.Id, Path.Combine(options.Folder, instance.Id));

    public Task CutNetworkAsync() => LabNetwork.CutAsync(Device);

    public Task MendNetworkAsync() => LabNetwork.MendAsync(instance.Address, Device);

    /// <summary>Runs a shell command as the machine's root, in its namespaces. A machine that ends meanwhile, be it because of the command, takes
    /// it along: that is no failure of the command.</summary>
    /// <exception cref="InvalidOperationException">It failed: carries what it printed.</exception>
    public async Task<string> RunAsync(string command)
    {
        using var process = Process.Start(new ProcessStartInfo("nsenter",
            [$"--target={InitProcessId()}", "--mount", "--pid", "--net", "--ipc", "--uts", "--cgroup", "--root", "--wdns=/", "/bin/sh", "-c", command]) { RedirectStandardOutput = true, RedirectStandardError = true })
            ?? throw new InvalidOperationException("nsenter did not start");
        var error = process.StandardError.ReadToEndAsync();
        var output = await process.StandardOutput.ReadToEndAsync();
        await process.WaitForExitAsync();
        return process.ExitCode is 0 or KilledExitCode ? output : throw new InvalidOperationException($"{command}: {await error}");
    }

    private async Task FollowAsync(Process process, PseudoTerminal terminal)
    {
        var errors = process.StandardError.ReadToEndAsync();
        await Task.Factory.StartNew(() =>
        {
            foreach (var line in terminal.ReadLines())
                Tell(line);
        }, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        terminal.Dispose();
        await process.WaitForExitAsync();
        foreach (var error in (await errors).Split('\n', StringSplitOptions.RemoveEmptyEntries))
            Tell($"nspawn: {error}");
        process.Dispose();
        try
        {
            await LabNetwork.LeaveAsync(Device);
            RemoveCgroup();
        }
        finally
        {
            _ended.TrySetResult();
        }
    }

    private void Tell(string line)
    {
        lock (_console)
            _console.Append(line).Append('\n');
        options.OnConsoleLine?.Invoke(instance, line);
    }

    /// <summary>Its processes have gone; what is busy all the same stays, empty, until this machine restarts.</summary>
    private void RemoveCgroup()
    {
        try
        {
            foreach (var folder in Directory.GetDirectories(Cgroup, "*", SearchOption.AllDirectories).OrderByDescending(f => f.Length))
                Directory.Delete(folder);
            Directory.Delete(Cgroup);
        }
        catch (IOException)
        {
        }
    }
}
