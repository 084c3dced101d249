using System.Globalization;
using System.Reflection;
using System.Runtime.InteropServices;
using Mayfly.Contract;

namespace Mayfly.Agent;

/// <summary>
/// mayfly-agent: one binary, two moments. As PID 1 of the initrd it verifies the root, encrypts scratch and swap and
/// becomes systemd; as a service it takes the runner's configuration, supervises the runner through one job and
/// switches the machine off. Reads: the kernel command line, sysfs, the metadata service, SSM. Writes: the serial
/// console. It never returns to a prompt: whatever happens, its last act is the machine's end.
/// </summary>
internal static class Program
{
    /// <summary>A machine that can go off has gone within a second or two.</summary>
    private static readonly TimeSpan PowerOffLimit = TimeSpan.FromSeconds(10);

    /// <summary>For a console that takes nothing at all.</summary>
    private static readonly TimeSpan ConsoleLimit = TimeSpan.FromSeconds(2);

    /// <summary>For one that does, whatever waits: nearly twice the 64 KB that EC2 keeps pass meanwhile.</summary>
    private static readonly TimeSpan LongestConsoleLimit = TimeSpan.FromSeconds(12);

    /// <summary>At the 115,200 baud of packer/kernel.cmdline, with a start and a stop bit to each byte.</summary>
    private const double ConsoleBytesPerSecond = 11_520;

    private const string Help =
        """
        mayfly-agent: runs one GitHub Actions job on this machine, then ends the machine.

          (as PID 1)     verify the root, encrypt scratch and swap, become systemd
          service        take the configuration, run the runner, power the machine off
          epitaph        say that the service was lost, and how; for its unit
          enter-sandbox  ROOT CGROUP PROGRAM...: (as PID 1 of a namespace) become the program inside the job's sandbox
          check          print each guarantee and whether it holds on this machine; 0 if all do
          --version      print the version, and that of the .NET runtime inside
          --help         print this

        Console lines and endings are explained in docs/debugging.md.
        """;

    public static async Task<int> Main(string[] arguments)
    {
        switch (arguments)
        {
            case [] when Kernel.ProcessId == 1:
                return await LiveAsync(InitrdAsync);
            case ["service"]:
                return await LiveAsync(ServiceAsync);
            case ["epitaph"]:
                return SayEpitaph(Environment.GetEnvironmentVariable("SERVICE_RESULT"), Environment.GetEnvironmentVariable("EXIT_CODE"), Environment.GetEnvironmentVariable("EXIT_STATUS"));
            case [Sandbox.Entry, var root, var processList, .. var program] when program.Length > 0 && Kernel.ProcessId == 1:
                return EnterSandbox(root, processList, program);
            case ["check"]:
                return await CheckAsync();
            case ["--version"]:
                Console.WriteLine($"{Assembly.GetExecutingAssembly().GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion} ({RuntimeInformation.FrameworkDescription})");
                return 0;
            case ["--help"]:
                Console.WriteLine(Help);
                return 0;
            default:
                await Console.Error.WriteLineAsync(Help);
                return 64; // EX_USAGE
        }
    }

    /// <summary>Runs a moment of the machine's life and ends the machine when it is over. The only place that catches
    /// everything.</summary>
    private static async Task<int> LiveAsync(Func<Func<IEnumerable<ConsoleEvent>, Narration>, Task<Ending>> moment)
    {
        Narration? narration = null;
        Ending ending;
        try
        {
            ending = await moment(before => narration = Open(before));
        }
        catch (EndingException e)
        {
            ending = e.Ending;
        }
        catch (Exception e)
        {
            ending = Ending.NotProved(Step.End, $"{e.GetType().Name}: {e.Message}");
        }

        narration ??= Open([]);
        narration.End(ending);
        await DrainConsoleAsync(narration);
        // 10. End. The call does not return unless the kernel refuses, and may hang in a driver.
        var off = Task.Run(Kernel.PowerOff);
        var refused = await Task.WhenAny(off, Task.Delay(PowerOffLimit, TimeProvider.System, CancellationToken.None)) == off;
        narration.Note(Step.End, refused ? $"the power-off was refused: {(await off).Message}" : $"the power-off hangs since {PowerOffLimit.TotalSeconds:F0} s");
        // EC2 takes the machine away while it is still speaking.
        await DrainConsoleAsync(narration);
        // The initrd has no network, and PID 1's exit is a panic, which reboots.
        if (Kernel.ProcessId != 1)
            narration.Note(Step.End, await SelfTermination.TryAsync(TimeProvider.System) is { } why ? $"EC2 could not be asked to terminate this instance: {why}" : "EC2 was asked to terminate this instance");
        await DrainConsoleAsync(narration);
        // By the exit code systemd's failure action does what is left to do.
        return 1;
    }

