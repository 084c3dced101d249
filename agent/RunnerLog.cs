using System.Text;

namespace Mayfly.Agent;

/// <summary>
/// A log below the runner's <c>_diag</c>, read as it grows, for what standard output does not tell. Only ever read while no
/// code of a job has run: afterwards the folder holds whatever a job has put there.
/// </summary>
/// <param name="kind"><c>Runner</c> for the listener's, <c>Worker</c> for the worker's.</param>
internal sealed class RunnerLog(string kind)
{
    /// <summary>The listener has been told of a job and goes to fetch it (release 2.336; the last line of a fetch that never
    /// returned, actions/runner#4668).</summary>
    public const string Acknowledging = "Acknowledging runner request";

    /// <summary>The listener gives an offer up and listens on, since the job has gone or another runner has it, or since the fetch
    /// failed (src/Runner.Listener/Runner.cs).</summary>
    public static readonly IReadOnlyList<string> GivingUp = ["Skipping message Job.", "Caught exception from acquiring job message"];

    /// <summary>The worker has started (src/Runner.Worker/Worker.cs).</summary>
    public const string Waiting = "Waiting to receive the job message";

    /// <summary>The worker has read its job.</summary>
    public const string Received = "Message received.";

    /// <summary>Before a job there are some dozen kilobytes; of more, only the beginning is looked at.</summary>
    private const int Most = 1 << 20;

    private readonly StringBuilder _text = new();
    private string? _path;
    private long _position;

    /// <summary>Whether the log has said this so far; for nothing, whether there is one. False where there is no log yet, or it cannot be read.</summary>
    /// <param name="folder">Path of <c>_diag</c>.</param>
    public bool Says(string folder, string phrase) => LastOf(folder, phrase) >= 0;

    /// <summary>Where the log says this last, to be held against where it says something else; negative where it does not.</summary>
    public int LastOf(string folder, string phrase)
    {
        try
        {
            _path ??= Directory.Exists(folder) ? Directory.EnumerateFiles(folder, kind + "_*.log").FirstOrDefault() : null;
            if (_path is not null && _text.Length < Most)
                ReadOn(_path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // it says nothing
        }

        return _path is null ? -1 : _text.ToString().LastIndexOf(phrase, StringComparison.Ordinal);
    }

    private void ReadOn(string path)
    {
        using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, bufferSize: 0);
        if (file.Length == _position)
            return;
        file.Position = _position;
        var bytes = new byte[Math.Min(file.Length - _position, Most)];
        var read = file.Read(bytes);
        _position += read;
        _text.Append(Encoding.Latin1.GetString(bytes, 0, read)); // what is looked for is ASCII
    }
}
