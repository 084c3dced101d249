using System.Diagnostics;
using System.Globalization;

namespace Mayfly.Agent;

/// <summary>
/// A container engine for the job, where the image's toolset has one. Whoever has an engine's socket is root where the engine is.
/// So it is root in a user namespace that owns nothing outside: a clone of the job's view, with processes, cgroups and a network
/// of its own, which the job shares. Made ready before the job; the engine itself starts with the first connection.
/// https://man7.org/linux/man-pages/man7/user_namespaces.7.html, docs/decisions/0026
/// </summary>
internal sealed class Engine
{
    /// <summary>The first process inside. Only the docker toolset has it.</summary>
    private const string Program = "/usr/lib/mayfly/engine";

    /// <summary>On scratch itself and not on the view above it: an overlay cannot lie on another.</summary>
    public const string Storage = "/var/lib/docker";

    private const string SocketFolder = "/run/docker";
    private const string SocketName = "docker.sock";
    private const string Log = "/var/log/docker.log";

    /// <summary>What the namespace's user 0 is outside: an id that nothing here has. Each other's is as much above, but for the
    /// runner's user, who is the same everywhere: a container may write as the job's own user into the job's folders.</summary>
    public const uint Root = 100_000;

    /// <summary>Ids as images use them.</summary>
    private const uint Ids = 65_536;

    /// <summary>A machine that is emulated takes three seconds.</summary>
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(60);

    /// <summary>Folders that the engine and its container runtime have by fixed names.</summary>
    private static readonly IReadOnlyList<string> Folders = [SocketFolder, "/run/containerd", "/run/runc"];

    /// <summary>A refusal by this machine's own rules takes a millisecond, and the programs that try it some more.</summary>
    private static readonly TimeSpan TryLimit = TimeSpan.FromSeconds(20);

    private readonly int _process;

    private Engine(int process) => (_process, NetworkProcess) = (process, IdInSandbox(process));

    /// <summary>A process of the engine's network, by its id inside the sandbox.</summary>
    public int NetworkProcess { get; }

    public static bool IsInstalled => File.Exists(Program);

    /// <summary>Lines of a user namespace's map: first id inside, first outside, how many.</summary>
    internal static string Map => string.Create(CultureInfo.InvariantCulture,
        $"0 {Root} {RunnerUser.Id}\n{RunnerUser.Id} {RunnerUser.Id} 1\n{RunnerUser.Id + 1} {Root + RunnerUser.Id + 1} {Ids - RunnerUser.Id - 1}\n");

    /// <summary>Makes ready what the engine needs, in the sandbox that waits for its runner.</summary>
    /// <param name="tell">Told when the engine is asked for.</param>
    /// <returns>Null where the image has no engine, and where the launch allows sudo: the sandbox's root is user 0 outside too,
    /// and would find in a container the parts of <c>/proc</c> that are covered up in its own view.</returns>
    /// <exception cref="CommandException">It cannot be made.</exception>
    public static async Task<Engine?> MakeAsync(Task<PreparedSandbox> preparing, bool sudo, Action<string> tell, TimeProvider time)
    {
        if (!IsInstalled)
            return null;
        if (sudo)
        {
            tell("no container engine: it and mayfly:sudo exclude each other");
            return null;
        }

        var sandbox = await preparing;
        using var limit = new CancellationTokenSource(Limit, time);
        try
        {
            return await MakeAsync(sandbox, tell, time, limit.Token);
        }
        catch (OperationCanceledException)
        {
            throw new CommandException($"the container engine's namespaces were not ready within {Limit.TotalSeconds:F0} s");
        }
    }

    private static async Task<Engine> MakeAsync(PreparedSandbox sandbox, Action<string> tell, TimeProvider time, CancellationToken cancel)
    {
        var first = sandbox.FirstProcess;
        var view = $"/proc/{first}/root";
        LayFolders(view);
        var cgroup = sandbox.Cgroup.MakeEngines(Root);

        using var owner = Start("/usr/bin/unshare", "--user", "--", "/bin/sh", "-c", "echo mapped && read -r _");
        await ReadUntilAsync(owner.StandardOutput, "mapped", cancel);
        await File.WriteAllTextAsync($"/proc/{owner.Id}/gid_map", Map, cancel);
        await File.WriteAllTextAsync($"/proc/{owner.Id}/uid_map", Map, cancel);

        // nsenter becomes root of the user namespace before it starts anything, so that no process inside is user 0 outside.
        // What runc gives to containers is 0, and it may not lower it.
        var process = Start("/bin/sh", "-c", "echo 0 > \"$0\" && echo 0 > /proc/self/oom_score_adj && exec \"$@\" 2>&1", Path.Combine(cgroup, "cgroup.procs"),
            "/usr/bin/nsenter", $"--mount=/proc/{first}/ns/mnt", $"--pid=/proc/{first}/ns/pid", $"--user=/proc/{owner.Id}/ns/user", "--",
            "/usr/bin/unshare", "--mount", "--net", "--cgroup", "--pid", "--ipc", "--uts", "--fork", "--", Program);
        await ReadUntilAsync(process.StandardOutput, "entered", cancel);
        owner.StandardInput.Close();
        await owner.WaitForExitAsync(cancel);

        var inside = InNetworkOfItsOwn(Path.Combine(cgroup, "cgroup.procs"));
        await EngineNetwork.LayAsync(inside, time, cancel);
        RunnerCgroup.HandOn(cgroup);
        await process.StandardInput.WriteAsync("\n".AsMemory(), cancel);
        process.StandardInput.Close();
        await ReadUntilAsync(process.StandardOutput, "Listening on", cancel);
        Kernel.ChangeOwner($"{view}{SocketFolder}/{SocketName}", RunnerUser.Id, RunnerUser.Id);
        File.SetUnixFileMode($"{view}{SocketFolder}/{SocketName}", UnixFileMode.UserRead | UnixFileMode.UserWrite);
        _ = FollowAsync(process, tell);
        return new Engine(inside);
    }

