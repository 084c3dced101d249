using System.Buffers.Binary;
using System.Diagnostics;
using Xunit;

namespace Mayfly.Agent.Tests;

/// <summary>Pipes stand for the kernel's input devices.</summary>
public sealed class PowerButtonTests : IDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);

    private readonly string _root = Directory.CreateTempSubdirectory("mayfly-button-").FullName;

    [Theory]
    [InlineData("PNP0C0C/button/input0")]
    [InlineData("LNXPWRBN/button/input0")]
    public async Task A_press_is_told_of_and_nothing_else_that_the_device_says(string place)
    {
        using var device = Make("event0", place);
        var pressed = new TaskCompletionSource();
        var told = new List<string>();

        Assert.True(PowerButton.Watch(_root, () =>
        {
            told.Add("pressed");
            pressed.SetResult();
        }));
        Write(device, type: 4, code: 4, value: 1); // EV_MSC
        Write(device, type: 1, code: 30, value: 1); // KEY_A
        Write(device, type: 1, code: 116, value: 0); // let go
        Assert.False(pressed.Task.IsCompleted);
        Write(device, type: 1, code: 116, value: 1);
        await pressed.Task.WaitAsync(Patience, TestContext.Current.CancellationToken);

        Assert.Equal(["pressed"], told);
    }

    [Fact]
    public void A_keyboard_is_no_power_button()
    {
        using var device = Make("event0", "isa0060/serio0/input0");

        Assert.False(PowerButton.Watch(_root, () => { }));
    }

    [Fact]
    public void A_button_that_another_machines_kernel_shows_is_none()
    {
        using (Make("event0", "LNXPWRBN/button/input0"))
            File.Delete(_root + "/dev/input/event0");

        Assert.False(PowerButton.Watch(_root, () => { }));
    }

    [Fact]
    public void A_machine_without_inputs_has_none() => Assert.False(PowerButton.Watch(_root, () => { }));

    public void Dispose() => Directory.Delete(_root, recursive: true);

    private FileStream Make(string name, string place)
    {
        Directory.CreateDirectory($"{_root}/sys/class/input/{name}/device");
        File.WriteAllText($"{_root}/sys/class/input/{name}/device/phys", place + "\n");
        Directory.CreateDirectory($"{_root}/dev/input");
        var path = $"{_root}/dev/input/{name}";
        using (var make = Process.Start("mkfifo", [path]))
            make.WaitForExit();
        return new FileStream(path, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite, bufferSize: 0); // which waits for nobody at the other end
    }

    private static void Write(FileStream device, ushort type, ushort code, int value)
    {
        var happened = new byte[24];
        BinaryPrimitives.WriteUInt16LittleEndian(happened.AsSpan(16), type);
        BinaryPrimitives.WriteUInt16LittleEndian(happened.AsSpan(18), code);
        BinaryPrimitives.WriteInt32LittleEndian(happened.AsSpan(20), value);
        device.Write(happened);
    }
}
