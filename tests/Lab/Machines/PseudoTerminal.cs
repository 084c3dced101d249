using System.ComponentModel;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Mayfly.Lab.Machines;

/// <summary>A terminal with its far end here. What was written to it is read to the last line, even if the writer has been killed since: the
/// kernel holds it, and no program passes it on.</summary>
internal sealed partial class PseudoTerminal : IDisposable
{
    private readonly SafeFileHandle _far = File.OpenHandle("/dev/ptmx", FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite);

    /// <exception cref="Win32Exception">There is none to be had.</exception>
    public PseudoTerminal()
    {
        Span<byte> path = stackalloc byte[64];
        if (unlockpt(_far) != 0 || ptsname_r(_far, path, path.Length) != 0)
            throw new Win32Exception(Marshal.GetLastPInvokeError(), $"no pseudo terminal: {Marshal.GetLastPInvokeErrorMessage()}");
        Path = System.Text.Encoding.ASCII.GetString(path[..path.IndexOf((byte)0)]);
    }

    /// <summary>The device, for those who write to it. Somebody has to hold it open from the first line to the last.</summary>
    public string Path { get; }

    /// <summary>Each line that is written, until nobody holds the device open any more. Waits for them; the first for whoever opens it.</summary>
    public IEnumerable<string> ReadLines()
    {
        using var reader = new StreamReader(new FileStream(_far, FileAccess.Read, bufferSize: 0));
        while (ReadLine() is { } line)
            yield return line;

        string? ReadLine()
        {
            try
            {
                return reader.ReadLine();
            }
            catch (IOException)
            {
                return null; // EIO: the last that held it open has gone
            }
        }
    }

    public void Dispose() => _far.Dispose();

    [LibraryImport("libc", SetLastError = true)]
    private static partial int unlockpt(SafeFileHandle terminal);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int ptsname_r(SafeFileHandle terminal, Span<byte> path, nint length);
}
