using System.Text;

namespace Mayfly.Agent;

/// <summary>The lines of a text that others may write to: a job with sudo has the same user as the runner, and reaches its
/// standard output. Of a longer line only the beginning is kept.</summary>
internal sealed class BoundedLines(TextReader text)
{
    /// <summary>The runner's own have some hundred characters and a job's name.</summary>
    public const int MostCharacters = 1024;

    private readonly char[] _buffer = new char[1024];
    private int _at;
    private int _length;

    /// <summary>The next line; null at the end.</summary>
    public async Task<string?> ReadAsync()
    {
        var line = new StringBuilder();
        for (var isAny = false; ; isAny = true)
        {
            if (_at == _length)
            {
                (_at, _length) = (0, await text.ReadAsync(_buffer.AsMemory(), CancellationToken.None));
                if (_length == 0)
                    return isAny ? line.ToString() : null;
            }

            var end = Array.IndexOf(_buffer, '\n', _at, _length - _at);
            var until = end < 0 ? _length : end;
            line.Append(_buffer, _at, Math.Min(until - _at, MostCharacters - line.Length));
            _at = end < 0 ? _length : end + 1;
            if (end >= 0)
                return line.ToString().TrimEnd('\r');
        }
    }
}
