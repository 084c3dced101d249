using System.Text;

namespace Mayfly.Agent;

/// <summary>
/// Writes lines to the console on a thread of its own. A console can stop taking any: somebody at the serial line presses
/// Ctrl-S, or its far end hangs. Whoever tells something must not wait for that, least of all the supervision.
/// </summary>
internal sealed class ConsoleWriter
{
    /// <summary>Lines that wait. A machine's whole story has some dozens; egress tells of at most 300 more.</summary>
    public const int MostWaiting = 512;

    private readonly Stream _console;
    private readonly Func<int, string> _lostLine;
    private readonly Queue<string> _waiting = new();
    private readonly object _lock = new(); // a Lock has no Pulse
    private int _lost;
    private string? _beingWritten;

    /// <param name="lostLine">The line that says how many lines were lost.</param>
    public ConsoleWriter(Stream console, Func<int, string> lostLine)
    {
        (_console, _lostLine) = (console, lostLine);
        new Thread(WriteAll) { IsBackground = true, Name = "console" }.Start();
    }

    /// <summary>Of the lines that wait and of the one that is being written.</summary>
    public long WaitingBytes
    {
        get
        {
            lock (_lock)
                return _waiting.Append(_beingWritten).OfType<string>().Sum(line => Encoding.UTF8.GetByteCount(line) + 1L);
        }
    }

    /// <summary>Never waits. Of more than can wait the oldest are dropped: the last line says it all again.</summary>
    public void Add(string line)
    {
        lock (_lock)
        {
            if (_waiting.Count == MostWaiting)
            {
                _waiting.Dequeue();
                _lost++;
            }

            _waiting.Enqueue(line);
            Monitor.PulseAll(_lock);
        }
    }

    /// <summary>Waits until every line is written, for so long at most.</summary>
    /// <returns>Whether all are.</returns>
    public bool Drain(TimeSpan limit)
    {
        var end = Environment.TickCount64 + (long)limit.TotalMilliseconds;
        lock (_lock)
        {
            while (_waiting.Count > 0 || _beingWritten is not null)
            {
                var left = end - Environment.TickCount64;
                if (left <= 0)
                    return false;
                Monitor.Wait(_lock, (int)left);
            }

            return true;
        }
    }

    private void WriteAll()
    {
        while (true)
        {
            var (line, lost) = Next();
            if (lost > 0)
                Write(_lostLine(lost));
            Write(line);
        }
    }

    private (string Line, int Lost) Next()
    {
        lock (_lock)
        {
            _beingWritten = null;
            Monitor.PulseAll(_lock);
            while (_waiting.Count == 0)
                Monitor.Wait(_lock);
            var next = (_waiting.Dequeue(), _lost);
            (_lost, _beingWritten) = (0, next.Item1);
            return next;
        }
    }

    private void Write(string line)
    {
        try
        {
            _console.Write(Encoding.UTF8.GetBytes(line + "\n"));
            _console.Flush();
        }
        catch (IOException)
        {
            // The machine goes on and ends as it should, only unseen.
        }
    }
}
