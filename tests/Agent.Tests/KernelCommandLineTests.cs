using Xunit;

namespace Mayfly.Agent.Tests;

public sealed class KernelCommandLineTests
{
    private static readonly string Hash = new('a', 64);

    [Fact]
    public void The_parameters_are_found_among_others() =>
        Assert.Equal(new KernelCommandLine(Hash, "0badcafe", 43918),
            KernelCommandLine.Parse($"console=ttyS0 mayfly.roothash={Hash} panic=-1 mayfly.salt=0badcafe mayfly.blocks=43918\n"));

    [Theory]
    [InlineData("console=ttyS0", "mayfly.roothash is missing")]
    [InlineData("mayfly.roothash=abc mayfly.salt=00 mayfly.blocks=1", "mayfly.roothash='abc'")]
    [InlineData("mayfly.roothash={hash} mayfly.salt=0 mayfly.blocks=1", "mayfly.salt='0'")]
    [InlineData("mayfly.roothash={hash} mayfly.salt=00", "mayfly.blocks is missing")]
    [InlineData("mayfly.roothash={hash} mayfly.salt=00 mayfly.blocks=-1", "mayfly.blocks='-1'")]
    [InlineData("mayfly.roothash={hash} mayfly.salt=00 mayfly.blocks=0", "mayfly.blocks='0'")]
    public void What_is_missing_or_wrong_is_named(string commandLine, string named) =>
        Assert.Contains(named,
            Assert.Throws<FormatException>(() => KernelCommandLine.Parse(commandLine.Replace("{hash}", Hash, StringComparison.Ordinal))).Message, StringComparison.Ordinal);
}
