using System.Text.Json.Nodes;
using Mayfly.Contract;
using Mayfly.Machine.Tests;
using Xunit;

namespace Mayfly.Image.Tests;

/// <summary><c>./build.sh --target=Ami</c> with a stand-in for Packer, which writes down what it is asked for.</summary>
public sealed class AmiTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("mayfly-ami-").FullName;

    [Fact]
    public async Task What_becomes_the_AMI_is_what_was_built_and_verified()
    {
        var (code, output) = await RunAsync();

        Assert.True(code == 0, output);
        Assert.Contains("ok      the root hash is that of the root's blocks", output, StringComparison.Ordinal);
        var asked = await File.ReadAllLinesAsync(Path.Combine(_folder, "asked"), TestContext.Current.CancellationToken);
        Assert.Equal(["init", "packer/plugins", "build", "-only=amazon-ebssurrogate.ami", $"-var-file={Built.Path("artifacts/image/ami.pkrvars.json")}", "packer"], asked);
        var variables = JsonNode.Parse(await File.ReadAllTextAsync(Built.Path("artifacts/image/ami.pkrvars.json"), TestContext.Current.CancellationToken))!;
        var manifest = Builder.Manifest(Built.Path("artifacts/image"));
        Assert.Equal(Built.Path("artifacts/image"), (string?)variables["image"]);
        Assert.Equal(manifest.GetProperty("rootHash").GetString(), (string?)variables["manifest"]!["rootHash"]);
        Assert.Equal(manifest.GetProperty("runner").GetProperty("version").GetString(), (string?)variables["manifest"]!["runner"]);
    }

    [Fact]
    public async Task Another_image_than_the_one_that_is_built_is_refused()
    {
        var (code, output) = await RunAsync($"--image={_folder}");

        Assert.NotEqual(0, code);
        Assert.Contains($"and not --image='{_folder}': leave that out", output, StringComparison.Ordinal);
        Assert.False(File.Exists(Path.Combine(_folder, "asked")), "Packer was called");
    }

    [Theory]
    [InlineData(Tags.RootHash, "rootHash")]
    [InlineData(Tags.RunnerVersion, "runner")]
    [InlineData(Tags.RunnerReleased, "runnerReleased")]
    public async Task The_AMI_bears_the_tags_that_the_controller_reads(string tag, string value)
    {
        var template = await File.ReadAllTextAsync(Built.Path("packer/mayfly.pkr.hcl"), TestContext.Current.CancellationToken);

        Assert.Matches($"\"{tag}\" += var.manifest.{value}\n", template);
    }

    /// <summary>Debian's Packer knows none but the first, so that no validation here would miss one (Builder.FitTemplateAsync).</summary>
    [Theory]
    [InlineData("ena_support", "true")]
    [InlineData("boot_mode", "\"uefi\"")]
    [InlineData("imds_support", "\"v2.0\"")]
    [InlineData("http_tokens", "\"required\"")]
    [InlineData("tpm_support", "\"v2.0\"")]
    [InlineData("encrypt_boot", "var.encrypt")]
    [InlineData("throughput", "var.throughput")]
    public async Task The_AMI_boots_by_UEFI_with_a_TPM_and_the_second_metadata_service_alone(string attribute, string value)
    {
        var template = await File.ReadAllTextAsync(Built.Path("packer/mayfly.pkr.hcl"), TestContext.Current.CancellationToken);

        Assert.Matches($"(?m)^ +{attribute} += {value}$", template);
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    /// <summary>That target alone: the image it is about is there.</summary>
    private async Task<(int Code, string Output)> RunAsync(params string[] arguments)
    {
        _ = Built.Image;
        var packer = Path.Combine(_folder, "packer");
        await File.WriteAllTextAsync(packer, $"#!/bin/sh\nprintf '%s\\n' \"$@\" >> {_folder}/asked\n", TestContext.Current.CancellationToken);
        File.SetUnixFileMode(packer, (UnixFileMode)0b111_101_101);
        var (code, output, error) = await Builder.StartAsync(Built.Path("build.sh"), ["--target=Ami", "--exclusive", "--region=eu-central-1", "--runner=official", .. arguments],
            [("PATH", $"{_folder}:{Environment.GetEnvironmentVariable("PATH")}")]);
        return (code, output + error);
    }
}
