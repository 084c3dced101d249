using Mayfly.Machine.Tests;
using Xunit;

namespace Mayfly.Image.Tests;

/// <summary>packer/scripts/initrd.sh, with a kernel that is another than Debian's for clouds.</summary>
public sealed class InitrdTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("mayfly-initrd-").FullName;

    /// <summary>Such as linux-image-amd64, which has the first two as modules that nothing loads before the root is there.</summary>
    [Fact]
    public async Task A_kernel_that_would_not_find_its_disks_is_refused_by_the_names_of_what_it_lacks()
    {
        _ = Built.Image;
        var tree = Path.Combine(_folder, "tree");
        await Builder.RunAsync("unsquashfs", ["-quiet", "-no-progress", "-dest", tree, Built.Path("artifacts/image/root.part"), "lib", "usr/lib/modules", "usr/lib/mayfly/mayfly-agent", $"usr/lib/{Libraries}"]);
        var modules = Directory.GetDirectories($"{tree}/usr/lib/modules").Single();
        await Builder.RunAsync("sed", ["-i", "-e", "/\\/nvme.ko$/d", "-e", "/\\/ext4.ko$/d", Path.Combine(modules, "modules.builtin")]);
        foreach (var module in Directory.EnumerateFiles(modules, "dm-crypt.ko*", SearchOption.AllDirectories).Concat(Directory.EnumerateFiles(modules, "ena.ko*", SearchOption.AllDirectories)).ToList())
            File.Delete(module);
        await Builder.RunAsync("depmod", ["-b", tree, Path.GetFileName(modules)]);

        var (code, output, error) = await Builder.StartAsync(Built.Path("packer/scripts/initrd.sh"), [tree, Built.Path("packer"), Path.Combine(_folder, "initrd")], [("SOURCE_DATE_EPOCH", "0")]);

        Assert.Equal(1, code);
        Assert.Contains($"the kernel {Path.GetFileName(modules)} starts no instance: not built in and not in the initrd: nvme ext4 dm-crypt ena;", output + error, StringComparison.Ordinal);
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private static string Libraries => System.Runtime.InteropServices.RuntimeInformation.OSArchitecture == System.Runtime.InteropServices.Architecture.Arm64 ? "aarch64-linux-gnu" : "x86_64-linux-gnu";
}