    private static async Task<int> CheckAsync()
    {
        AwsEnvironment.Apply("/run/credentials/mayfly-agent.service");
        var guarantees = await new Check(TimeProvider.System).AllAsync(CancellationToken.None);
        foreach (var guarantee in guarantees)
            Console.WriteLine(guarantee);
        return guarantees.All(g => g.Holds) ? 0 : 1;
    }

    /// <summary>Returns only if there is no sandbox and so no runner; the agent reads the reason and ends the machine.</summary>
    private static int EnterSandbox(string root, string processList, string[] program)
    {
        try
        {
            using var words = Console.OpenStandardInput();
            throw Sandbox.Enter(root, processList, words, Console.Out, program);
        }
        catch (Exception e)
        {
            Console.Error.WriteLine(e.Message);
            return Sandbox.Failed;
        }
    }

    private static async Task<Ending> InitrdAsync(Func<IEnumerable<ConsoleEvent>, Narration> open)
    {
        Initrd.MountKernelFileSystems();
        var narration = open([]);
        narration.Started(0);
        var system = await new Boot(narration, TimeProvider.System).InitrdAsync(CancellationToken.None);
        narration.Drain(ConsoleLimit); // what waits is lost with this program
        Initrd.FreeMemory();
        Kernel.MoveRoot(system);
        throw Kernel.Become("/usr/lib/systemd/systemd", [], new Dictionary<string, string>());
    }

    private static async Task<Ending> ServiceAsync(Func<IEnumerable<ConsoleEvent>, Narration> open)
    {
        Kernel.ForbidDumps();
        Kernel.LockMemory();
        var handover = Handover.Read(Handover.Folder);
        var narration = open(handover.Events);
        using var watchdog = Watchdog.Start(Environment.GetEnvironmentVariable("NOTIFY_SOCKET"), Environment.GetEnvironmentVariable("WATCHDOG_USEC"), TimeProvider.System);
        AwsEnvironment.Apply(Environment.GetEnvironmentVariable("CREDENTIALS_DIRECTORY"));
        var stop = new CancellationTokenSource(); // for as long as the button can be pressed, which is to the end
        var boot = new Boot(narration, TimeProvider.System);
        using var terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, signal =>
        {
            signal.Cancel = true; // the ending is ours to say
            stop.Cancel();
        });
        if (!PowerButton.Watch("", () =>
        {
            boot.StoppedBy = "EC2, by the power button";
            stop.Cancel();
        }))
            narration.Note(Step.LearnIdentity, "no power button: whoever stops the instance takes it away without a word of this");
        var ending = await boot.ServiceAsync(handover, stop.Token);
        if (watchdog is not null)
            narration.Note(Step.Watch, string.Create(CultureInfo.InvariantCulture, $"signs of life to systemd were at most {watchdog.LongestSilence.TotalSeconds:F1} s apart"));
        return ending;
    }

    /// <summary>What systemd knows of a service that it did not stop itself. One that exited has spoken for itself.
    /// https://www.freedesktop.org/software/systemd/man/systemd.exec.html#$SERVICE_RESULT</summary>
    private static int SayEpitaph(string? result, string? code, string? status)
    {
        if (result is null or "success" or "exit-code")
            return 0;
        var narration = Open([]);
        narration.End(Ending.AgentLost($"{result} ({code} {status})"));
        narration.Drain(ConsoleLimit);
        return 0;
    }

    private static Narration Open(IEnumerable<ConsoleEvent> before) => new(OpenConsole(), Kernel.SecondsSinceStart, before);

    /// <summary>A machine without a console is no reason to stay alive unseen: it goes on, and ends, in silence.</summary>
    private static Stream OpenConsole()
    {
        try
        {
            var console = new FileStream("/dev/console", FileMode.Open, FileAccess.Write, FileShare.ReadWrite, bufferSize: 0);
            Kernel.IgnoreStopCharacter(console.SafeFileHandle);
            return console;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return Stream.Null;
        }
    }

    /// <summary>What a serial line takes to send so many bytes, within the limits.</summary>
    internal static TimeSpan ConsoleLimitFor(long bytes) =>
        ConsoleLimit + TimeSpan.FromSeconds(bytes / ConsoleBytesPerSecond) is var limit && limit < LongestConsoleLimit ? limit : LongestConsoleLimit;

    /// <summary>Power-off cuts off what the serial line has not sent yet; a line that is stuck cuts itself off.</summary>
    private static async Task DrainConsoleAsync(Narration narration)
    {
        var limit = ConsoleLimitFor(narration.WaitingBytes);
        var draining = Task.Run(() =>
        {
            if (narration.Drain(limit) && OpenConsole() is FileStream console)
                Kernel.Drain(console.SafeFileHandle);
        });
        await Task.WhenAny(draining, Task.Delay(limit, TimeProvider.System, CancellationToken.None));
    }
}
