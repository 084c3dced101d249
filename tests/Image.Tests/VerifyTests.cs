using System.Text.Json.Nodes;
using Mayfly.Lab.Tests;
using Mayfly.Machine.Tests;
using NJsonSchema;
using Xunit;

namespace Mayfly.Image.Tests;

/// <summary>What stands beside the image, and what becomes of it when somebody alters the one or the other.</summary>
public sealed class VerifyTests : IDisposable
{
    private const string SchemaVersion = "10.3.0";

    private readonly string _folder = Directory.CreateTempSubdirectory("mayfly-verify-").FullName;

    [Fact]
    public async Task The_built_image_is_what_is_written_beside_it()
    {
        var checks = await Builder.VerifyAsync(Built.Path("artifacts/image"));

        Assert.All(checks, line => Assert.StartsWith("ok ", line, StringComparison.Ordinal));
        Assert.Equal(18, checks.Count);
    }

    /// <summary>The forger alters the root, the list of packages and the agent's digest, and makes all checksums anew.</summary>
    [Fact]
    public async Task Whoever_alters_the_image_and_its_checksums_is_found_by_what_is_recomputed()
    {
        var image = await CopyAsync();
        var manifest = JsonNode.Parse(await System.IO.File.ReadAllTextAsync(Path.Combine(image, "manifest.json"), TestContext.Current.CancellationToken))!;
        using (var disk = new FileStream(Path.Combine(image, "disk.raw"), FileMode.Open, FileAccess.ReadWrite))
        {
            // In the hash tree, so that the file system still unpacks. The root is the second entry of the partition table.
            var entry = new byte[128];
            disk.Position = 1024 + 128;
            disk.ReadExactly(entry);
            disk.Position = (BitConverter.ToInt64(entry, 32) * 512) + ((long)manifest["dataBlocks"]! * 4096) + 5000;
            var value = disk.ReadByte();
            disk.Position--;
            disk.WriteByte((byte)(value ^ 1));
        }

        manifest["sha256"]!["disk"] = Builder.Digest(Path.Combine(image, "disk.raw"));
        manifest["sha256"]!["agent"] = new string('0', 64);
        manifest["pcrs"]!["secureBoot"]!["11"] = new string('0', 64);
        manifest["packages"]![0]!["version"] = "0";
        await System.IO.File.WriteAllTextAsync(Path.Combine(image, "manifest.json"), manifest.ToJsonString(), TestContext.Current.CancellationToken);
        await ChecksumAsync(image);

        var failed = (await Builder.VerifyAsync(image)).Where(line => line.StartsWith("FAILED", StringComparison.Ordinal)).Select(line => line[8..].Split(':')[0]).ToList();

        Assert.Equal(
        [
            "the root partition is the one of the manifest", "the root hash is that of the root's blocks", "the predicted TPM values are those of the bootable file",
            "the initrd's agent is the one of the manifest", "the root's agent is the one of the manifest", "the manifest lists the root's packages", "the bill of materials is of this disk", "the provenance is of these files",
        ], failed);
    }

    [Fact]
    public async Task The_bill_of_materials_obeys_the_official_schema()
    {
        var packages = new NpmPackages(Built.Path("artifacts"), $"cyclonedx-{SchemaVersion}", $"@cyclonedx/cyclonedx-library@{SchemaVersion}");
        var schema = await JsonSchema.FromFileAsync(await packages.FindAsync("@cyclonedx/cyclonedx-library/res/schema/bom-1.5.SNAPSHOT.schema.json"), TestContext.Current.CancellationToken);
        _ = Built.Image;
        var bom = JsonNode.Parse(await System.IO.File.ReadAllTextAsync(Built.Path("artifacts/image/bom.json"), TestContext.Current.CancellationToken))!;

        Assert.Empty(schema.Validate(bom.ToJsonString()));
        bom["components"]![3]!["type"] = "package";
        Assert.NotEmpty(schema.Validate(bom.ToJsonString()));
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private async Task<string> CopyAsync()
    {
        _ = Built.Image;
        var copy = Path.Combine(_folder, "copy");
        await Builder.RunAsync("cp", ["-r", Built.Path("artifacts/image"), copy]);
        return copy;
    }

    private static Task<string> ChecksumAsync(string image) =>
        Builder.RunAsync("sh", ["-c", "cd \"$0\" && sha256sum $(awk '{ print $2 }' SHA256SUMS) > new && mv new SHA256SUMS", image]);
}
