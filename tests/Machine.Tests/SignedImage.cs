using System.Diagnostics;
using Xunit;

namespace Mayfly.Machine.Tests;

/// <summary>The built image once more, signed with a key of the test's own, and firmware that boots only what that key signed.</summary>
public sealed class SignedImage : IAsyncLifetime
{
    // Any owner will do; it only tells whose key it is.
    private const string Owner = "6d617966-0000-4000-8000-000000000020";

    private readonly string _folder = Directory.CreateTempSubdirectory("mayfly-signed-").FullName;

    internal string Disk => Path.Combine(_folder, "disk.raw");

    internal string Uki => Path.Combine(_folder, "mayfly.efi");

    /// <summary>The firmware's variable store: the key as platform key, as key exchange key and in the signature database.</summary>
    internal string FirmwareVariables => Path.Combine(_folder, "variables");

    public async ValueTask InitializeAsync()
    {
        var built = Path.GetDirectoryName(Built.Image)!;
        foreach (var part in (string[])["vmlinuz", "initrd", "cmdline", "root.part"])
            File.Copy(Path.Combine(built, part), Path.Combine(_folder, part));
        await RunAsync("openssl", "req", "-new", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=Mayfly's tests", "-keyout", "key", "-out", "certificate");
        await RunAsync(Built.Path("packer/scripts/disk.sh"), _folder, "key", "certificate");

        File.Copy("/usr/share/OVMF/OVMF_VARS_4M.fd", FirmwareVariables);
        await RunAsync("cert-to-efi-sig-list", "-g", Owner, "certificate", "list");
        foreach (var variable in (string[])["db", "KEK", "PK"])
            await RunAsync("flash-var", FirmwareVariables, variable, "list");
    }

    public ValueTask DisposeAsync()
    {
        Directory.Delete(_folder, recursive: true);
        return ValueTask.CompletedTask;
    }

    private async Task RunAsync(string program, params string[] arguments)
    {
        var start = new ProcessStartInfo(program, arguments) { WorkingDirectory = _folder, RedirectStandardOutput = true, RedirectStandardError = true };
        start.Environment["SOURCE_DATE_EPOCH"] = "1767225600";
        using var process = Process.Start(start)!;
        var error = process.StandardError.ReadToEndAsync();
        await process.StandardOutput.ReadToEndAsync();
        await process.WaitForExitAsync();
        Assert.True(process.ExitCode == 0, $"{program}: {await error}");
    }
}
