using System.Buffers.Binary;

namespace Mayfly.Agent;

/// <summary>
/// The machine's power button, which EC2 presses when somebody stops or terminates the instance; what has not switched itself off
/// some minutes later it takes away. systemd leaves the button to logind, which this image does without. Each is read by a thread
/// that waits in the kernel and wakes for nothing else.
/// https://docs.kernel.org/input/event-codes.html, https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/how-ec2-instance-termination-works.html
/// </summary>
internal static class PowerButton
{
    private const int EventBytes = 24; // struct input_event where a time has 16 bytes, then type, code and value

    private const ushort Key = 1; // EV_KEY
    private const ushort Power = 116; // KEY_POWER
    private const int Down = 1;

    /// <summary>ACPI's two kinds, as the kernel's driver calls them: of the fixed hardware and a device. A keyboard is neither.</summary>
    private static readonly string[] Kinds = ["LNXPWRBN", "PNP0C0C"];

    /// <param name="root">Above <c>sys</c> and <c>dev</c>: empty for the machine's own.</param>
    /// <param name="pressed">Called at the first press of each, on its thread.</param>
    /// <returns>Whether there is one that can be read.</returns>
    public static bool Watch(string root, Action pressed)
    {
        var buttons = Find(root);
        foreach (var button in buttons)
            new Thread(() => AwaitPress(button, pressed)) { IsBackground = true, Name = "power button" }.Start();
        return buttons.Count > 0;
    }

    private static List<FileStream> Find(string root)
    {
        var buttons = new List<FileStream>();
        var inputs = root + "/sys/class/input";
        foreach (var input in Directory.Exists(inputs) ? Directory.GetDirectories(inputs, "event*") : [])
        {
            try
            {
                if (Kinds.Contains(File.ReadAllText(input + "/device/phys").Split('/')[0]))
                    buttons.Add(new FileStream($"{root}/dev/input/{Path.GetFileName(input)}", FileMode.Open, FileAccess.Read, FileShare.ReadWrite, bufferSize: 0));
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // an input without a place, or one that another machine's kernel shows
            }
        }

        return buttons;
    }

    /// <summary>A button that can no longer be read presses nothing: EC2 then ends the machine by itself.</summary>
    private static void AwaitPress(FileStream button, Action pressed)
    {
        var happened = new byte[EventBytes];
        try
        {
            do
                button.ReadExactly(happened);
            while (!IsPress(happened));
        }
        catch (IOException)
        {
            return;
        }

        pressed();
    }

    private static bool IsPress(ReadOnlySpan<byte> happened) =>
        BinaryPrimitives.ReadUInt16LittleEndian(happened[16..]) == Key && BinaryPrimitives.ReadUInt16LittleEndian(happened[18..]) == Power
            && BinaryPrimitives.ReadInt32LittleEndian(happened[20..]) == Down;
}
