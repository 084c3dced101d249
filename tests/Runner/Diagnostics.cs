using System.Globalization;

namespace Mayfly.StandIn;

/// <summary>The log below <c>_diag</c>, and the lines on standard output that others read.</summary>
internal sealed class Diagnostics : IDisposable
{
    private readonly StreamWriter _log;
    private readonly TimeProvider _time;

    /// <param name="kind"><c>Runner</c> or <c>Worker</c>.</param>
    public Diagnostics(string root, string kind, TimeProvider time)
    {
        _time = time;
        var folder = Path.Combine(root, "_diag");
        Directory.CreateDirectory(folder);
        var stamp = time.GetUtcNow().UtcDateTime.ToString("yyyyMMdd-HHmmss", CultureInfo.InvariantCulture);
        _log = new StreamWriter(Path.Combine(folder, $"{kind}_{stamp}-utc.log")) { AutoFlush = true };
    }

    public void Trace(string text) => _log.WriteLine($"[{Stamp()} INFO] {text}");

    /// <summary>A line with the UTC time in front, as the official runner prints its state.</summary>
    public void Say(string text)
    {
        Trace(text);
        Console.WriteLine($"{Stamp()}: {text}");
    }

    public void Dispose() => _log.Dispose();

    private string Stamp() => _time.GetUtcNow().UtcDateTime.ToString("yyyy-MM-dd HH:mm:ss'Z'", CultureInfo.InvariantCulture);
}
