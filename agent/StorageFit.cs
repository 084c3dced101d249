using System.Globalization;
using Mayfly.Contract;

namespace Mayfly.Agent;

/// <summary>What the initrd made, by its own defaults: the tags are not known before there is a network.</summary>
/// <param name="ScratchDevice">The encrypted device, or zram.</param>
/// <param name="ScratchBytes">Its size; what the file system itself takes comes off this.</param>
/// <param name="InMemory">Both are zram.</param>
internal sealed record MadeStorage(string ScratchDevice, long ScratchBytes, bool InMemory, string SwapDevice, long SwapBytes);

/// <summary>
/// How swap is fitted to what the launch asks for: how much of the device that the initrd made stays in use, and how much comes
/// on top. See docs/decisions/0011.
/// </summary>
/// <param name="DeviceBytes">Of the swap device; 0 switches it off.</param>
/// <param name="FurtherBytes">In a file on encrypted scratch, or in zram where scratch is zram.</param>
internal sealed record StorageFit(long DeviceBytes, long FurtherBytes)
{
    /// <summary>A job cannot even be checked out on less.</summary>
    private const long LeastScratch = 1L << 30;

    /// <summary>Only root can enter the folder above it.</summary>
    private const string MountPoint = Handover.Folder + "/scratch";

    /// <summary>Decides; null where the launch asks for nothing that is not so already.</summary>
    /// <exception cref="EndingException">Scratch does not hold what is asked for, or not beside the swap that is asked for.</exception>
    public static StorageFit? For(MadeStorage made, LaunchSettings settings, long memoryBytes)
    {
        var swap = settings.SwapGiB is { } gibibytes ? (long)gibibytes << 30 : made.SwapBytes;
        var fit = new StorageFit(Math.Min(swap, made.SwapBytes), Math.Max(0, swap - made.SwapBytes));
        // Beyond the size of memory, compressed swap only moves what does not fit from one place in memory to another.
        if (made.InMemory && fit.FurtherBytes > 0 && swap > memoryBytes)
            throw new EndingException(Ending.SwapTooLarge(swap, memoryBytes));

        var scratch = made.InMemory ? made.ScratchBytes : made.ScratchBytes - fit.FurtherBytes;
        var least = settings.ScratchGiB is { } asked ? (long)asked << 30 : fit.FurtherBytes > 0 ? LeastScratch : 0;
        if (scratch < least)
            throw new EndingException(Ending.ScratchTooSmall(Math.Max(0, scratch), least, swap, made.InMemory));

        return swap == made.SwapBytes ? null : fit;
    }

    /// <summary>Fits swap to the launch and tells of it by what the kernel then says is in use.</summary>
    /// <returns>What was proved, with swap as it is now.</returns>
    public static Handover Apply(Handover proved, LaunchSettings settings, Narration narration)
    {
        if (For(proved.Storage, settings, Initrd.MemoryBytes()) is not { } fit)
            return proved;
        if (fit.DeviceBytes < proved.Storage.SwapBytes)
            SwapArea.Shrink(proved.Storage.SwapDevice, fit.DeviceBytes);
        else if (proved.Storage.InMemory)
            SwapArea.Use(Storage.MakeZram(fit.FurtherBytes), fit.FurtherBytes);
        else
            UseFile(proved.Storage.ScratchDevice, fit.FurtherBytes);

        var description = Describe(fit, proved.Storage.InMemory, BytesInUse(File.ReadLines("/proc/swaps")));
        narration.Note(Step.LearnIdentity, $"swap: {description}, as {Tags.SwapGiB}={settings.SwapGiB} asks");
        return proved with { Swap = description };
    }

    /// <summary>Sum of the areas that the kernel lists in <c>/proc/swaps</c>: a heading, then path, type and size in KiB.</summary>
    internal static long BytesInUse(IEnumerable<string> lines) =>
        lines.Skip(1).Sum(line => long.Parse(line.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries)[2], CultureInfo.InvariantCulture) * 1024);

    private static string Describe(StorageFit fit, bool inMemory, long inUse) => fit switch
    {
        { DeviceBytes: 0 } when inUse == 0 => "none",
        { FurtherBytes: > 0 } when !inMemory => $"{Mebibytes(inUse)} MiB, {fit.FurtherBytes >> 20} of them in a file on encrypted scratch",
        _ => $"{Mebibytes(inUse)} MiB{(inMemory ? " of zram" : "")}",
    };

    /// <summary>Rounded up: the kernel leaves the headers out.</summary>
    private static long Mebibytes(long bytes) => (bytes + (1 << 20) - 1) >> 20;

    /// <summary>The view that the job writes to shows only a folder of scratch: the file lies beside that, under the same
    /// encryption. The kernel holds on to it when scratch is out of sight again. Its blocks are allocated and not written: what
    /// swap never used is never read.</summary>
    private static void UseFile(string device, long bytes)
    {
        Directory.CreateDirectory(MountPoint);
        Kernel.Mount(device, MountPoint, "ext4", Kernel.MountFlags.NoAccessTime | Kernel.MountFlags.NoDevices | Kernel.MountFlags.NoSetUid);
        try
        {
            var path = Path.Combine(MountPoint, "swap");
            using (var file = new FileStream(path, new FileStreamOptions
            {
                Mode = FileMode.CreateNew,
                Access = FileAccess.Write,
                PreallocationSize = bytes,
                UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite,
            }))
            {
                file.SetLength(bytes);
            }

            SwapArea.Use(path, bytes);
        }
        finally
        {
            Kernel.UnmountLazily(MountPoint);
        }
    }
}
