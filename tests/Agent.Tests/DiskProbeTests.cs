using System.Diagnostics;
using Xunit;

namespace Mayfly.Agent.Tests;

/// <summary>Every trace of data makes a disk somebody's: by what the real programs write where they are installed, and by the
/// documented bytes at their offsets for all.</summary>
public sealed class DiskProbeTests : IDisposable
{
    private const long Kibibyte = 1L << 10;
    private const long Mebibyte = 1L << 20;
    private const long Gibibyte = 1L << 30;

    private readonly string _path = Path.GetTempFileName();

    public void Dispose() => File.Delete(_path);

    [Theory]
    [InlineData(1 * Gibibyte)]
    [InlineData(900 * Gibibyte)]
    [InlineData((8 * Mebibyte) + 512)]
    [InlineData(512)]
    public void A_disk_of_zeros_is_blank(long bytes) => Assert.True(IsBlank(bytes, []));

    /// <summary>Offsets from libblkid's sources; a negative one counts from the end.</summary>
    [Theory]
    [InlineData("MBR", 510, "55aa")]
    [InlineData("GPT", 512, "4546492050415254")]
    [InlineData("GPT's second header", -512, "4546492050415254")]
    [InlineData("LUKS", 0, "4c554b53babe")]
    [InlineData("LUKS2's second header at its nearest", 16 * Kibibyte, "534b554cbabe")]
    [InlineData("LUKS2's second header at 1 MiB", 1 * Mebibyte, "534b554cbabe")]
    [InlineData("LUKS2's second header at 2 MiB", 2 * Mebibyte, "534b554cbabe")]
    [InlineData("LUKS2's second header at its farthest", 4 * Mebibyte, "534b554cbabe")]
    [InlineData("LVM2", 512, "4c4142454c4f4e45")]
    [InlineData("ext4", 1080, "53ef")]
    [InlineData("ext4's backup superblock, blocks of 1 KiB", (8193 * Kibibyte) + 56, "53ef")]
    [InlineData("ext4's backup superblock, blocks of 2 KiB", (32 * Mebibyte) + 56, "53ef")]
    [InlineData("ext4's backup superblock, blocks of 4 KiB", (128 * Mebibyte) + 56, "53ef")]
    [InlineData("xfs", 0, "58465342")]
    [InlineData("xfs's second allocation group of four", 225 * Gibibyte, "58465342")]
    [InlineData("btrfs", (64 * Kibibyte) + 64, "5f42485266535f4d")]
    [InlineData("btrfs's first mirror", (64 * Mebibyte) + 64, "5f42485266535f4d")]
    [InlineData("btrfs's second mirror", (256 * Gibibyte) + 64, "5f42485266535f4d")]
    [InlineData("bcachefs", (4 * Kibibyte) + 24, "c68573f64e1a45ca8265f57f48ba6d81")]
    [InlineData("bcachefs's second superblock", (1 * Mebibyte) + (4 * Kibibyte) + 24, "c68573f64e1a45ca8265f57f48ba6d81")]
    [InlineData("bcache", (4 * Kibibyte) + 24, "c68573f64e1a45ca8265f57f48ba6d81")]
    [InlineData("swap", 4086, "53574150535041434532")]
    [InlineData("ZFS's first label", 128 * Kibibyte, "0cb1ba0000000000")]
    [InlineData("ZFS's second label", 384 * Kibibyte, "0cb1ba0000000000")]
    [InlineData("ZFS's third label", -384 * Kibibyte, "0cb1ba0000000000")]
    [InlineData("ZFS's fourth label", -128 * Kibibyte, "0cb1ba0000000000")]
    [InlineData("md 0.90", -64 * Kibibyte, "fc4e2ba9")]
    [InlineData("md 1.0", -8 * Kibibyte, "fc4e2ba9")]
    [InlineData("md 1.1", 0, "fc4e2ba9")]
    [InlineData("md 1.2", 4 * Kibibyte, "fc4e2ba9")]
    [InlineData("Intel's firmware RAID", -1024, "496e74656c")]
    [InlineData("DDF", -512, "de11de11")]
    [InlineData("Promise's firmware RAID at its farthest", -3087 * 512, "50726f6d69736520")]
    [InlineData("DRBD", -4 * Kibibyte + 60, "8374026b")]
    [InlineData("f2fs", 1 * Kibibyte, "1020f5f2")]
    [InlineData("ISO 9660", (32 * Kibibyte) + 1, "4344303031")]
    [InlineData("VMFS", 2 * Mebibyte, "5eabf12f")]
    [InlineData("one byte of something unheard of", 1 * Mebibyte - 1, "01")]
    public void A_signature_makes_a_disk_not_blank(string what, long offset, string bytes)
    {
        _ = what;
        const long disk = 900 * Gibibyte;

        Assert.False(IsBlank(disk, (offset < 0 ? disk + offset : offset, Convert.FromHexString(bytes))));
    }

    [Theory]
    [InlineData("/usr/sbin/mke2fs", "-q -F -t ext4")]
    [InlineData("/usr/sbin/mke2fs", "-q -F -t ext2 -b 1024")]
    [InlineData("/usr/sbin/mkswap", "-q")]
    [InlineData("/usr/sbin/sgdisk", "--new=1:0:0")]
    [InlineData("/usr/sbin/mkfs.vfat", "")]
    [InlineData("/usr/sbin/cryptsetup", "luksFormat --type luks2 --batch-mode --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --key-file /proc/version")]
    public void What_a_real_program_makes_is_seen(string program, string arguments)
    {
        Make(program, arguments);

        Assert.False(IsBlank());
    }

    [Theory]
    [InlineData("/usr/sbin/mke2fs", "-q -F -t ext4")]
    public void It_is_seen_though_both_ends_of_the_disk_were_wiped(string program, string arguments)
    {
        Make(program, arguments);
        using (var disk = File.OpenWrite(_path))
        {
            var zeros = new byte[Mebibyte];
            disk.Write(zeros);
            disk.Position = disk.Length - zeros.Length;
            disk.Write(zeros);
        }

        Assert.False(IsBlank());
    }

    private void Make(string program, string arguments)
    {
        if (!File.Exists(program))
            Assert.Skip($"{program} is not installed; its signature is tested by its documented bytes");
        using (var disk = File.OpenWrite(_path))
            disk.SetLength(1 * Gibibyte);
        using var process = Process.Start(new ProcessStartInfo(program, [.. arguments.Split(' ', StringSplitOptions.RemoveEmptyEntries), _path])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;
        var error = process.StandardError.ReadToEnd();
        process.WaitForExit();
        Assert.True(process.ExitCode == 0, error);
    }

    private bool IsBlank(long bytes, params ReadOnlySpan<(long Offset, byte[] Bytes)> written)
    {
        using (var disk = File.OpenWrite(_path))
        {
            disk.SetLength(bytes);
            foreach (var (offset, content) in written)
            {
                disk.Position = offset;
                disk.Write(content);
            }
        }

        return IsBlank();
    }

    private bool IsBlank()
    {
        using var disk = File.OpenRead(_path);
        return DiskProbe.IsBlank(disk, disk.Length);
    }
}
