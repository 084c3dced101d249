using System.Buffers;
using System.Globalization;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;

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
/// front of ours, so both are looked for anywhere in a line. What a detail quotes, such as a job's name, never holds a mark.
/// </summary>
public static class ConsoleLine
{
    /// <summary>What every line of ours begins with. In a detail, a space more takes its meaning from it.</summary>
    private const string Mark = "mayfly: ";

    private const string EventMark = Mark + "[";
    private const string EndMark = Mark + "end ";

    /// <summary>Quotes and accents stay as they are, for people; control characters are escaped all the same.</summary>
    private static readonly JsonWriterOptions ForPeople = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    public static string Format(ConsoleEvent e) =>
        string.Create(CultureInfo.InvariantCulture, $"{EventMark}{e.At:F3}] {e.Step} {e.Name}{(e.Detail.Length == 0 ? "" : ": ")}{Harmless(e.Detail)}");

    /// <summary>Written without a serializer, which would be a tenth of the agent's size.</summary>
    public static string Format(ConsoleEnding ending)
    {
        var line = new ArrayBufferWriter<byte>();
        using (var json = new Utf8JsonWriter(line, ForPeople))
        {
            json.WriteStartObject();
            json.WriteString("ending", ending.Ending);
            json.WriteNumber("step", ending.Step);
            json.WriteString("detail", Harmless(ending.Detail));
            json.WriteStartArray("events");
            foreach (var e in ending.Events)
            {
                json.WriteStartObject();
                json.WriteNumber("at", e.At);
                json.WriteNumber("step", e.Step);
                json.WriteString("name", e.Name);
                json.WriteString("detail", Harmless(e.Detail));
                json.WriteEndObject();
            }

            json.WriteEndArray();
            json.WriteEndObject();
        }

        return EndMark + Encoding.UTF8.GetString(line.WrittenSpan);
    }

    public static ConsoleEvent? ParseEvent(string line)
    {
        if (StartOf(EventMark, line) is not { } start)
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
        if (StartOf(EndMark, line) is not { } start)
            return null;
        try
        {
            using var json = JsonDocument.Parse(line.AsMemory(start + EndMark.Length));
            var root = json.RootElement;
            return new ConsoleEnding(Text(root, "ending"), Number(root, "step"), Text(root, "detail"),
                [.. root.GetProperty("events").EnumerateArray().Select(e => new ConsoleEvent(e.GetProperty("at").GetDouble(), Number(e, "step"), Text(e, "name"), Text(e, "detail")))]);
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException or FormatException)
        {
            return null; // cut off, or overwritten by the kernel: the events still stand in their own lines
        }

        static int Number(JsonElement parent, string name) => parent.GetProperty(name).GetInt32();
        static string Text(JsonElement parent, string name) => parent.GetProperty(name).GetString() ?? throw new FormatException($"{name} is null");
    }

    /// <summary>Where a line of ours with this mark begins; null if it is another, or none. Of several marks the first counts:
    /// what stands behind it is its detail.</summary>
    private static int? StartOf(string mark, string line)
    {
        var start = line.IndexOf(mark, StringComparison.Ordinal);
        return start >= 0 && line.IndexOf(mark == EndMark ? EventMark : EndMark, 0, start, StringComparison.Ordinal) < 0 ? start : null;
    }

    /// <summary>A detail may quote what a job chose, such as its name. A line break in it could begin a line that looks like
    /// the agent's own, and so could a mark, once the kernel has overwritten the one before it; what steers a terminal, or
    /// turns the direction of a text, could hide what stands there.</summary>
    private static string Harmless(string text)
    {
        if (text.Any(IsInvisible))
            text = string.Concat(text.Select(c => IsInvisible(c) ? ' ' : c));
        return text.Replace(Mark, "mayfly : ", StringComparison.Ordinal);
    }

    private static bool IsInvisible(char c) => char.GetUnicodeCategory(c) is
        UnicodeCategory.Control or UnicodeCategory.Format or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator;
}
