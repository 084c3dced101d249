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
        var (code, output) = await RunAsync(Current);

        Assert.True(code == 0, output);
        Assert.Contains("ok      the root hash is that of the root's blocks", output, StringComparison.Ordinal);
        var asked = await File.ReadAllLinesAsync(Path.Combine(_folder, "asked"), TestContext.Current.CancellationToken);
        Assert.Equal(["init", "packer/plugins", "build", "-only=amazon-ebssurrogate.ami", $"-var-file={Built.Path("artifacts/ami/ami.pkrvars.json")}", "packer"], asked);
        var variables = JsonNode.Parse(await File.ReadAllTextAsync(Built.Path("artifacts/ami/ami.pkrvars.json"), TestContext.Current.CancellationToken))!;
        var manifest = Builder.Manifest(Built.Path("artifacts/image"));
        Assert.Equal(Built.Path("artifacts/image"), (string?)variables["image"]);
        Assert.Equal(manifest.GetProperty("rootHash").GetString(), (string?)variables["manifest"]!["rootHash"]);
        Assert.Equal(manifest.GetProperty("runner").GetProperty("version").GetString(), (string?)variables["manifest"]!["runner"]);
    }

    [Fact]
    public async Task Another_image_than_the_one_that_is_built_is_refused()
    {
        var (code, output) = await RunAsync(Current, $"--image={_folder}");

        Assert.NotEqual(0, code);
        Assert.Contains($"and not --image='{_folder}': leave that out", output, StringComparison.Ordinal);
        Assert.False(File.Exists(Path.Combine(_folder, "asked")), "Packer was called");
    }

    [Fact]
    public async Task A_Packer_too_old_to_write_the_AMI_is_refused_before_anything_is_built()
    {
        var (code, output) = await RunAsync("printf 'Usage: packer [--version] [--help] <command> [<args>]\\n' >&2; exit 127"); // as Debian's answers

        Assert.NotEqual(0, code);
        Assert.Contains("an AMI needs a current Packer, 1.7 or later", output, StringComparison.Ordinal);
        Assert.Contains("https://developer.hashicorp.com/packer/install", output, StringComparison.Ordinal);
        Assert.DoesNotContain("the root hash", output, StringComparison.Ordinal); // nothing was verified, let alone built
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

    /// <summary>What a Packer that knows <c>init</c> does, as far as the build sees it.</summary>
    private string Current => $"[ \"$2\" = -help ] && exec echo 'Usage: packer init [options] [config.pkr.hcl|folder/]'; printf '%s\\n' \"$@\" >> {_folder}/asked";

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    /// <summary>That target alone: the image it is about is there.</summary>
    /// <param name="does">The stand-in for Packer, in shell.</param>
    private async Task<(int Code, string Output)> RunAsync(string does, params string[] arguments)
    {
        _ = Built.Image;
        var packer = Path.Combine(_folder, "packer");
        await File.WriteAllTextAsync(packer, $"#!/bin/sh\n{does}\n", TestContext.Current.CancellationToken);
        File.SetUnixFileMode(packer, (UnixFileMode)0b111_101_101);
        var (code, output, error) = await Builder.StartAsync(Built.Path("build.sh"), ["--target=Ami", "--exclusive", "--region=eu-central-1", "--runner=official", .. arguments],
            [("PATH", $"{_folder}:{Environment.GetEnvironmentVariable("PATH")}")]);
        return (code, output + error);
    }
}
