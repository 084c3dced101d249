using System.Diagnostics;
using System.Globalization;
using System.Net.Sockets;
using System.Text;
using System.Text.Json.Nodes;
using Mayfly.Lab.Ec2;

namespace Mayfly.Lab.Machines;

/// <summary>How virtual machines are made here.</summary>
/// <param name="DiskImage">The image's raw disk; a machine's writes to it are thrown away.</param>
/// <param name="Environment">Lines for the guest's <c>mayfly.environment</c> credential: where it finds AWS.</param>
/// <param name="Folder">For consoles, scratch volumes and firmware variables.</param>
/// <param name="Limit">After this a machine is switched off, whatever it does.</param>
internal sealed record QemuOptions(string DiskImage, string Environment, string Folder, TimeSpan Limit, bool WithNetwork = true)
{
    /// <summary>Called for each line on the console, as it is written.</summary>
    public Action<Instance, string>? OnConsoleLine { get; init; }

    /// <summary>A firmware variable store with Secure Boot's keys enrolled; null for firmware that boots anything. On EC2 the
    /// image's UefiData.</summary>
    public string? SecureBoot { get; init; }

    /// <summary>Whether the machine has a TPM, as an image registered with TpmSupport gets.</summary>
    public bool WithTpm { get; init; }

    /// <summary>Further arguments for QEMU.</summary>
    public IReadOnlyList<string> Extra { get; init; } = [];

    /// <summary>Called with the file of each empty volume and instance store, named by its serial, before the machine starts.</summary>
    public Action<string>? PrepareVolume { get; init; }
}

/// <summary>
/// An instance as a virtual machine: UEFI firmware, NVMe disks with EBS's serials, a serial console, and a network of its
/// own whose address tells the metadata service who asks.
/// </summary>
internal sealed class QemuMachine(Instance instance, QemuOptions options, TimeProvider time) : IMachine
{
    private const string Firmware = "/usr/share/OVMF/OVMF_CODE_4M.fd";
    private const string SecureFirmware = "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd";
    private const string FirmwareVariables = "/usr/share/OVMF/OVMF_VARS_4M.fd";
    /// <summary>EC2 gives a system some minutes.</summary>
    private static readonly TimeSpan ShutDownLimit = TimeSpan.FromMinutes(2);

    private static readonly TimeSpan DescribeLimit = TimeSpan.FromSeconds(20);

    private static readonly TimeSpan ConsolePause = TimeSpan.FromMilliseconds(50);

    // Beside QEMU a software TPM, which ends with it.
    private const string WithTpmScript = """
        mkdir "$0"
        swtpm socket --tpm2 --tpmstate dir="$0" --ctrl type=unixio,path="$0/socket" --daemon --terminate || exit
        echo ready; read go; exec "$@"
        """;

    /// <summary><c>/dev/kvm</c> may be there without serving a stock kernel; these modules do.</summary>
    public static string Accelerator { get; } =
        Directory.Exists("/sys/module/kvm_intel") || Directory.Exists("/sys/module/kvm_amd") ? "kvm" : "tcg,thread=multi";

    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private Process? _process;

    /// <summary>When QEMU was started.</summary>
    public DateTimeOffset PoweredOn { get; private set; }

    public string ConsoleFile { get; } = Path.Combine(options.Folder, $"{instance.Id}.console");

    /// <summary>QEMU's own socket, for <see cref="QemuMonitor"/>.</summary>
    public string MonitorSocket { get; } = Path.Combine(options.Folder, $"{instance.Id}.qmp");

    public Task Ended => _ended.Task;

    private string Device => "mf" + instance.Id[^8..];

    public async Task StartAsync()
    {
        try
        {
            await PowerOnAsync();
        }
        catch
        {
            Kill();
            _ended.TrySetResult();
            throw;
        }
    }

