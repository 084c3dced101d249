using System.Runtime.InteropServices;

namespace Mayfly.Agent;

/// <summary>
/// Makes and unmakes swap areas. The header is one page, written here: starting mkswap for it would take ten times as long.
/// <c>union swap_header</c> of include/linux/swap.h.
/// </summary>
internal static class SwapArea
{
    private const int InfoOffset = 1024; // behind room for a boot sector

    private static ReadOnlySpan<byte> Signature => "SWAPSPACE2"u8;

    /// <summary>Writes the header for an area of so many bytes at the front of a device or file, and puts it to use.</summary>
    public static void Use(string path, long bytes)
    {
        using (var area = new FileStream(path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite, bufferSize: 0))
        {
            area.Write(Header(bytes, Environment.SystemPageSize));
            area.Flush(flushToDisk: true);
        }

        Kernel.SwapOn(path);
    }

    /// <summary>Takes the area out of use and makes it anew, smaller.</summary>
    public static void Shrink(string path, long bytes)
    {
        Kernel.SwapOff(path);
        if (bytes > 0)
            Use(path, bytes);
    }

    internal static byte[] Header(long bytes, int page)
    {
        var header = new byte[page];
        MemoryMarshal.Write(header.AsSpan(InfoOffset), 1u); // version
        // A page number has 32 bits: with pages of 4 KiB up to 16 TiB.
        MemoryMarshal.Write(header.AsSpan(InfoOffset + 4), checked((uint)((bytes / page) - 1))); // last page
        Signature.CopyTo(header.AsSpan(page - Signature.Length));
        return header;
    }
}
