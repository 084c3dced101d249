using Mayfly.Contract;
using Xunit;

namespace Mayfly.Agent.Tests;

public sealed class StorageFitTests
{
    private const long Mebibyte = 1L << 20;
    private const long Gibibyte = 1L << 30;
    private static readonly MadeStorage OnDisk = new("/dev/dm-1", 37040 * Mebibyte, InMemory: false, "/dev/dm-2", 3920 * Mebibyte);
    private static readonly MadeStorage InMemory = new("/dev/zram1", 1960 * Mebibyte, InMemory: true, "/dev/zram2", 980 * Mebibyte);

    [Fact]
    public void A_launch_that_asks_for_nothing_gets_what_the_initrd_made()
    {
        Assert.Null(Fit(OnDisk));
        Assert.Null(Fit(InMemory));
    }

    [Fact]
    public void A_launch_may_ask_for_less_swap_or_none()
    {
        Assert.Equal(new StorageFit(0, 0), Fit(OnDisk, swap: "0"));
        Assert.Equal(new StorageFit(2 * Gibibyte, 0), Fit(OnDisk, swap: "2"));
    }

    [Fact]
    public void More_swap_comes_on_top_of_what_there_is() =>
        Assert.Equal(new StorageFit(3920 * Mebibyte, (8192 - 3920) * Mebibyte), Fit(OnDisk, swap: "8"));

    [Fact]
    public void Scratch_that_holds_just_what_is_asked_for_is_enough() => Assert.Null(Fit(OnDisk, scratch: "36"));

    [Theory]
    [InlineData("37", null, "37040 MiB beside 3920 MiB of swap", "37888 MiB", "at least 41 GiB")]
    [InlineData("36", "5", "35840 MiB beside 5120 MiB of swap", "36864 MiB", "at least 41 GiB")]
    [InlineData(null, "40", "0 MiB beside 40960 MiB of swap", "1024 MiB", "at least 41 GiB")]
    public void Scratch_that_is_too_small_ends_the_machine_and_names_both_sizes_and_the_way_out(string? scratch, string? swap, string has, string asked, string way)
    {
        var ending = Assert.Throws<EndingException>(() => Fit(OnDisk, scratch, swap)).Ending;

        Assert.Equal("scratch-too-small", ending.Name);
        Assert.All([has, asked, way], part => Assert.Contains(part, ending.Detail, StringComparison.Ordinal));
    }

    [Fact]
    public void Scratch_in_memory_counts_like_any_other()
    {
        Assert.Null(Fit(InMemory, scratch: "1"));
        Assert.Contains("1960 MiB of memory", Assert.Throws<EndingException>(() => Fit(InMemory, scratch: "2")).Ending.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public void Swap_in_memory_may_be_as_large_as_memory_and_no_larger()
    {
        Assert.Equal(new StorageFit(980 * Mebibyte, 2092 * Mebibyte), Fit(InMemory, swap: "3"));
        Assert.Equal("swap-too-large", Assert.Throws<EndingException>(() => Fit(InMemory, swap: "4")).Ending.Name);
    }

    [Fact]
    public void What_is_in_use_is_what_the_kernel_lists() =>
        Assert.Equal(6144 * Mebibyte, StorageFit.BytesInUse(
        [
            "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority",
            "/dev/dm-2                               partition\t4014080\t\t0\t\t-2",
            "/run/mayfly/scratch/swap                file\t\t2277376\t\t0\t\t-3",
        ]));

    private static StorageFit? Fit(MadeStorage made, string? scratch = null, string? swap = null)
    {
        var tags = new Dictionary<string, string>();
        if (scratch is not null)
            tags[Tags.ScratchGiB] = scratch;
        if (swap is not null)
            tags[Tags.SwapGiB] = swap;
        return StorageFit.For(made, LaunchSettings.From(tags), 3920 * Mebibyte);
    }
}
