using System.Collections.Concurrent;
using System.Diagnostics;

namespace Mayfly.Lab.Machines;

/// <summary>The image's root for light machines: mounted where the kernel knows squashfs and has loop devices, else unpacked
/// once.</summary>
internal static class LightRoot
{
    private static readonly ConcurrentDictionary<string, Lazy<Task<string>>> s_prepared = new();

    /// <returns>The image itself, or a folder beside it that holds its files.</returns>
    /// <exception cref="InvalidOperationException">It can be neither mounted nor unpacked: carries the tools' words.</exception>
    public static Task<string> PrepareAsync(string image) => s_prepared.GetOrAdd(image, path => new Lazy<Task<string>>(() => MakeAsync(path))).Value;

    private static async Task<string> MakeAsync(string image)
    {
        // In a mount namespace that ends with the attempt.
        var refusal = await RunAsync("unshare", "--mount", "mount", "-t", "squashfs", "-o", "loop,ro", image, "/mnt");
        if (refusal is null)
            return image;
        var folder = $"{image}.{File.GetLastWriteTimeUtc(image).Ticks}.tree";
        if (Directory.Exists(folder))
            return folder;
        foreach (var old in Directory.GetDirectories(Path.GetDirectoryName(image)!, Path.GetFileName(image) + ".*.tree*"))
            Directory.Delete(old, recursive: true);
        // Under another name until it is whole.
        if (await RunAsync("unsquashfs", "-no-progress", "-dest", folder + ".part", image) is { } failure)
            throw new InvalidOperationException($"{image} can be neither mounted ({refusal}) nor unpacked ({failure})");
        Directory.Move(folder + ".part", folder);
        return folder;
    }

    private static async Task<string?> RunAsync(string program, params string[] arguments)
    {
        using var process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true })
            ?? throw new InvalidOperationException($"{program} did not start");
        var output = process.StandardOutput.ReadToEndAsync();
        var error = await process.StandardError.ReadToEndAsync();
        await output;
        await process.WaitForExitAsync();
        return process.ExitCode == 0 ? null : $"{program}: {error.Trim()}";
    }
}
