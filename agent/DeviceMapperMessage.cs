using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;

namespace Mayfly.Agent;

/// <summary>
/// What an ioctl of the device-mapper takes: <c>struct dm_ioctl</c>, and behind it a table of one target or none. A table can
/// hold a key: the bytes lie where the garbage collector moves nothing, so that there is one copy, and are wiped when the
/// message is disposed of.
/// </summary>
internal sealed class DeviceMapperMessage : IDisposable
{
    public const int HeaderBytes = 312; // sizeof(struct dm_ioctl)

    private const int TargetBytes = 40; // sizeof(struct dm_target_spec)
    private const int DeviceOffset = 40;
    private const int NameOffset = 48;
    private const int AnswerBytes = 512; // a status is a few words, verity's table three paths and two digests
    private const uint ReadOnlyFlag = 1 << 0;
    private const uint TableFlag = 1 << 4; // DM_STATUS_TABLE_FLAG
    private const uint SecureDataFlag = 1 << 15; // the kernel wipes its own copy of the table too

    private readonly byte[] _bytes;

    public DeviceMapperMessage(string name)
        : this(name, HeaderBytes, 0, 0)
    {
    }

    public DeviceMapperMessage(string name, string target, ulong sectors, bool readOnly, ReadOnlySpan<byte> parameters)
        : this(name, HeaderBytes + ((TargetBytes + parameters.Length + 1 + 7) & ~7), targets: 1, SecureDataFlag | (readOnly ? ReadOnlyFlag : 0))
    {
        var table = _bytes.AsSpan(HeaderBytes);
        MemoryMarshal.Write(table[8..], sectors); // sector_start stays 0
        Encoding.ASCII.GetBytes(target, table.Slice(24, 15));
        parameters.CopyTo(table[TargetBytes..]);
    }

    /// <summary>With room for an answer.</summary>
    /// <param name="table">For the target's parameters instead of its status. Those of dm-crypt hold its key.</param>
    public static DeviceMapperMessage Question(string name, bool table) =>
        new(name, HeaderBytes + TargetBytes + AnswerBytes, targets: 0, SecureDataFlag | (table ? TableFlag : 0));

    private DeviceMapperMessage(string name, int bytes, uint targets, uint flags)
    {
        _bytes = GC.AllocateArray<byte>(bytes, pinned: true);
        var header = _bytes.AsSpan(0, HeaderBytes);
        MemoryMarshal.Write(header, 4u); // version 4.0.0
        MemoryMarshal.Write(header[12..], (uint)bytes);
        MemoryMarshal.Write(header[16..], (uint)HeaderBytes);
        MemoryMarshal.Write(header[20..], targets);
        MemoryMarshal.Write(header[28..], flags);
        Encoding.ASCII.GetBytes(name, header.Slice(NameOffset, 127));
    }

    public Span<byte> Bytes => _bytes;

    /// <summary>Minor number of the device, after the kernel has answered. Its huge encoding of a device number has the minor
    /// in bits 0-7 and 20-31.</summary>
    public ulong Minor
    {
        get
        {
            var device = MemoryMarshal.Read<ulong>(_bytes.AsSpan(DeviceOffset));
            return (device & 0xff) | ((device >> 12) & 0xfff00);
        }
    }

    /// <summary>The one target's type, and its status or its parameters, after the kernel has answered.</summary>
    public (string Type, string Status) Target
    {
        get
        {
            var target = _bytes.AsSpan((int)MemoryMarshal.Read<uint>(_bytes.AsSpan(16))); // data_start
            return (Text(target.Slice(24, 16)), Text(target[TargetBytes..]));
        }
    }

    private static string Text(ReadOnlySpan<byte> zeroTerminated) =>
        Encoding.ASCII.GetString(zeroTerminated.IndexOf((byte)0) is var end and >= 0 ? zeroTerminated[..end] : zeroTerminated);

    public void Dispose() => CryptographicOperations.ZeroMemory(_bytes);
}
