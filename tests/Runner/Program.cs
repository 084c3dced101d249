using System.Runtime.InteropServices;

namespace Mayfly.StandIn;

/// <summary>
/// A stand-in for the official runner: laid out like it, started like it, reading the same three files, speaking the same
/// protocol, printing the same lines and ending with the same exit codes. Written from what the official release 2.336 was
/// seen to do; it is no part of it.
/// </summary>
internal static class Program
{
    public const string Version = "2.336.0";

    public static async Task<int> Main(string[] arguments)
    {
        var path = RunnerRoot.Find();
        switch (arguments)
        {
            case ["--version"]:
                Console.WriteLine(Version);
                return 0;
            case [Worker.Argument]:
                return await Worker.RunAsync(path, TimeProvider.System);
            case ["run", ..]:
                return await ListenAsync(path);
            default:
                Console.Error.WriteLine("Runner.Listener [run|--version]: this stand-in for the official runner does nothing else.");
                return 1;
        }
    }

    private static async Task<int> ListenAsync(string path)
    {
        LoadEnvironment(Path.Combine(path, ".env"));
        using var diagnostics = new Diagnostics(path, "Runner", TimeProvider.System);
        if (RunnerRoot.Read(path) is not { } root)
        {
            Console.Error.WriteLine("An error occurred: Not configured. Run config.(sh/cmd) to configure the runner.");
            return 1;
        }

        using var stop = new CancellationTokenSource();
        var terminated = false;
        using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, signal => Stop(signal, false));
        using var terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, signal => Stop(signal, true));
        using var service = new Service(root, Version, TimeProvider.System);
        var code = await new Listener(root, service, diagnostics, TimeProvider.System).RunAsync(stop.Token);
        return terminated ? 143 : code;

        void Stop(PosixSignalContext signal, bool term)
        {
            signal.Cancel = true;
            terminated = term;
            if (!term)
                Console.WriteLine("Exiting...");
            stop.Cancel();
        }
    }

    private static void LoadEnvironment(string file)
    {
        if (!File.Exists(file))
            return;
        foreach (var line in File.ReadLines(file))
        {
            if (line.IndexOf('=', StringComparison.Ordinal) is var equals and > 0)
                Environment.SetEnvironmentVariable(line[..equals], line[(equals + 1)..]);
        }
    }
}
