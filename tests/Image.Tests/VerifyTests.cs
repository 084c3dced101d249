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

    /// <summary>The forger alters a bit of the root and each thing that is said of the image, and makes the checksums anew but for
    /// one that is left out.</summary>
    [Fact]
    public async Task Whoever_alters_the_image_and_its_checksums_is_found_by_what_is_recomputed()
    {
        var image = await CopyAsync();
        var manifest = await ReadAsync(image, "manifest.json");
        AlterHashTree(Path.Combine(image, "disk.raw"), (long)manifest["dataBlocks"]!);
        var zeros = new string('0', 64);
        manifest["sha256"]!["disk"] = Builder.Digest(Path.Combine(image, "disk.raw"));
        manifest["sha256"]!["agent"] = zeros;
        manifest["pcrs"]!["secureBoot"]!["11"] = zeros;
        manifest["packages"]!.AsArray().Single(p => ((string)p!["name"]!).StartsWith("linux-image-", StringComparison.Ordinal))!["version"] = "0";
        manifest["kernel"] = "6.1.0-0";
        manifest["bytes"] = new JsonObject { ["disk"] = 1, ["root"] = 1, ["initrd"] = 1 };
        manifest["secureBoot"]!["signed"] = true;
        manifest["sourceDateEpoch"] = 1;
        manifest["agent"]!["dotnet"] = "9.9.99";
        manifest["runner"]!["kind"] = "official";
        manifest["runner"]!["version"] = "9.9.99";
        manifest["runner"]!["released"] = "2026-11-01T00:00:00Z";
        await WriteAsync(image, "manifest.json", manifest);
        var bom = await ReadAsync(image, "bom.json");
        bom["components"]![0]!["version"] = "0";
        var runner = bom["components"]!.AsArray().Count - 1;
        bom["components"]![runner]!["hashes"]![0]!["content"] = zeros;
        await WriteAsync(image, "bom.json", bom);
        var provenance = await ReadAsync(image, "provenance.json");
        var dependencies = provenance["predicate"]!["buildDefinition"]!["resolvedDependencies"]!.AsArray();
        var agent = dependencies.IndexOf(dependencies.Single(d => (string?)d!["name"] == "mayfly-agent"));
        dependencies[agent]!["digest"]!["sha256"] = new string('1', 64); // not what the manifest now says
        dependencies[agent + 1]!["digest"]!["sha256"] = zeros;
        provenance["predicate"]!["buildDefinition"]!["externalParameters"]!["suites"]![0] = "sid";
        provenance["predicate"]!["runDetails"]!["builder"]!["id"] = "urn:another";
        await WriteAsync(image, "provenance.json", provenance);
        await Builder.RunAsync("sh", ["-c", "cd \"$0\" && sha256sum $(awk '$2 != \"root.part\" { print $2 }' SHA256SUMS) > new && mv new SHA256SUMS", image]);

        var failed = (await Builder.VerifyAsync(image)).Where(line => line.StartsWith("FAILED", StringComparison.Ordinal)).Select(line => line[8..].Split(": ", 2)).ToList();

        const string figures = "the manifest's sizes, signature, time and runner are the image's";
        const string materials = "the bill of materials is what root and manifest give";
        const string made = "the provenance is what disk, manifest and bill of materials give";
        const string checksums = "every file has its checksum";
        Assert.Equal(
        [
            "the root partition is the one of the manifest", "the root hash is that of the root's blocks", "the predicted TPM values are those of the bootable file",
            "the initrd's agent is the one of the manifest", "the root's agent is the one of the manifest", "the kernel is the one of the manifest", "the manifest lists the root's packages and the kernel's",
            figures, "the agent's .NET is the one of the manifest", materials, made, checksums,
        ], failed.Select(f => f[0]));
        foreach (var (check, path) in ((string, string)[])
            [
                (figures, "bytes.disk"), (figures, "bytes.root"), (figures, "bytes.initrd"), (figures, "secureBoot.signed"), (figures, "sourceDateEpoch"),
                (figures, "runner.kind"), (figures, "runner.version"),
                (materials, "components.0.version"), (materials, $"components.{runner}.hashes.0.content"),
                (made, $"predicate.buildDefinition.resolvedDependencies.{agent}.digest.sha256"), (made, $"predicate.buildDefinition.resolvedDependencies.{agent + 1}.digest.sha256"),
                (made, "predicate.buildDefinition.externalParameters.suites.0"), (made, "predicate.runDetails.builder.id"), (made, "subject.0.digest.sha256"),
            ])
            Assert.Contains($"{path} is ", failed.Single(f => f[0] == check)[1], StringComparison.Ordinal);
        // The root has no date of this runner, so that the manifest may have GitHub's.
        Assert.DoesNotContain("runner.released", failed.Single(f => f[0] == figures)[1], StringComparison.Ordinal);
        Assert.EndsWith("  root.part", failed.Single(f => f[0] == checksums)[1], StringComparison.Ordinal);
    }

    /// <summary>Whoever verifies does not trust the image, and so reads it and no more.</summary>
    [Fact]
    public async Task Nothing_of_the_root_is_run_to_list_what_is_in_it()
    {
        foreach (var (file, content) in ((string, string)[])
            [
                ("tree/etc/os-release", $"VERSION_CODENAME=bookworm\ntouch {_folder}/planted\n"), ("tree/etc/debian_version", "12.15\n"), ("tree/var/lib/dpkg/status", ""),
                ("manifest.json", """{"sha256": {"disk": "", "agent": ""}, "rootHash": "", "sourceDateEpoch": 0, "packages": [], "agent": {}, "runner": {}}"""),
            ])
        {
            Directory.CreateDirectory(Path.GetDirectoryName(Path.Combine(_folder, file))!);
            await File.WriteAllTextAsync(Path.Combine(_folder, file), content, TestContext.Current.CancellationToken);
        }

        var bom = await Builder.RunAsync(Built.Path("packer/scripts/sbom.sh"), [Path.Combine(_folder, "tree"), Path.Combine(_folder, "manifest.json")]);

        Assert.Equal("12.15", (string?)JsonNode.Parse(bom)!["components"]![0]!["version"]);
        Assert.False(File.Exists(Path.Combine(_folder, "planted")), "os-release was run");
    }

    [Fact]
    public async Task The_bill_of_materials_obeys_the_official_schema()
    {
        var packages = new NpmPackages(Built.Path("artifacts"), $"cyclonedx-{SchemaVersion}", $"@cyclonedx/cyclonedx-library@{SchemaVersion}");
        var schema = await JsonSchema.FromFileAsync(await packages.FindAsync("@cyclonedx/cyclonedx-library/res/schema/bom-1.5.SNAPSHOT.schema.json"), TestContext.Current.CancellationToken);
        _ = Built.Image;
        var bom = JsonNode.Parse(await File.ReadAllTextAsync(Built.Path("artifacts/image/bom.json"), TestContext.Current.CancellationToken))!;

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

    /// <summary>In the hash tree, so that the file system still unpacks. The root is the second entry of the partition table.</summary>
    private static void AlterHashTree(string path, long dataBlocks)
    {
        using var disk = new FileStream(path, FileMode.Open, FileAccess.ReadWrite);
        var entry = new byte[128];
        disk.Position = 1024 + 128;
        disk.ReadExactly(entry);
        disk.Position = (BitConverter.ToInt64(entry, 32) * 512) + (dataBlocks * 4096) + 5000;
        var value = disk.ReadByte();
        disk.Position--;
        disk.WriteByte((byte)(value ^ 1));
    }

    private static async Task<JsonNode> ReadAsync(string image, string file) =>
        JsonNode.Parse(await File.ReadAllTextAsync(Path.Combine(image, file), TestContext.Current.CancellationToken))!;

    private static Task WriteAsync(string image, string file, JsonNode content) =>
        File.WriteAllTextAsync(Path.Combine(image, file), content.ToJsonString(), TestContext.Current.CancellationToken);
}
