using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Mayfly.Contract;

/// <summary>One event of a machine's life, as the agent writes it and the controller reads it back.</summary>
/// <param name="At">Seconds since the machine's kernel started, by CLOCK_BOOTTIME.</param>
/// <param name="Step">Number of the step, 1 to 10; 0 before the first.</param>
/// <param name="Name">A name from <see cref="Milestone"/>, or <c>note</c> for what is only told.</param>
/// <param name="Detail">For people; may be empty; never a secret.</param>
public sealed record ConsoleEvent(double At, int Step, string Name, string Detail);

/// <summary>The last word of a machine: why it ended, and all its events.</summary>
/// <param name="Ending">A name from the agent's list of endings, such as <c>job-succeeded</c>.</param>
/// <param name="Step">Number of the step that the machine was in.</param>
/// <param name="Detail">For people: what happened and what to do.</param>
public sealed record ConsoleEnding(string Ending, int Step, string Detail, IReadOnlyList<ConsoleEvent> Events);

/// <summary>
/// The serial console's lines. An event: <c>mayfly: [12.345] 6 config deleted: /mayfly/config/i-0abc</c>.
/// The last line: <c>mayfly: end {json}</c>. The kernel writes to the same console and can put its own text in
/// front of ours, so both are looked for anywhere in a line.
/// </summary>
public static class ConsoleLine
{
    private const string EventMark = "mayfly: [";
    private const string EndMark = "mayfly: end ";

    /// <summary>Quotes and accents stay as they are, for people; control characters are escaped all the same.</summary>
    private static readonly ConsoleJson Json = new(new JsonSerializerOptions
    {
        Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        PropertyNamingPolicy = JsonNamingPolicy.CamelCase,
    });

    public static string Format(ConsoleEvent e) =>
        string.Create(CultureInfo.InvariantCulture, $"{EventMark}{e.At:F3}] {e.Step} {e.Name}{(e.Detail.Length == 0 ? "" : ": ")}{OneLine(e.Detail)}");

    public static string Format(ConsoleEnding ending) => EndMark + JsonSerializer.Serialize(ending, Json.ConsoleEnding);

    public static ConsoleEvent? ParseEvent(string line)
    {
        var start = line.IndexOf(EventMark, StringComparison.Ordinal);
        if (start < 0)
            return null;
        var rest = line.AsSpan(start + EventMark.Length).TrimEnd();
        var close = rest.IndexOf("] ");
        if (close < 0 || !double.TryParse(rest[..close], NumberStyles.Float, CultureInfo.InvariantCulture, out var at))
            return null;
        rest = rest[(close + 2)..];
        var space = rest.IndexOf(' ');
        if (space < 0 || !int.TryParse(rest[..space], NumberStyles.None, CultureInfo.InvariantCulture, out var step))
            return null;
        rest = rest[(space + 1)..];
        var colon = rest.IndexOf(": ");
        return colon < 0
            ? new ConsoleEvent(at, step, rest.ToString(), "")
            : new ConsoleEvent(at, step, rest[..colon].ToString(), rest[(colon + 2)..].ToString());
    }

    public static ConsoleEnding? ParseEnding(string line)
    {
        var start = line.IndexOf(EndMark, StringComparison.Ordinal);
        if (start < 0)
            return null;
        try
        {
            return JsonSerializer.Deserialize(line[(start + EndMark.Length)..], Json.ConsoleEnding);
        }
        catch (JsonException)
        {
            return null; // cut off, or overwritten by the kernel: the events still stand in their own lines
        }
    }

    /// <summary>A detail may quote what a job chose, such as its name: a line break or another control character in
    /// it could begin a line that looks like the agent's own.</summary>
    private static string OneLine(string text) =>
        text.Any(char.IsControl) ? string.Concat(text.Select(c => char.IsControl(c) ? ' ' : c)) : text;
}

[JsonSerializable(typeof(ConsoleEnding))]
internal sealed partial class ConsoleJson : JsonSerializerContext;
