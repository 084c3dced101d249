using System.Text.RegularExpressions;
using Xunit;

namespace Mayfly.Agent.Tests;

/// <summary>SECURITY.md names a test for each promise; a test that is not there proves nothing.</summary>
public sealed partial class SecurityDocumentTests
{
    private static readonly string Repository = BootDocumentTests.FindRepository();

    [Fact]
    public void Every_test_that_the_document_names_exists()
    {
        var sources = Directory.EnumerateFiles(Path.Combine(Repository, "tests"), "*.cs", SearchOption.AllDirectories).Select(File.ReadAllText).ToList();
        var named = TestName().Matches(File.ReadAllText(Path.Combine(Repository, "SECURITY.md")));

        Assert.NotEmpty(named);
        foreach (Match name in named)
        {
            var source = sources.SingleOrDefault(s => ((string[])["\n", " ", "("]).Any(end => s.Contains($"class {name.Groups[1].Value}{end}", StringComparison.Ordinal)));
            Assert.True(source is not null, $"SECURITY.md names {name.Groups[1].Value}, which no test file holds");
            if (name.Groups[2].Success)
                Assert.Contains($" {name.Groups[2].Value}(", source, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void The_document_lists_what_the_audit_checks()
    {
        var audit = AuditLine().Matches(File.ReadAllText(Path.Combine(Repository, "packer/audit.sh"))).Select(m => m.Groups[1].Value).ToList();
        var section = File.ReadAllText(Path.Combine(Repository, "SECURITY.md")).Split("## The image's hardening")[1].Split("\n## ")[0];

        Assert.NotEmpty(audit);
        Assert.Equal(audit, ListLine().Matches(section).Select(m => m.Groups[1].Value));
    }

    [Fact]
    public void What_the_comparison_with_a_benchmark_says_to_hold_names_its_line_of_the_audit()
    {
        var audit = AuditLine().Matches(File.ReadAllText(Path.Combine(Repository, "packer/audit.sh"))).Select(m => m.Groups[1].Value).ToList();
        var rows = File.ReadAllLines(Path.Combine(Repository, "docs/hardening.md")).Where(line => line.StartsWith("| ", StringComparison.Ordinal)).Select(line => line.Split('|')).ToList();

        Assert.All(rows.SelectMany(row => Emphasis().Matches(row[3])), name => Assert.Contains(name.Groups[1].Value, audit));
        Assert.All(rows.Where(row => row[2].Trim() == "holds"), row => Assert.True(Emphasis().IsMatch(row[3]), $"nothing is named that checks '{row[1].Trim()}'"));
    }

    [GeneratedRegex(@"\*([^*]+)\*")]
    private static partial Regex Emphasis();

    [GeneratedRegex("^holds \"([^\"]+)\"", RegexOptions.Multiline)]
    private static partial Regex AuditLine();

    [GeneratedRegex("^- (.+)$", RegexOptions.Multiline)]
    private static partial Regex ListLine();

    [GeneratedRegex("`([A-Za-z]+Tests)(?:\\.([A-Za-z_]+))?`")]
    private static partial Regex TestName();
}
