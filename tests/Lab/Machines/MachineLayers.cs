using System.Diagnostics;

namespace Mayfly.Lab.Machines;

/// <summary>The layers that a light machine writes to, the system's and the job's. They lie in memory, in a mount namespace of the
/// machine's own, and are gone with its last process: this is one more.</summary>
internal sealed class MachineLayers : IDisposable
{
    private readonly Process _holder;

    /// <param name="process">One that is in the mount namespace.</param>
    /// <param name="folder">Where it has the layers.</param>
    public MachineLayers(int process, string folder)
    {
        // Reads until it is closed, and says when it is there.
        _holder = Process.Start(new ProcessStartInfo("nsenter", [$"--target={process}", "--mount", "--wdns=/", "sh", "-c", "echo; exec cat"]) { RedirectStandardInput = true, RedirectStandardOutput = true })
            ?? throw new InvalidOperationException("nsenter did not start");
        _ = _holder.StandardOutput.ReadLine() ?? throw new InvalidOperationException($"process {process} has no mount namespace to enter");
        Folder = $"/proc/{_holder.Id}/root{folder}";
    }

    /// <summary>For root of this machine.</summary>
    public string Folder { get; }

    public void Dispose()
    {
        _holder.Kill();
        _holder.Dispose();
    }
}
