using System.Text.RegularExpressions;
using Mayfly.Contract;
using Xunit;

namespace Mayfly.Agent.Tests;

/// <summary>Whatever the agent can say, docs/debugging.md explains.</summary>
public sealed partial class DebuggingDocumentTests
{
    private static readonly string Repository = BootDocumentTests.FindRepository();
    private static readonly string Document = File.ReadAllText(Path.Combine(Repository, "docs/debugging.md"));

    [Fact]
    public void Every_ending_is_explained()
    {
        var names = Names();

        Assert.Contains("idle", names);
        Assert.Contains("agent-failed", names);
        Assert.All(names, name => Assert.Contains($"`{name}`", Document, StringComparison.Ordinal));
    }

    [Fact]
    public void No_ending_is_explained_that_there_is_not()
    {
        var names = Names();
        foreach (Match row in Row().Matches(Document[Document.IndexOf("## Endings", StringComparison.Ordinal)..Document.IndexOf("## Milestones", StringComparison.Ordinal)]))
        {
            foreach (Match name in Quoted().Matches(row.Groups[1].Value))
                Assert.Contains(name.Groups[1].Value, names);
        }
    }

    [Fact]
    public void Every_milestone_is_named_in_its_order()
    {
        var at = 0;
        foreach (var milestone in Milestone.All)
        {
            at = Document.IndexOf($"*{milestone}*", at, StringComparison.Ordinal);
            Assert.True(at >= 0, milestone);
        }
    }

    [Fact]
    public void Every_note_of_the_supervision_is_explained_by_how_it_begins()
    {
        var begins = Directory.EnumerateFiles(Path.Combine(Repository, "agent"), "*.cs").SelectMany(file => Note().Matches(File.ReadAllText(file)))
            .Select(m => m.Groups[1].Value.Trim().TrimEnd(':')).Where(begin => begin.Length > 0).ToList();

        Assert.True(begins.Count >= 10, $"only {begins.Count} notes were found");
        var explained = Row().Matches(Document).SelectMany(row => Quoted().Matches(row.Groups[1].Value)).Select(m => m.Groups[1].Value.TrimEnd(':')).ToList();
        Assert.All(begins, begin => Assert.Contains(explained, words => begin.StartsWith(words, StringComparison.Ordinal)));
    }

    /// <summary>From wherever one is made, and from the results that a job can have.</summary>
    private static List<string> Names() =>
    [
        .. Directory.EnumerateFiles(Path.Combine(Repository, "agent"), "*.cs").Select(File.ReadAllText)
            .Where(code => code.Contains("record Ending(", StringComparison.Ordinal) || code.Contains("record ConfigTrouble(", StringComparison.Ordinal))
            .SelectMany(code => EndingName().Matches(code)).Select(m => m.Groups[1].Value),
        .. Enum.GetValues<JobResult>().Select(result => Ending.JobEnded(result).Name),
    ];

    /// <summary>The first text of a constructor's call or of a switch's arm.</summary>
    [GeneratedRegex("(?:new\\(|=> )\"([a-z]+(?:-[a-z]+)*)\"")]
    private static partial Regex EndingName();

    /// <summary>How a note begins, up to its first figure.</summary>
    [GeneratedRegex("(?:[nN]ote\\((?:Step\\.\\w+, )?(?:string\\.Create\\(CultureInfo\\.InvariantCulture, )?|Add\\(\"[a-z]+\", )\\$?\"([^\"{]*)")]
    private static partial Regex Note();

    [GeneratedRegex(@"^\| (`.*?) \|", RegexOptions.Multiline)]
    private static partial Regex Row();

    [GeneratedRegex("`([^`]+)`")]
    private static partial Regex Quoted();
}
