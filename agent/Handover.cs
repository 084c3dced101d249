using System.Text.Json;
using System.Text.Json.Serialization;
using Mayfly.Contract;

namespace Mayfly.Agent;

/// <summary>
/// What the initrd proved, for the service: a file in a folder of <c>/run</c> that only root can enter. Without it no
/// job runs, since steps 1 to 4 are then not known to have happened.
/// </summary>
/// <param name="Scratch">For people, as <paramref name="Swap"/>.</param>
/// <param name="Storage">What the launch's tags are fitted to.</param>
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
        File.WriteAllBytes(FileIn(folder), JsonSerializer.SerializeToUtf8Bytes(this, HandoverJson.Default.Handover));
    }

    /// <exception cref="EndingException">It is not there or cannot be read.</exception>
    public static Handover Read(string folder)
    {
        var path = FileIn(folder);
        try
        {
            return JsonSerializer.Deserialize(File.ReadAllBytes(path), HandoverJson.Default.Handover) is { Storage: not null } handover
                ? handover
                : throw new JsonException("it does not say what the initrd made.");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or JsonException)
        {
            throw new EndingException(Ending.NotProved(Step.LayWritableView, $"{path}: {e.Message} Was the machine booted from a Mayfly image?"), e);
        }
    }
}

[JsonSerializable(typeof(Handover))]
internal sealed partial class HandoverJson : JsonSerializerContext;
