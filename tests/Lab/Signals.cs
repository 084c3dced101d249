using System.ComponentModel;
using System.Runtime.InteropServices;

namespace Mayfly.Lab;

/// <summary>Sends a signal to a process that the lab or a test started. .NET sends none but SIGKILL, and the program that
/// could is not on every machine.</summary>
internal static partial class Signals
{
    /// <returns>False if the process has gone.</returns>
    public static bool Send(int processId, string name)
    {
        const int noSuchProcess = 3; // ESRCH
        var number = name switch
        {
            "INT" => 2,
            "KILL" => 9,
            "TERM" => 15,
            "STOP" => 19,
            _ => throw new ArgumentException($"signal {name}: INT, KILL, STOP or TERM is wanted", nameof(name)),
        };
        if (kill(processId, number) == 0)
            return true;
        return Marshal.GetLastPInvokeError() == noSuchProcess
            ? false
            : throw new Win32Exception(Marshal.GetLastPInvokeError(), $"SIG{name} to {processId}: {Marshal.GetLastPInvokeErrorMessage()}");
    }

    [LibraryImport("libc", SetLastError = true)]
    private static partial int kill(int processId, int signal);
}
