using System.Diagnostics;
using System.Threading.Channels;
using Mayfly.Contract;

namespace Mayfly.Agent;

/// <summary>The official runner as a process in a cgroup of its own.</summary>
internal sealed class Runner : IAsyncDisposable
{
    private const string Installed = "/opt/actions-runner";
    private const string Root = "/run/actions-runner"; // not below /run/mayfly, which none but root may enter
    /// <summary>Where the runner writes its own logs.</summary>
    public const string Diagnostics = Root + "/_diag";

    private const string Work = "/var/lib/mayfly/work";
    private const int Interrupt = 2; // SIGINT

    private static readonly TimeSpan LastLines = TimeSpan.FromSeconds(1);

    /// <summary>A process that the kernel cannot kill, since it waits for a device, must not keep the machine alive.</summary>
    private static readonly TimeSpan KillLimit = TimeSpan.FromSeconds(5);

    /// <summary>The runner's root holds its three files and its log, and nothing else: in memory, bounded, so that
    /// neither the secret reaches a disk nor the log fills one.</summary>
    private const string RootOptions = "size=64m,mode=0700,uid=1001,gid=1001";

    private readonly Process _process;
    private readonly string _cgroup;
    private readonly Task _reading;

    private Runner(Process process, string cgroup, ChannelWriter<Happening> happenings)
    {
        _process = process;
        _cgroup = cgroup;
        _reading = ReadAsync(process, happenings);
    }

    /// <summary>
    /// Lays the runner's root out and starts its listener. Asks for the configuration and the closed door, so that it
    /// cannot be called without.
    /// </summary>
    public static Runner Start(JitConfig config, ClosedDoor door, ChannelWriter<Happening> happenings)
    {
        ArgumentNullException.ThrowIfNull(door);
        LayOutRoot();
        WriteFiles(config.Files);
        var cgroup = MakeCgroup();

        // The shell puts itself into the cgroup and becomes setpriv, which becomes the runner: one process, and nothing
        // of it ever runs outside.
        var start = new ProcessStartInfo("/bin/sh")
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            WorkingDirectory = Root,
        };
        start.ArgumentList.Add("-c");
        start.ArgumentList.Add("echo 0 > \"$0\" && umask 077 && exec \"$@\"");
        start.ArgumentList.Add(Path.Combine(cgroup, "cgroup.procs"));
        foreach (var argument in RunnerUser.Command(Path.Combine(Root, "bin/Runner.Listener"), "run"))
            start.ArgumentList.Add(argument);
        start.Environment.Clear();
        foreach (var (name, value) in Environment)
            start.Environment[name] = value;

        var process = Process.Start(start) ?? throw new CommandException("the runner did not start");
        process.StandardInput.Close();
        return new Runner(process, cgroup, happenings);
    }

    /// <summary>Folder of the cgroup that the runner and all it starts live in.</summary>
    public string Cgroup => _cgroup;

    /// <summary>Asks the listener to stop: it ends its step and reports the job before it exits.</summary>
    public void AskToStop()
    {
        if (!_process.HasExited)
            Kernel.Signal(_process.Id, Interrupt);
    }

    /// <summary>Kills whatever is left in the cgroup, at once and as a whole.</summary>
    public async ValueTask DisposeAsync()
    {
        await File.WriteAllTextAsync(Path.Combine(_cgroup, "cgroup.kill"), "1");
        await Task.WhenAny(_reading, Task.Delay(KillLimit, TimeProvider.System, CancellationToken.None));
        _process.Dispose();
    }

    /// <summary>All that the runner and its steps inherit. The two switches make the exit code tell the job's result
    /// and a release that is too old.</summary>
    private static readonly IReadOnlyDictionary<string, string> Environment = new Dictionary<string, string>
    {
        ["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        ["HOME"] = RunnerUser.Home,
        ["USER"] = RunnerUser.Name,
        ["LOGNAME"] = RunnerUser.Name,
        ["SHELL"] = "/bin/bash",
        ["LANG"] = "C.UTF-8",
        ["ACTIONS_RUNNER_RETURN_JOB_RESULT_FOR_HOSTED"] = "1",
        ["ACTIONS_RUNNER_RETURN_VERSION_DEPRECATED_EXIT_CODE"] = "1",
    };

    /// <summary>The runner takes the parent of its real <c>bin</c> for its root, so its programs are bound into a root
    /// that it may write to.</summary>
    private static void LayOutRoot()
    {
        Directory.CreateDirectory(Root);
        Kernel.Mount("tmpfs", Root, "tmpfs", Kernel.MountFlags.NoSetUid | Kernel.MountFlags.NoDevices, RootOptions);
        foreach (var programs in (string[])["bin", "externals"])
        {
            var target = Path.Combine(Root, programs);
            Directory.CreateDirectory(target);
            Kernel.Mount(Path.Combine(Installed, programs), target, null, Kernel.MountFlags.Bind);
            Kernel.Mount("none", target, null, Kernel.MountFlags.Bind | Kernel.MountFlags.Remount | Kernel.MountFlags.ReadOnly | Kernel.MountFlags.NoSetUid | Kernel.MountFlags.NoDevices);
        }

        Directory.CreateDirectory(Work);
        Kernel.ChangeOwner(Work, RunnerUser.Id, RunnerUser.Id);
        var work = Path.Combine(Root, "_work");
        Directory.CreateDirectory(work);
        Kernel.Mount(Work, work, null, Kernel.MountFlags.Bind);
    }

    private static void WriteFiles(RunnerFiles files)
    {
        for (var i = 0; i < RunnerFiles.Names.Count; i++)
        {
            var path = Path.Combine(Root, RunnerFiles.Names[i]);
            using (var file = new FileStream(path, new FileStreamOptions
            {
                Mode = FileMode.CreateNew,
                Access = FileAccess.Write,
                UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite,
                BufferSize = 0,
            }))
            {
                file.Write(files.Contents[i].Reveal());
            }

            Kernel.ChangeOwner(path, RunnerUser.Id, RunnerUser.Id);
        }
    }

    /// <summary>A cgroup below the unit's own, which systemd has delegated.</summary>
    private static string MakeCgroup()
    {
        var own = File.ReadAllText("/proc/self/cgroup").Trim().Split("0::")[^1];
        var cgroup = $"/sys/fs/cgroup{own}/runner";
        Directory.CreateDirectory(cgroup);
        return cgroup;
    }

    private static async Task ReadAsync(Process process, ChannelWriter<Happening> happenings)
    {
        var lines = ReadLinesAsync(process.StandardOutput, happenings);
        // Standard error is read so that a full pipe cannot block the runner; what it says is in its own log.
        var errors = process.StandardError.BaseStream.CopyToAsync(Stream.Null);
        await process.WaitForExitAsync();
        // The last lines are still in the pipe. Its end is not waited for: what a job left running may hold it open.
        await Task.WhenAny(Task.WhenAll(lines, errors), Task.Delay(LastLines, TimeProvider.System, CancellationToken.None));
        await happenings.WriteAsync(new Happening.RunnerExited(process.ExitCode));
    }

    private static async Task ReadLinesAsync(StreamReader output, ChannelWriter<Happening> happenings)
    {
        while (await output.ReadLineAsync() is { } line)
        {
            if (RunnerOutput.Parse(line) is { } happening)
                await happenings.WriteAsync(happening);
        }
    }
}
