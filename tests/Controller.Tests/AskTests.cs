namespace Mayfly.Controller.Tests;

/// <summary>Labels, and what is read from them.</summary>
public sealed class AskTests
{
    [Theory]
    [InlineData("mayfly", "")]
    [InlineData("mayfly self-hosted linux", "")]
    [InlineData("mayfly cpu=4 ram=16", "cpu=4 ram=16")]
    [InlineData("mayfly/cpu=4/ram=16/spot=auto", "cpu=4 ram=16 spot=auto")]
    [InlineData("MAYFLY/CPU=4-8/Family=M7i+M7A", "cpu=4-8 family=m7i+m7a")]
    [InlineData("mayfly/cpu=4 disk=100", "cpu=4 disk=100")]
    [InlineData("mayfly cpu=4-4 ram=16-16", "cpu=4 ram=16-16")]
    [InlineData("mayfly egress=pypi.org+*.example.com", "egress=pypi.org+*.example.com")]
    [InlineData("mayfly zone=eu-west-1a+us-west-2-lax-1a image=ubuntu-24.04 sudo=true", "image=ubuntu-24.04 zone=eu-west-1a+us-west-2-lax-1a sudo=true")]
    [InlineData("mayfly mayfly-run=123-1", "run=123-1")]
    [InlineData("mayfly/run=123-1/cpu=2", "cpu=2 run=123-1")]
    public void Labels_ask_separately_or_in_one_and_without_regard_to_case(string labels, string asked)
    {
        var (ask, reason) = Ask.Parse(labels.Split(' '), "mayfly");
        Assert.Null(reason);
        Assert.Equal(asked, string.Join(' ', ask.Labels()));
    }

    [Theory]
    [InlineData("cpu=many", "'cpu=many'", "from 1 to 1920")]
    [InlineData("cpu=0", "'cpu=0'", "from 1 to 1920")]
    [InlineData("cpu=8-4", "'cpu=8-4'", "a range such as 4-8")]
    [InlineData("cpu=4-", "'cpu=4-'", "a range such as 4-8")]
    [InlineData("cpu=+4", "'cpu=+4'", "from 1 to 1920")]
    [InlineData("cpu=", "'cpu='", "from 1 to 1920")]
    [InlineData("ram=99999999999", "'ram=99999999999'", "from 1 to 32768")]
    [InlineData("spot=maybe", "'spot=maybe'", "auto, true, false or rerun")]
    [InlineData("sudo=yes", "'sudo=yes'", "true or false")]
    [InlineData("zone=eu-west", "'zone=eu-west'", "such as eu-west-1a")]
    [InlineData("zone=eu-west-1a+eu-west-1a", "'zone=eu-west-1a+eu-west-1a'", "such as eu-west-1a")]
    [InlineData("family=m7i+", "'family=m7i+'", "such as m7i")]
    [InlineData("egress=audti", "'egress=audti'", "open, audit, allow")]
    [InlineData("egress=audit+pypi.org", "'egress=audit+pypi.org'", "open, audit, allow")]
    [InlineData("egress=10.0.0.0", "'egress=10.0.0.0'", "host names")]
    [InlineData("cpus=4", "'cpus=4'", "did you mean 'cpu'?")]
    [InlineData("team=payments", "'team=payments'", "Known are cpu, ram")]
    [InlineData("=", "'='", "Known are cpu, ram")]
    [InlineData("cpu=4 CPU=4", "'CPU=4'", "already, by label 'cpu=4'")]
    [InlineData("mayfly/cpu=4 cpu=8", "'cpu=8'", "already, by label 'mayfly/cpu=4', 'cpu=4'")]
    [InlineData("mayfly/cpu=4/big", "'mayfly/cpu=4/big', 'big'", "KEY=VALUE is wanted")]
    [InlineData("mayfly/", "'mayfly/'", "KEY=VALUE is wanted")]
    [InlineData("mayfly/cpu=4/ram=lots", "'mayfly/cpu=4/ram=lots', 'ram=lots'", "from 1 to 32768")]
    public void What_cannot_be_understood_is_named_with_its_value_and_what_is_wanted(string labels, string label, string wanted)
    {
        var (_, reason) = Ask.Parse(["mayfly", .. labels.Split(' ')], "mayfly");
        Assert.StartsWith($"label {label}", reason, StringComparison.Ordinal);
        Assert.Contains(wanted, reason!, StringComparison.Ordinal);
    }

    [Fact]
    public void A_label_breaks_no_line_of_the_log() =>
        Assert.DoesNotContain('\n', Ask.Parse(["mayfly", "cpu=\n2026-11-21 all is well"], "mayfly").Reason!);

    [Theory]
    [InlineData("mayfly", true)]
    [InlineData("Mayfly/cpu=4", true)]
    [InlineData("mayfly-cpu=4", false)]
    [InlineData("mayflys", false)]
    [InlineData("cpu=4", false)]
    [InlineData(null, false)]
    public void A_job_is_for_Mayfly_by_the_label_or_by_one_that_begins_with_it_and_a_slash(string? label, bool is_) => Assert.Equal(is_, Ask.Concerns([label], "mayfly"));

    [Fact]
    public void What_was_understood_and_printed_is_understood_the_same()
    {
        var asked = 0;
        Chance.Try(2000, chance =>
        {
            var items = SomePolicy.Items(chance, 4);
            var (ask, reason) = Ask.Parse(items, "mayfly");
            Assert.Null(reason);
            Assert.Equal(items.Count, ask.Labels().Count());
            asked += items.Count;
            Assert.Equal(ask.Labels(), Ask.Parse(ask.Labels(), "mayfly").Ask.Labels());
            if (items.Count > 0)
                Assert.Equal(ask.Labels(), Ask.Parse([$"mayfly/{string.Join('/', ask.Labels())}"], "mayfly").Ask.Labels());
        });
        Assert.InRange(asked, 2000, 20_000);
    }
}