    private async Task PowerOnAsync()
    {
        var variables = Path.Combine(options.Folder, $"{instance.Id}.vars");
        File.Copy(options.SecureBoot ?? FirmwareVariables, variables);
        await File.WriteAllTextAsync(ConsoleFile, "");

        // The shell waits in the new network namespace until the veth pair is laid, then becomes QEMU under a time limit.
        var start = new ProcessStartInfo("/usr/bin/unshare") { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (var argument in (IEnumerable<string>)[
            "--net", "--", "/bin/sh", "-c", options.WithTpm ? WithTpmScript : "echo ready; read go; exec \"$@\"", $"{ConsoleFile}.tpm",
            "timeout", "--kill-after=5", options.Limit.TotalSeconds.ToString("F0", CultureInfo.InvariantCulture), "qemu-system-x86_64", .. Arguments(variables)])
            start.ArgumentList.Add(argument);
        _process = Process.Start(start) ?? throw new InvalidOperationException("unshare did not start");
        _ = await _process.StandardOutput.ReadLineAsync() ?? throw new InvalidOperationException("no network namespace: " + await _process.StandardError.ReadToEndAsync());
        if (options.WithNetwork)
            await LabNetwork.JoinAsync(_process.Id, instance.Address, Device);
        PoweredOn = time.GetUtcNow();
        await _process.StandardInput.WriteLineAsync("go");
        _process.StandardInput.Close();
        _ = FollowAsync(_process);
    }

    public void Kill()
    {
        try
        {
            _process?.Kill(entireProcessTree: true);
        }
        catch (InvalidOperationException)
        {
            // it has ended by itself
        }
    }

    /// <summary>Presses the power button.</summary>
    public void ShutDown() => _ = ShutDownAsync();

    private async Task ShutDownAsync()
    {
        try
        {
            using var limit = new CancellationTokenSource(ShutDownLimit, time);
            using var monitor = await QemuMonitor.ConnectAsync(MonitorSocket, limit.Token);
            await monitor.ExecuteAsync("system_powerdown", null, limit.Token);
            await Ended.WaitAsync(limit.Token);
        }
        catch (Exception e) when (e is SocketException or IOException or InvalidOperationException or OperationCanceledException)
        {
            // it has gone meanwhile, or does not go
        }

        Kill();
    }

    public string ReadConsole()
    {
        if (!File.Exists(ConsoleFile))
            return "";
        using var file = new FileStream(ConsoleFile, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        using var reader = new StreamReader(file, Encoding.UTF8);
        return reader.ReadToEnd();
    }

    /// <summary>Where a machine stands that says nothing: how much of its root it has read, and what its processors are at.</summary>
    public async Task<string> DescribeAsync()
    {
        try
        {
            using var limit = new CancellationTokenSource(DescribeLimit, time);
            using var monitor = await QemuMonitor.ConnectAsync(MonitorSocket, limit.Token);
            var reads = await monitor.ReadsAsync("root", limit.Token);
            var registers = (string?)await monitor.ExecuteAsync("human-monitor-command", new JsonObject { ["command-line"] = "info registers -a" }, limit.Token) ?? "";
            return $"it has read {reads.Bytes} bytes of its root in {reads.Requests} requests; {string.Join("; ", registers.Split('\n').Select(l => l.Trim()).Where(l => l.StartsWith("CPU#", StringComparison.Ordinal) || l.StartsWith("RIP=", StringComparison.Ordinal) || l.StartsWith("EIP=", StringComparison.Ordinal)))}";
        }
        catch (Exception e) when (e is SocketException or IOException or InvalidOperationException or OperationCanceledException)
        {
            return $"QEMU does not say what it is at: {e.Message}";
        }
    }

    private List<string> Arguments(string variables)
    {
        var (cores, megabytes) = SizeOf(instance.Type);
        List<string> arguments =
        [
            // Only code in system management mode may write Secure Boot's variables.
            "-machine", options.SecureBoot is null ? "q35" : "q35,smm=on", "-global", $"driver=cfi.pflash01,property=secure,value={(options.SecureBoot is null ? "off" : "on")}", "-accel", Accelerator, "-cpu", "max", "-smp", $"{cores}", "-m", $"{megabytes}",
            "-display", "none", "-no-reboot", "-serial", $"file:{ConsoleFile}", "-monitor", "none",
            "-qmp", $"unix:{MonitorSocket},server=on,wait=off",
            "-drive", $"if=pflash,format=raw,unit=0,readonly=on,file={(options.SecureBoot is null ? Firmware : SecureFirmware)}", "-drive", $"if=pflash,format=raw,unit=1,file={variables}",
            "-device", "virtio-rng-pci",
            "-smbios", $"type=1,manufacturer=Amazon EC2,product={instance.Type},serial=ec2-{instance.Id}",
            "-smbios", $"type=11,value=io.systemd.credential.binary:mayfly.environment={Convert.ToBase64String(Encoding.UTF8.GetBytes(options.Environment))}",
            "-drive", $"id=root,if=none,format=raw,snapshot=on,file={options.DiskImage}", "-device", $"nvme,drive=root,bootindex=1,serial=vol0{instance.Id[3..]}",
        ];
        var stores = InstanceStore.Of(instance.Type).Select((bytes, i) => (Bytes: bytes, Serial: $"AWS{i + 1}{instance.Id[3..]}"));
        // The first mapping may size the root; what bears another device name is an empty volume.
        var volumes = instance.Spec.BlockDevices.Where(d => d.DeviceName is not ("/dev/xvda" or "/dev/sda1"))
            .Select((device, i) => (Bytes: (long)device.SizeGiB << 30, Serial: $"vol{i + 1}{instance.Id[3..]}"));
        foreach (var (bytes, serial) in stores.Concat(volumes))
        {
            var path = Path.Combine(options.Folder, $"{serial}.raw");
            using (var file = File.Create(path))
                file.SetLength(bytes);
            options.PrepareVolume?.Invoke(path);
            arguments.AddRange(["-drive", $"id={serial},if=none,format=raw,discard=unmap,file={path}", "-device", $"nvme,drive={serial},serial={serial}"]);
        }

        if (options.WithTpm)
            arguments.AddRange(["-chardev", $"socket,id=tpm,path={ConsoleFile}.tpm/socket", "-tpmdev", "emulator,id=tpm0,chardev=tpm", "-device", "tpm-crb,tpmdev=tpm0"]);
        if (options.WithNetwork)
            arguments.AddRange(["-netdev", "user,id=net0,ipv6=off", "-device", "virtio-net-pci,netdev=net0"]);
        else
            arguments.AddRange(["-nic", "none"]);
        arguments.AddRange(options.Extra);
        return arguments;
    }

    private async Task FollowAsync(Process process)
    {
        var errors = process.StandardError.ReadToEndAsync();
        var exit = process.WaitForExitAsync();
        using var file = new FileStream(ConsoleFile, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        using var reader = new StreamReader(file, Encoding.UTF8);
        var line = new StringBuilder();
        for (var last = false; ; last = exit.IsCompleted)
        {
            foreach (var character in await reader.ReadToEndAsync())
            {
                if (character != '\n')
                {
                    line.Append(character);
                    continue;
                }

                options.OnConsoleLine?.Invoke(instance, line.ToString().TrimEnd('\r'));
                line.Clear();
            }

            if (last)
                break;
            await Task.WhenAny(exit, Task.Delay(ConsolePause, time, CancellationToken.None));
        }

        var error = (await errors).Trim();
        if (error.Length > 0)
            options.OnConsoleLine?.Invoke(instance, $"qemu: {error}");
        process.Dispose();
        try
        {
            await LabNetwork.LeaveAsync(Device);
        }
        finally
        {
            _ended.TrySetResult();
        }
    }

    /// <summary>Two cores at most: the building machine has no more.</summary>
    private static (int Cores, int Megabytes) SizeOf(string type) => type.Split('.')[^1] switch
    {
        "nano" => (1, 512),
        "micro" => (1, 1024),
        "small" or "medium" => (2, 2048),
        _ => (2, 4096),
    };
}
