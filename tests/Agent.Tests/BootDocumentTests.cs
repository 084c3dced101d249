using System.Globalization;
using System.Text.RegularExpressions;
using Mayfly.Contract;
using Xunit;

namespace Mayfly.Agent.Tests;

/// <summary>The steps have one set of numbers and names: in the contract, in the code's order, and in the document.</summary>
public sealed partial class BootDocumentTests
{
    [Fact]
    public void The_document_has_the_steps_in_their_order_and_by_their_names() =>
        Assert.Equal(Step.All.Select(s => (s.Number, s.Name)), Heading().Matches(Read("docs/boot.md")).Select(Numbered));

    [Fact]
    public void The_code_goes_through_the_steps_in_their_order() =>
        Assert.Equal(Step.All.Select(s => s.Number), Comment().Matches(Read("agent/Boot.cs")).Select(m => int.Parse(m.Groups[1].Value, CultureInfo.InvariantCulture)));

    [Fact]
    public void The_document_names_every_milestone()
    {
        var document = Read("docs/boot.md");
        foreach (var milestone in Milestone.All.Where(m => m != Milestone.KernelStarted))
            Assert.Contains($"*{milestone}*", document, StringComparison.Ordinal);
    }

    [Fact]
    public void The_document_names_every_ending()
    {
        var document = Read("docs/boot.md");
        foreach (Match name in EndingName().Matches(Read("agent/Ending.cs")))
        {
            // What no step can be blamed for has no place among the steps.
            if (name.Groups[1].Value != "agent-failed")
                Assert.Contains($"`{name.Groups[1].Value}`", document, StringComparison.Ordinal);
        }
    }

    private static (int, string) Numbered(Match m) => (int.Parse(m.Groups[1].Value, CultureInfo.InvariantCulture), m.Groups[2].Value);

    internal static string FindRepository()
    {
        var folder = AppContext.BaseDirectory;
        while (!File.Exists(Path.Combine(folder, "Agent.sln")))
            folder = Path.GetDirectoryName(folder)!;
        return folder;
    }

    private static string Read(string path) => File.ReadAllText(Path.Combine(FindRepository(), path));

    [GeneratedRegex(@"^### (\d+)\. (.+)$", RegexOptions.Multiline)]
    private static partial Regex Heading();

    [GeneratedRegex(@"^ +// (\d+)\. ", RegexOptions.Multiline)]
    private static partial Regex Comment();

    [GeneratedRegex("(?:new\\(|=> )\"([a-z]+(?:-[a-z]+)+)\"")]
    private static partial Regex EndingName();
}
