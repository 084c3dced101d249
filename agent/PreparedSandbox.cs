using System.Diagnostics;
using System.Globalization;

namespace Mayfly.Agent;

/// <summary>
/// The sandbox before its runner: cgroup, namespaces, mounts, and a first process that waits for a word to go on. Made ready
/// while the agent waits for the network, since it takes a third of the time from the agent's start to its runner's. It holds no
/// configuration and no program of a job's, and its first process is the agent's own program until <see cref="Enter"/>.
/// </summary>
internal sealed class PreparedSandbox
{
    private const string Root = Sandbox.RunnerRootOutside;
    private const string Installed = "/opt/actions-runner";

    /// <summary>The runner's root holds its three files, in memory, so that the secret reaches no disk.</summary>
    private const string RootOptions = "size=4m,mode=0700,uid=1001,gid=1001";

    /// <summary>The runner's own log, apart and bounded: a job that fills its disk or this does not stop the runner from
    /// writing the other.</summary>
    private const string DiagnosticsOptions = "size=64m,mode=0700,uid=1001,gid=1001";

    private PreparedSandbox(Process process, RunnerCgroup cgroup) => (Process, Cgroup) = (process, cgroup);

    /// <summary>The parent of the sandbox's first process; the runner's, once it was entered.</summary>
    public Process Process { get; }

    public RunnerCgroup Cgroup { get; }

    /// <summary>On a thread of its own: the kernel lets a change of cgroups wait for up to 20 ms.</summary>
    /// <returns>Ends with the reason if it cannot be made: the machine ends in step 8's name.</returns>
    public static Task<PreparedSandbox> MakeAsync() => Task.Factory.StartNew(Make, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);

    /// <summary>The sandbox's first process, which is the only child of unshare(1), by its id here.</summary>
    /// <exception cref="CommandException">It has gone.</exception>
    public int FirstProcess => FirstIn(Process) ?? throw new CommandException("the sandbox's first process has gone");

    /// <summary>Null if it has gone, or goes now.</summary>
    /// <param name="sandbox">The parent.</param>
    public static int? FirstIn(Process sandbox)
    {
        try
        {
            return int.TryParse(File.ReadAllText($"/proc/{sandbox.Id}/task/{sandbox.Id}/children").Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out var first) ? first : null;
        }
        catch (IOException)
        {
            return null;
        }
    }

    /// <summary>Lets its first process become the runner. Asks for the configuration and the closed door, so that it cannot be
    /// called without.</summary>
    public void Enter(JitConfig config, ClosedDoor door, Engine? engine, bool sudo)
    {
        ArgumentNullException.ThrowIfNull(config);
        try
        {
            Process.StandardInput.Write(Sandbox.Word(sudo, engine?.NetworkProcess, door.NameServer is { } own ? $"nameserver {own}\n" : Sandbox.NetworksResolver()));
            Process.StandardInput.Close();
        }
        catch (IOException)
        {
            // Its first process has failed: its exit code and last words tell.
        }
    }

    private static PreparedSandbox Make()
    {
        LayOutRoot();
        Directory.CreateDirectory(Facts.Folder, Facts.Readable);
        var cgroup = RunnerCgroup.Make(RunnerCgroup.Unit, Initrd.MemoryBytes(), Environment.GetEnvironmentVariable(RunnerCgroup.Switch));

        // In the sandbox tini is the first process, which forwards signals and buries orphans.
        var command = Sandbox.Command(Environment.ProcessPath!, cgroup.ProcessList, "/usr/bin/tini", "--", Path.Combine(Sandbox.RunnerRoot, "bin/Runner.Listener"), "run");
        var start = new ProcessStartInfo(command[0], command[1..])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            WorkingDirectory = Root,
        };
        start.Environment.Clear(); // the runner gets its own (RunnerUser)
        var process = Process.Start(start) ?? throw new CommandException("the sandbox did not start");
        // Its end instead of the line means that it has failed: its exit code and last words tell once it is entered.
        if (Engine.IsInstalled)
            _ = process.StandardOutput.ReadLine();
        return new PreparedSandbox(process, cgroup);
    }

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

        Directory.CreateDirectory(Runner.Work);
        Kernel.ChangeOwner(Runner.Work, RunnerUser.Id, RunnerUser.Id);
        var work = Path.Combine(Root, "_work");
        Directory.CreateDirectory(work);
        Kernel.Mount(Runner.Work, work, null, Kernel.MountFlags.Bind);
    }
}
