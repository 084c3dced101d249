using Mayfly.Machine.Tests;
using Xunit;

namespace Mayfly.Image.Tests;

/// <summary>Whether the audit's comparison of the kernel's settings can fail at all. AuditTests runs the whole of it in the image.</summary>
public sealed class AuditScriptTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("mayfly-audit-").FullName;

    [Theory]
    [InlineData("kernel.ostype = Linux\n", 0, "")]
    [InlineData("# A reason.\nkernel.ostype = Linux\nkernel.osrelease = 0\n", 1, "kernel.osrelease is '")]
    [InlineData("kernel.nowhere = 1\n", 1, "kernel.nowhere is '")]
    [InlineData("", 1, "names no setting")]
    [InlineData(null, 1, "names no setting")]
    public async Task A_setting_that_differs_and_a_list_without_any_do_not_hold(string? settings, int expected, string said)
    {
        var file = Path.Combine(_folder, "settings");
        if (settings is not null)
            await File.WriteAllTextAsync(file, settings, TestContext.Current.CancellationToken);

        var (code, output) = await Builder.TryRunAsync("bash", "-c", "set -uo pipefail; eval \"$(sed -n '/^is()/p; /^sysctls()/,/^}/p' \"$0\")\"; sysctls \"$1\"", Built.Path("packer/audit.sh"), file);

        Assert.Equal(expected, code);
        Assert.Contains(said, output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_image_has_the_settings_that_the_audit_compares_with()
    {
        _ = Built.Image;
        const string settings = "etc/sysctl.d/60-mayfly.conf";

        Assert.Equal(await File.ReadAllTextAsync(Built.Path("packer/rootfs/" + settings), TestContext.Current.CancellationToken),
            await Builder.RunAsync("unsquashfs", ["-cat", Built.Path("artifacts/image/root.part"), settings]));
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);
}
