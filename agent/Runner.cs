using System.Diagnostics;
using System.Globalization;
using System.Threading.Channels;
using Mayfly.Contract;

namespace Mayfly.Agent;

/// <summary>The official runner: a process in a sandbox, in a cgroup of its own.</summary>
internal sealed class Runner : IAsyncDisposable
{
    private const string Installed = "/opt/actions-runner";
    private const string Root = Sandbox.RunnerRootOutside;

    /// <summary>Where the runner writes its own logs.</summary>
    public const string Diagnostics = Root + "/_diag";

    /// <summary>On scratch: where jobs work.</summary>
    public const string Work = Handover.JobRoot + "/var/lib/mayfly/work";
    private const int Interrupt = 2; // SIGINT

    private static readonly TimeSpan LastLines = TimeSpan.FromSeconds(1);

    /// <summary>A process that the kernel cannot kill, since it waits for a device, must not keep the machine alive.</summary>
    private static readonly TimeSpan KillLimit = TimeSpan.FromSeconds(5);

    /// <summary>The runner's root holds its three files, in memory, so that the secret reaches no disk.</summary>
    private const string RootOptions = "size=4m,mode=0700,uid=1001,gid=1001";

    /// <summary>The runner's own log, apart and bounded: a job that fills its disk or this does not stop the runner from
    /// writing the other.</summary>
    private const string DiagnosticsOptions = "size=64m,mode=0700,uid=1001,gid=1001";

    private readonly Process _process;
    private readonly RunnerCgroup _cgroup;
    private readonly Task _reading;

    /// <summary>For the console.</summary>
    public string Description { get; private init; } = "";

    private Runner(Process process, RunnerCgroup cgroup, ChannelWriter<Happening> happenings)
    {
        _process = process;
        _cgroup = cgroup;
        _reading = ReadAsync(process, happenings);
    }

    /// <summary>
    /// Lays the runner's root out and starts its listener in the sandbox. Asks for the configuration and the closed door,
    /// so that it cannot be called without.
    /// </summary>
    public static Runner Start(JitConfig config, ClosedDoor door, bool sudo, ChannelWriter<Happening> happenings)
    {
        ArgumentNullException.ThrowIfNull(door);
        LayOutRoot();
        WriteFiles(config.Files);
        var cgroup = RunnerCgroup.Make(Initrd.MemoryBytes());

        // The shell puts itself into the cgroup before it becomes anything else: nothing of the job ever runs outside. In
        // the sandbox tini is the first process, which forwards signals and buries orphans.
        var start = new ProcessStartInfo("/bin/sh")
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            WorkingDirectory = Root,
        };
        start.ArgumentList.Add("-c");
        start.ArgumentList.Add("echo 0 > \"$0\" && umask 022 && exec \"$@\"");
        start.ArgumentList.Add(cgroup.ProcessList);
        foreach (var argument in Sandbox.Command(System.Environment.ProcessPath!, sudo, door.NameServer,
            RunnerUser.Command(sudo, "/usr/bin/tini", "--", Path.Combine(Sandbox.RunnerRoot, "bin/Runner.Listener"), "run")))
            start.ArgumentList.Add(argument);
        start.Environment.Clear();
        foreach (var (name, value) in Environment)
            start.Environment[name] = value;

        var process = Process.Start(start) ?? throw new CommandException("the runner did not start");
        process.StandardInput.Close();
        return new Runner(process, cgroup, happenings)
        {
            Description = $"as user {RunnerUser.Name}, {(sudo ? "who may use sudo, " : "")}in a sandbox with {cgroup.Limits}",
        };
    }

    /// <summary>Folder of the cgroup that the runner and all it starts live in.</summary>
    public string Cgroup => _cgroup.Folder;

    /// <summary>Asks the listener to stop: it ends its step and reports the job before it exits.</summary>
    public void AskToStop()
    {
        // unshare(1), our child, waits for the sandbox's first process and takes no signal for it.
        try
        {
            if (int.TryParse(File.ReadAllText($"/proc/{_process.Id}/task/{_process.Id}/children").Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out var first))
                Kernel.Signal(first, Interrupt);
        }
        catch (Exception e) when (e is IOException or System.ComponentModel.Win32Exception)
        {
            // It has exited by itself, or does so now: that is what was asked for, and its own happening tells.
        }
    }

    /// <summary>Kills whatever is left in the cgroup, at once and as a whole.</summary>
    public async ValueTask DisposeAsync()
    {
        await _cgroup.KillAsync();
        await Task.WhenAny(_reading, Task.Delay(KillLimit, TimeProvider.System, CancellationToken.None));
        _process.Dispose();
    }

    /// <summary>All that the runner and its steps inherit. The two switches make the exit code tell the job's result
    /// and a release that is too old.</summary>
    private static readonly IReadOnlyDictionary<string, string> Environment = new Dictionary<string, string>(Facts.HookVariables)
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
        const Kernel.MountFlags closed = Kernel.MountFlags.NoSetUid | Kernel.MountFlags.NoDevices;
        Directory.CreateDirectory(Root);
        Kernel.Mount("tmpfs", Root, "tmpfs", closed, RootOptions);
        foreach (var programs in (string[])["bin", "externals"])
        {
            var target = Path.Combine(Root, programs);
            Directory.CreateDirectory(target);
            Kernel.BindReadOnly(Path.Combine(Installed, programs), target);
        }

        var diagnostics = Path.Combine(Root, "_diag");
        Directory.CreateDirectory(diagnostics);
        Kernel.Mount("tmpfs", diagnostics, "tmpfs", closed | Kernel.MountFlags.NoExec, DiagnosticsOptions);

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

    private static async Task ReadAsync(Process process, ChannelWriter<Happening> happenings)
    {
        var lines = ReadLinesAsync(process.StandardOutput, happenings);
        // Standard error is read so that a full pipe cannot block the runner; what that says is in its own log.
        var error = "";
        var errors = ReadErrorsAsync(process.StandardError, line => error = line);
        await process.WaitForExitAsync();
        // The last lines are still in the pipe. Its end is not waited for: what a job left running may hold it open.
        await Task.WhenAny(Task.WhenAll(lines, errors), Task.Delay(LastLines, TimeProvider.System, CancellationToken.None));
        await happenings.WriteAsync(process.ExitCode == Sandbox.Failed ? new Happening.SandboxFailed(error) : new Happening.RunnerExited(process.ExitCode));
    }

    private static async Task ReadErrorsAsync(StreamReader errors, Action<string> last)
    {
        while (await errors.ReadLineAsync() is { } line)
            last(line);
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
