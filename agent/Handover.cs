using System.Text.Json;
using Mayfly.Contract;

namespace Mayfly.Agent;

/// <summary>
/// What the initrd proved, for the service: a file in a folder of <c>/run</c> that only root can enter. Without it no
/// job runs, since steps 1 to 4 are then not known to have happened. Read and written without a serializer, whose first use takes
/// a good part of the service's time before its first question.
/// </summary>
/// <param name="Scratch">For people, as <paramref name="Swap"/>.</param>
/// <param name="Storage">What the launch's tags are fitted to.</param>
/// <param name="Events">In the file as the lines that the console had.</param>
internal sealed record Handover(string RootHash, string Scratch, string Swap, MadeStorage Storage, IReadOnlyList<ConsoleEvent> Events)
{
    public const string Folder = "/run/mayfly";

    /// <summary>Where the initrd lays the job's view of the file system, for the sandbox.</summary>
    public const string JobRoot = Folder + "/job-root";

    public static string FileIn(string folder) => Path.Combine(folder, "handover.json");

    public static void MakeFolder(string folder) =>
        Directory.CreateDirectory(folder, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);

    public void Write(string folder)
    {
        MakeFolder(folder);
        using var file = File.Create(FileIn(folder));
        using var json = new Utf8JsonWriter(file);
        json.WriteStartObject();
        json.WriteString(nameof(RootHash), RootHash);
        json.WriteString(nameof(Scratch), Scratch);
        json.WriteString(nameof(Swap), Swap);
        json.WriteStartObject(nameof(Storage));
        json.WriteString(nameof(Storage.ScratchDevice), Storage.ScratchDevice);
        json.WriteNumber(nameof(Storage.ScratchBytes), Storage.ScratchBytes);
        json.WriteBoolean(nameof(Storage.InMemory), Storage.InMemory);
        json.WriteString(nameof(Storage.SwapDevice), Storage.SwapDevice);
        json.WriteNumber(nameof(Storage.SwapBytes), Storage.SwapBytes);
        json.WriteEndObject();
        json.WriteStartArray(nameof(Events));
        foreach (var e in Events)
            json.WriteStringValue(ConsoleLine.Format(e));
        json.WriteEndArray();
        json.WriteEndObject();
    }

    /// <exception cref="EndingException">It is not there or cannot be read.</exception>
    public static Handover Read(string folder)
    {
        var path = FileIn(folder);
        try
        {
            using var json = JsonDocument.Parse(File.ReadAllBytes(path));
            var (root, storage) = (json.RootElement, json.RootElement.GetProperty(nameof(Storage)));
            return new Handover(
                Text(root, nameof(RootHash)), Text(root, nameof(Scratch)), Text(root, nameof(Swap)),
                new MadeStorage(
                    Text(storage, nameof(Storage.ScratchDevice)), storage.GetProperty(nameof(Storage.ScratchBytes)).GetInt64(), storage.GetProperty(nameof(Storage.InMemory)).GetBoolean(),
                    Text(storage, nameof(Storage.SwapDevice)), storage.GetProperty(nameof(Storage.SwapBytes)).GetInt64()),
                [.. root.GetProperty(nameof(Events)).EnumerateArray().Select(line => ConsoleLine.ParseEvent(line.GetString() ?? "") ?? throw new FormatException("an event is none."))]);
        }
        // The last three: a member that is missing, of another kind, or out of range.
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or JsonException or KeyNotFoundException or InvalidOperationException or FormatException)
        {
            throw new EndingException(Ending.NotProved(Step.LayWritableView, $"{path}: {e.Message} Was the machine booted from a Mayfly image?"), e);
        }
    }

    private static string Text(JsonElement parent, string name) => parent.GetProperty(name).GetString() ?? throw new FormatException($"{name} is null.");
}
