using Xunit;

namespace Mayfly.Agent.Tests;

public sealed class BoundedLinesTests
{
    [Theory]
    [InlineData("", new string[0])]
    [InlineData("one\ntwo", new[] { "one", "two" })]
    [InlineData("one\r\n\ntwo\n", new[] { "one", "", "two" })]
    public async Task Lines_are_read_as_they_are(string text, string[] lines) => Assert.Equal(lines, await ReadAsync(new StringReader(text)));

    [Theory]
    [InlineData(BoundedLines.MostCharacters - 1)]
    [InlineData(BoundedLines.MostCharacters)]
    [InlineData(BoundedLines.MostCharacters + 1)]
    [InlineData(BoundedLines.MostCharacters * 3)]
    [InlineData(100_000)]
    public async Task Of_a_long_line_the_beginning_is_kept_and_the_next_one_is_whole(int length) =>
        Assert.Equal([new string('x', Math.Min(length, BoundedLines.MostCharacters)), "next"], await ReadAsync(new StringReader(new string('x', length) + "\nnext\n")));

    private static async Task<List<string>> ReadAsync(TextReader text)
    {
        var bounded = new BoundedLines(text);
        var lines = new List<string>();
        while (await bounded.ReadAsync() is { } line)
            lines.Add(line);
        return lines;
    }
}
