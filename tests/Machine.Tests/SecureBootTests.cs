using System.Text;
using System.Text.Json;
using Xunit;

namespace Mayfly.Machine.Tests;

/// <summary>What the firmware refuses to boot, and what it measures of what it boots.</summary>
public sealed class SecureBootTests(SignedImage image) : IClassFixture<SignedImage>
{
    /// <summary>The signature is no part of what is measured: the prediction for the unsigned image is the signed one's too.</summary>
    [Theory]
    [InlineData("secureBoot")]
    [InlineData("withoutSecureBoot")]
    public async Task A_signed_image_boots_and_its_TPM_holds_what_the_build_predicted(string firmware)
    {
        await using var bed = await Bed.MakeAsync(image.Disk, machine: options => options with { SecureBoot = firmware == "secureBoot" ? image.FirmwareVariables : null, WithTpm = true });

        var printed = await bed.RunJobAsync("cd /sys/class/tpm/tpm0/pcr-sha256; for r in 4 11 12; do echo \"pcr $r $(cat $r)\"; done");

        using var manifest = JsonDocument.Parse(await File.ReadAllBytesAsync(Built.Path("artifacts/image/manifest.json"), TestContext.Current.CancellationToken));
        var predicted = manifest.RootElement.GetProperty("pcrs").GetProperty(firmware).EnumerateObject().Select(p => $"pcr {p.Name} {p.Value.GetString()}");
        Assert.Equal(predicted, printed.Where(line => line.StartsWith("pcr ", StringComparison.Ordinal)).Select(line => line.ToLowerInvariant()));
    }

    [Fact]
    public async Task An_unsigned_image_does_not_boot_where_the_firmware_wants_a_signature() => await IsRefusedAsync(Built.Image);

    [Fact]
    public async Task A_signed_image_with_one_word_of_its_command_line_altered_does_not_boot()
    {
        var copy = Path.Combine(Path.GetTempPath(), $"altered-{Guid.NewGuid()}.raw");
        File.Copy(image.Disk, copy);
        try
        {
            // Without this word a machine that fails would wait, not end.
            var disk = await File.ReadAllBytesAsync(copy, TestContext.Current.CancellationToken);
            var at = disk.AsSpan().IndexOf("panic=-1"u8);
            Encoding.ASCII.GetBytes("panic=10").CopyTo(disk, at);
            await File.WriteAllBytesAsync(copy, disk, TestContext.Current.CancellationToken);

            await IsRefusedAsync(copy);
        }
        finally
        {
            File.Delete(copy);
        }
    }

    private async Task IsRefusedAsync(string disk)
    {
        await using var bed = await Bed.MakeAsync(disk, machine: options => options with { SecureBoot = image.FirmwareVariables });
        bed.Launch();

        var refused = await bed.WaitForAsync("firmware", "boot refused");

        Assert.EndsWith("Access Denied", refused.Detail, StringComparison.Ordinal);
        Assert.DoesNotContain(bed.Console, line => line.Contains("mayfly:", StringComparison.Ordinal));
    }
}