    /// <summary>Tries the door from the job's own network, by a program without any mark.</summary>
    /// <exception cref="InvalidOperationException">The metadata service let it in, or nothing refused it.</exception>
    public async Task TryDoorAsync(Uri metadata, TimeProvider time, CancellationToken cancel)
    {
        try
        {
            await Command.RunAsync("/usr/bin/nsenter", [$"--net=/proc/{_process}/ns/net", "--", "/bin/bash", "-c", string.Create(CultureInfo.InvariantCulture, $": < /dev/tcp/{metadata.DnsSafeHost}/{metadata.Port}")], input: null, TryLimit, time, cancel);
        }
        catch (CommandException e) when (e.Message.Contains("Connection refused", StringComparison.Ordinal))
        {
            return;
        }
        catch (CommandException e)
        {
            throw new InvalidOperationException($"{metadata} did not refuse a connection from the job's network, which failed otherwise: {e.Message}", e);
        }

        throw new InvalidOperationException($"{metadata} let a connection from the job's network in; look at the rules with nft list ruleset");
    }

    /// <summary>In the job's view, before there is a job.</summary>
    private static void LayFolders(string view)
    {
        foreach (var folder in Folders)
        {
            Directory.CreateDirectory(view + folder);
            Kernel.ChangeOwner(view + folder, Root, Root);
        }

        File.CreateSymbolicLink($"{view}/run/{SocketName}", $"{Path.GetFileName(SocketFolder)}/{SocketName}");
        File.Create(view + Log).Dispose();
        Kernel.ChangeOwner(view + Log, Root, Root);
        Kernel.ChangeOwner(view + Storage, Root, Root);
    }

    /// <param name="arguments">The program first.</param>
    private static Process Start(params ReadOnlySpan<string> arguments)
    {
        var start = new ProcessStartInfo(arguments[0]) { RedirectStandardInput = true, RedirectStandardOutput = true, WorkingDirectory = "/" };
        foreach (var argument in arguments[1..])
            start.ArgumentList.Add(argument);
        start.Environment.Clear();
        start.Environment["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        return Process.Start(start) ?? throw new CommandException($"{arguments[0]} did not start");
    }

    /// <exception cref="CommandException">The output ended before: carries its last line.</exception>
    private static async Task ReadUntilAsync(StreamReader output, string begin, CancellationToken cancel)
    {
        var last = "nothing";
        while (await output.ReadLineAsync(cancel) is { } line)
        {
            if (line.StartsWith(begin, StringComparison.Ordinal))
                return;
            last = line;
        }

        throw new CommandException($"the container engine's namespaces cannot be made; the last that was said: {last}");
    }

    /// <summary>Of a cgroup's processes one that is in another network than this program.</summary>
    private static int InNetworkOfItsOwn(string processes)
    {
        var own = new FileInfo("/proc/self/ns/net").LinkTarget;
        var inside = File.ReadAllLines(processes).FirstOrDefault(id => new FileInfo($"/proc/{id}/ns/net").LinkTarget is { } network && network != own);
        return inside is null ? throw new CommandException("the container engine has no network of its own") : int.Parse(inside, CultureInfo.InvariantCulture);
    }

    /// <summary>A process has an id in each namespace from this program's down to its own; the second is the sandbox's.
    /// https://man7.org/linux/man-pages/man5/proc.5.html, NSpid</summary>
    private static int IdInSandbox(int process)
    {
        var ids = File.ReadLines($"/proc/{process}/status").First(line => line.StartsWith("NSpid:", StringComparison.Ordinal))[6..].Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
        var own = File.ReadLines("/proc/self/status").First(line => line.StartsWith("NSpid:", StringComparison.Ordinal))[6..].Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
        return int.Parse(ids[own.Length], CultureInfo.InvariantCulture);
    }

    /// <summary>Says when the engine starts. What it says itself goes to its log.</summary>
    private static async Task FollowAsync(Process process, Action<string> tell)
    {
        using (process)
        {
            var lines = new BoundedLines(process.StandardOutput);
            while (await lines.ReadAsync() is { } line)
            {
                if (line.StartsWith("Communication attempt", StringComparison.Ordinal))
                    tell("the container engine is asked for and starts");
            }
        }
    }
}
