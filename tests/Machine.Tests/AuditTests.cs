using System.Text.RegularExpressions;
using Mayfly.Contract;
using Xunit;

namespace Mayfly.Machine.Tests;

/// <summary>The image's hardening, asked of a running machine. <c>./build.sh --target=Audit</c> runs this alone and prints the report.</summary>
public sealed class AuditTests
{
    [Fact]
    public async Task A_running_machine_holds_every_line_of_the_audit()
    {
        var script = await File.ReadAllTextAsync(Built.Path("packer/audit.sh"), TestContext.Current.CancellationToken);
        var settings = await File.ReadAllTextAsync(Built.Path("packer/rootfs/etc/sysctl.d/60-mayfly.conf"), TestContext.Current.CancellationToken);
        await using var bed = await Bed.MakeAsync(tags: new Dictionary<string, string> { [Tags.Sudo] = "true", [Tags.Check] = "true" });

        var printed = await bed.RunJobAsync(Lay(script, "audit.sh"), Lay(settings, "settings"), "sudo bash audit.sh settings || true", bed.StepUntilChecked());

        var report = printed.Where(line => line.StartsWith("holds  ", StringComparison.Ordinal) || line.StartsWith("FAILS  ", StringComparison.Ordinal)).ToList();
        Assert.Equal(Regex.Count(script, "^holds ", RegexOptions.Multiline), report.Count);
        // What a job cannot see, the agent has looked at.
        report.AddRange(bed.Ending!.Events.Where(e => e.Detail.StartsWith("check ", StringComparison.Ordinal)).Select(e => e.Detail["check ".Length..]));
        Directory.CreateDirectory(Built.Path("artifacts/audit"));
        await File.WriteAllLinesAsync(Built.Path("artifacts/audit/report.txt"), report, TestContext.Current.CancellationToken);
        Assert.Contains(report, line => line.StartsWith("holds  the kernel is locked down", StringComparison.Ordinal));
        Assert.All(report, line => Assert.StartsWith("holds ", line, StringComparison.Ordinal));
    }

    private static string Lay(string content, string file) => $"echo {Convert.ToBase64String(System.Text.Encoding.UTF8.GetBytes(content))} | base64 -d > {file}";
}
