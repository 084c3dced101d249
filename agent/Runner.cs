using System.Diagnostics;
using System.Threading.Channels;
using Mayfly.Contract;

namespace Mayfly.Agent;

/// <summary>The official runner: a process in a sandbox, in a cgroup of its own.</summary>
internal sealed class Runner : IAsyncDisposable
{
    private const string Root = Sandbox.RunnerRootOutside;

    /// <summary>Where the runner writes its own logs.</summary>
    public const string Diagnostics = Root + "/_diag";

    /// <summary>On scratch: where jobs work.</summary>
    public const string Work = Handover.JobRoot + "/var/lib/mayfly/work";
    private const int Interrupt = 2; // SIGINT

    private static readonly TimeSpan LastLines = TimeSpan.FromSeconds(1);

    /// <summary>A process that the kernel cannot kill, since it waits for a device, must not keep the machine alive.</summary>
    private static readonly TimeSpan KillLimit = TimeSpan.FromSeconds(5);

    private readonly Process _process;
    private readonly RunnerCgroup _cgroup;
    private readonly Task _reading;
    private readonly TaskCompletionSource _spoken = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>For the console.</summary>
    public string Description { get; private init; } = "";

    private Runner(Process process, RunnerCgroup cgroup, ChannelWriter<Happening> happenings)
    {
        _process = process;
        _cgroup = cgroup;
        _reading = ReadAsync(process, _spoken, happenings);
        Supervision.Keep(_reading, "the runner's end cannot be waited for", happenings);
    }

    /// <summary>
    /// Writes the runner's files and lets its listener into the sandbox. Asks for the configuration and the closed door,
    /// so that it cannot be called without.
    /// </summary>
    public static Runner Start(JitConfig config, ClosedDoor door, PreparedSandbox sandbox, Engine? engine, bool sudo, ChannelWriter<Happening> happenings)
    {
        WriteFiles(config.Files);
        sandbox.Enter(config, door, engine, sudo);
        return new Runner(sandbox.Process, sandbox.Cgroup, happenings)
        {
            Description = $"as user {RunnerUser.Name}, {(sudo ? "who may use sudo, " : "")}in a sandbox with {sandbox.Cgroup.Limits}{(engine is null ? "" : ", beside a container engine")}",
        };
    }

    /// <summary>Ends with the listener's first line: its program has been loaded.</summary>
    public Task Spoken => _spoken.Task;

    /// <summary>Folder of the cgroup that the runner and all it starts live in.</summary>
    public string Cgroup => _cgroup.Folder;

    /// <summary>Asks the listener to stop: it ends its step and reports the job before it exits.</summary>
    public void AskToStop()
    {
        // unshare(1), our child, waits for the sandbox's first process and takes no signal for it.
        try
        {
            if (PreparedSandbox.FirstIn(_process) is { } first)
                Kernel.Signal(first, Interrupt);
        }
        catch (System.ComponentModel.Win32Exception)
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

    private static async Task ReadAsync(Process process, TaskCompletionSource spoken, ChannelWriter<Happening> happenings)
    {
        // Standard error is read so that a full pipe cannot block the runner; what that says is in its own log.
        var error = "";
        var reading = Task.WhenAll(
            ReadAsync(process.StandardOutput, line =>
            {
                spoken.TrySetResult();
                return RunnerOutput.Parse(line) is { } happening ? happenings.WriteAsync(happening) : ValueTask.CompletedTask;
            }),
            ReadAsync(process.StandardError, line =>
            {
                error = line;
                return ValueTask.CompletedTask;
            }));
        Supervision.Keep(reading, "the runner's output cannot be read", happenings);
        await process.WaitForExitAsync();
        // The last lines are still in the pipe. Its end is not waited for: what a job left running may hold it open.
        await Task.WhenAny(reading, Task.Delay(LastLines, TimeProvider.System, CancellationToken.None));
        await happenings.WriteAsync(process.ExitCode == Sandbox.Failed ? new Happening.SandboxFailed(error) : new Happening.RunnerExited(process.ExitCode));
    }

    private static async Task ReadAsync(StreamReader output, Func<string, ValueTask> take)
    {
        var lines = new BoundedLines(output);
        while (await lines.ReadAsync() is { } line)
            await take(line);
    }
}
