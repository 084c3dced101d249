using System.Globalization;
using Microsoft.Win32.SafeHandles;

namespace Mayfly.Agent;

/// <summary>
/// Maps devices by the device-mapper's own ioctls: creating, loading a table and resuming take milliseconds, while
/// starting the cryptsetup program takes a third of a second in an emulated machine.
/// https://docs.kernel.org/admin-guide/device-mapper/, include/uapi/linux/dm-ioctl.h
/// </summary>
internal static class DeviceMapper
{
    private const uint Create = 3;
    private const uint Remove = 4;
    private const uint Suspend = 6; // without its flag: resume
    private const uint LoadTable = 9;
    private const uint TableStatus = 12;

    /// <summary>Makes <c>/dev/dm-N</c> of one target and returns its path.</summary>
    /// <param name="sectors">Length in sectors of 512 bytes.</param>
    /// <param name="parameters">The target's parameters, ASCII. No copy of them is left in this process's memory.</param>
    public static string Map(string name, string target, ulong sectors, bool readOnly, ReadOnlySpan<byte> parameters)
    {
        using var control = File.OpenHandle("/dev/mapper/control", FileMode.Open, FileAccess.ReadWrite);
        ulong minor;
        using (var create = new DeviceMapperMessage(name))
        {
            Send(control, Create, name, create);
            minor = create.Minor;
        }

        try
        {
            using (var load = new DeviceMapperMessage(name, target, sectors, readOnly, parameters))
                Send(control, LoadTable, name, load);
            using (var resume = new DeviceMapperMessage(name))
                Send(control, Suspend, name, resume);
        }
        catch
        {
            using var remove = new DeviceMapperMessage(name);
            Send(control, Remove, name, remove);
            throw;
        }

        return string.Create(CultureInfo.InvariantCulture, $"/dev/dm-{minor}");
    }

    /// <summary>The type of a mapped device's target and what that says of itself, without its parameters.</summary>
    public static (string Target, string Status) StatusOf(string name) => Ask(name, table: false);

    /// <summary>What a device was mapped by. Never asked of one that is encrypted: its key would come with it.</summary>
    public static string VerityTableOf(string name) =>
        StatusOf(name).Target == "verity" ? Ask(name, table: true).Answer : throw new InvalidOperationException($"{name} is not mapped by verity");

    private static (string Target, string Answer) Ask(string name, bool table)
    {
        using var control = File.OpenHandle("/dev/mapper/control", FileMode.Open, FileAccess.ReadWrite);
        using var question = DeviceMapperMessage.Question(name, table);
        Send(control, TableStatus, name, question);
        return question.Target;
    }

    private static unsafe void Send(SafeFileHandle control, uint command, string name, DeviceMapperMessage message)
    {
        fixed (byte* start = message.Bytes)
        {
            const nuint readWrite = 0xC0000000; // _IOWR(0xfd, command, struct dm_ioctl)
            if (Kernel.Ioctl(control, readWrite | (DeviceMapperMessage.HeaderBytes << 16) | (0xfd << 8) | command, start) != 0)
                throw Kernel.Failure("device-mapper ioctl", $"{command} on {name}");
        }
    }
}
