using System.Globalization;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using Microsoft.Win32.SafeHandles;

namespace Mayfly.Agent;

/// <summary>
/// Maps devices by the device-mapper's own ioctls: creating, loading a table and resuming take milliseconds, while
/// starting the cryptsetup program takes a third of a second in an emulated machine.
/// https://docs.kernel.org/admin-guide/device-mapper/, include/uapi/linux/dm-ioctl.h
/// </summary>
internal static unsafe class DeviceMapper
{
    private const int HeaderBytes = 312; // sizeof(struct dm_ioctl)
    private const int TargetBytes = 40;  // sizeof(struct dm_target_spec)
    private const int NameOffset = 48;
    private const int DeviceOffset = 40;
    private const uint ReadOnlyFlag = 1 << 0;
    private const uint SecureDataFlag = 1 << 15; // the kernel wipes its copy of the table, which holds the key

    private const uint Create = 3;
    private const uint Remove = 4;
    private const uint Suspend = 6; // without its flag: resume
    private const uint LoadTable = 9;

    /// <summary>Makes <c>/dev/dm-N</c> of one target and returns its path.</summary>
    /// <param name="sectors">Length in sectors of 512 bytes.</param>
    /// <param name="parameters">The target's parameters, ASCII. Wiped here after use if it is the caller's only copy.</param>
    public static string Map(string name, string target, ulong sectors, bool readOnly, ReadOnlySpan<byte> parameters)
    {
        using var control = File.OpenHandle("/dev/mapper/control", FileMode.Open, FileAccess.ReadWrite);
        var minor = MinorOf(Call(control, Create, name, 0, []));
        try
        {
            var table = TargetOf(target, sectors, parameters);
            try
            {
                Call(control, LoadTable, name, SecureDataFlag | (readOnly ? ReadOnlyFlag : 0), table);
            }
            finally
            {
                CryptographicOperations.ZeroMemory(table);
            }

            Call(control, Suspend, name, 0, []);
        }
        catch
        {
            Call(control, Remove, name, 0, []);
            throw;
        }

        return string.Create(CultureInfo.InvariantCulture, $"/dev/dm-{minor}");
    }

    private static byte[] TargetOf(string target, ulong sectors, ReadOnlySpan<byte> parameters)
    {
        var table = new byte[(TargetBytes + parameters.Length + 1 + 7) & ~7];
        MemoryMarshal.Write(table.AsSpan(8), sectors); // sector_start stays 0
        Encoding.ASCII.GetBytes(target, table.AsSpan(24, 15));
        parameters.CopyTo(table.AsSpan(TargetBytes));
        return table;
    }

    private static byte[] Call(SafeFileHandle control, uint command, string name, uint flags, ReadOnlySpan<byte> table)
    {
        var buffer = new byte[HeaderBytes + table.Length];
        try
        {
            MemoryMarshal.Write(buffer.AsSpan(0), 4u); // version 4.0.0
            MemoryMarshal.Write(buffer.AsSpan(12), (uint)buffer.Length);
            MemoryMarshal.Write(buffer.AsSpan(16), (uint)HeaderBytes);
            MemoryMarshal.Write(buffer.AsSpan(20), table.IsEmpty ? 0u : 1u);
            MemoryMarshal.Write(buffer.AsSpan(28), flags);
            Encoding.ASCII.GetBytes(name, buffer.AsSpan(NameOffset, 127));
            table.CopyTo(buffer.AsSpan(HeaderBytes));
            fixed (byte* start = buffer)
            {
                const nuint readWrite = 0xC0000000; // _IOWR(0xfd, command, struct dm_ioctl)
                if (Kernel.Ioctl(control, readWrite | (HeaderBytes << 16) | (0xfd << 8) | command, start) != 0)
                    throw Kernel.Failure("device-mapper ioctl", $"{command} on {name}");
            }

            return buffer[..HeaderBytes];
        }
        finally
        {
            CryptographicOperations.ZeroMemory(buffer);
        }
    }

    /// <summary>The kernel's huge encoding of a device number: minor in bits 0-7 and 20-31.</summary>
    private static ulong MinorOf(byte[] header)
    {
        var device = MemoryMarshal.Read<ulong>(header.AsSpan(DeviceOffset));
        return (device & 0xff) | ((device >> 12) & 0xfff00);
    }
}
