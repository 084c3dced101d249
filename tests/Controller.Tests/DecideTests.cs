using System.Text.Json;
using Mayfly.Contract;

namespace Mayfly.Controller.Tests;

public sealed class DecideTests
{
    [Fact]
    public void Without_a_policy_file_a_job_gets_what_the_settings_say()
    {
        var order = Launch(Policy.Of(Some.Settings() with { InstanceTypes = ["m7i.large", "m7a.xlarge"] }), "self-hosted", "mayfly");
        Assert.Equal(("default", "eu-central-1", null, "mayfly", null), (order.Account, order.Region, order.Role, order.LaunchTemplate, order.Image));
        Assert.Equal(["m7i.large", "m7a.xlarge"], order.InstanceTypes);
        Assert.Equal((SpotMode.OnDemand, 4, null), (order.Spot, order.Vcpus, order.Requirements));
        Assert.Equal(
            new Dictionary<string, string> { [Tags.IdleTimeout] = "300", [Tags.JobTimeout] = "21600", [Tags.Sudo] = "false", [Tags.Egress] = "open" }, order.Tags);
    }

    [Fact]
    public void The_label_is_compared_as_GitHub_does_without_case() =>
        Assert.IsType<Decision.Launch>(Decide.For(Some.Job(JobAction.Queued, "Mayfly"), Policy.Of(Some.Settings())));

    [Theory]
    [InlineData("spot=true", nameof(SpotMode.Spot))]
    [InlineData("spot=false", nameof(SpotMode.OnDemand))]
    [InlineData("spot=auto", nameof(SpotMode.Auto))]
    [InlineData("spot=rerun", nameof(SpotMode.Rerun))]
    public void A_label_asks_for_spot(string label, string mode) => Assert.Equal(mode, Launch(Policy.Of(Some.Settings()), "mayfly", label).Spot.ToString());

    [Theory]
    [InlineData("cpu=4")]
    [InlineData("ram=16")]
    [InlineData("family=m7i")]
    [InlineData("image=debian")]
    [InlineData("zone=eu-central-1a")]
    [InlineData("disk=100")]
    [InlineData("sudo=true")]
    public void Without_a_policy_file_no_label_makes_a_machine_larger_or_more_powerful(string label) =>
        Assert.StartsWith($"label '{label}': ", Refusal(Policy.Of(Some.Settings()), "mayfly", label), StringComparison.Ordinal);

    [Theory]
    [InlineData("egress=audit", "audit", null)]
    [InlineData("egress=allow", "allow", null)]
    [InlineData("egress=pypi.org+*.example.com", "allow", "pypi.org *.example.com")]
    public void A_job_may_close_the_network_to_itself(string label, string mode, string? names)
    {
        var tags = Launch(Policy.Of(Some.Settings()), "mayfly", label).Tags;
        Assert.Equal((mode, names), (tags[Tags.Egress], tags.GetValueOrDefault(Tags.EgressAllow)));
    }

    private const string Wide =
        """
        accounts:
          west: {region: eu-west-1, role: "arn:aws:iam::111122223333:role/mayfly", external-id: some-id, launch-template: west, subnets: {eu-west-1a: subnet-0123456a, eu-west-1b: subnet-0123456b}}
        images: {debian: ami-0123456789abcdef0, ubuntu: "resolve:ssm:/mayfly/ubuntu", big: launch-template:mayfly-big}
        caps: {vcpus: 200}
        default:
          account: west
          instance-types: [m7i.large]
          caps: {vcpus: 48}
          allow: {cpu: 64, ram: 256, disk: 500, families: [m7i, "c7*"], images: [debian, ubuntu, big], zones: [eu-west-1a, eu-west-1b], sudo: true}
          defaults: {ram: 4-64, spot: auto}
        """;

    private static readonly Policy WidePolicy = PolicyFile.Parse("policy.yaml", Wide, Some.Settings());

    [Fact]
    public void A_shape_is_what_the_labels_say_completed_by_the_defaults_and_bounded_by_the_policy()
    {
        var shape = Launch(WidePolicy, "mayfly/cpu=4-8").Requirements!;
        Assert.Equal((4, 8, 4096, 65_536), (shape.VCpuLeast, shape.VCpuMost, shape.MemoryMiBLeast, shape.MemoryMiBMost));
        Assert.Equal(["m7i.*", "c7*"], shape.AllowedInstanceTypes);
        Assert.Equal(8, Launch(WidePolicy, "mayfly/cpu=4-8").Vcpus);
        shape = Launch(WidePolicy, "mayfly/ram=16/family=c7gd").Requirements!;
        Assert.Equal((1, 48, 16_384, 262_144), (shape.VCpuLeast, shape.VCpuMost, shape.MemoryMiBLeast, shape.MemoryMiBMost));
        Assert.Equal(["c7gd.*"], shape.AllowedInstanceTypes);
    }

    [Fact]
    public void Where_no_shape_is_asked_for_the_operators_types_are_launched()
    {
        var order = Launch(WidePolicy, "mayfly/sudo=true/zone=eu-west-1b");
        Assert.Equal(["m7i.large"], order.InstanceTypes);
        Assert.Equal((null, 2), (order.Requirements, order.Vcpus));
        Assert.Equal(("west", "eu-west-1", "arn:aws:iam::111122223333:role/mayfly", "some-id", "west"), (order.Account, order.Region, order.Role, order.ExternalId, order.LaunchTemplate));
        Assert.Equal(["subnet-0123456b"], order.Subnets);
        Assert.Equal((SpotMode.Auto, "true"), (order.Spot, order.Tags[Tags.Sudo]));
    }

    [Theory]
    [InlineData("debian", "west", "ami-0123456789abcdef0")]
    [InlineData("ubuntu", "west", "resolve:ssm:/mayfly/ubuntu")]
    [InlineData("big", "mayfly-big", null)]
    public void An_image_is_an_AMI_a_parameter_or_a_launch_template(string name, string template, string? image)
    {
        var order = Launch(WidePolicy, $"mayfly/image={name}");
        Assert.Equal((template, image), (order.LaunchTemplate, order.Image));
    }

    /// <summary>As the agent cuts it: swap takes an eighth of a volume, and at most 4 GiB.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(7)]
    [InlineData(27)]
    [InlineData(28)]
    [InlineData(29)]
    [InlineData(500)]
    public void A_volume_holds_the_scratch_that_is_asked_for_beside_swap(int disk)
    {
        var order = Launch(WidePolicy, $"mayfly/disk={disk}");
        Assert.Equal($"{disk}", order.Tags[Tags.ScratchGiB]);
        Assert.InRange(order.VolumeGiB!.Value - Math.Min(4, order.VolumeGiB.Value / 8.0), disk, disk + 1);
    }

    [Theory]
    [InlineData("mayfly/cpu=64", "label 'mayfly/cpu=64', 'cpu=64': at most 48 vCPUs are allowed, by the policy for octo-org/octo-repo")]
    [InlineData("mayfly/ram=16-512", "'ram=16-512': at most 256 GiB are allowed")]
    [InlineData("mayfly/disk=501", "'disk=501': at most 500 GiB are allowed")]
    [InlineData("mayfly/family=m7i+r7i", "'family=m7i+r7i': 'r7i' is not allowed; allowed are m7i, c7*")]
    [InlineData("mayfly/image=windows", "'image=windows': 'windows' is not allowed; allowed are debian, ubuntu, big")]
    [InlineData("mayfly/zone=eu-west-1c", "'eu-west-1c' is not allowed; allowed are eu-west-1a, eu-west-1b")]
    public void What_is_not_allowed_is_refused_by_label_value_and_what_is(string label, string said) => Assert.Contains(said, Refusal(WidePolicy, label), StringComparison.Ordinal);

    [Theory]
    [InlineData("registry.npmjs.org", null)]
    [InlineData("a.example.com+*.b.example.com", null)]
    [InlineData("*.example.com", null)]
    [InlineData("allow", null)]
    [InlineData("audit", "'audit' is not allowed")]
    [InlineData("open", "'open' is not allowed")]
    [InlineData("example.com", "'example.com' is not allowed; allowed are *.example.com, registry.npmjs.org")]
    [InlineData("a.example.com+evil.org", "'evil.org' is not allowed")]
    [InlineData("*.co.uk", "'*.co.uk' is not allowed")]
    public void Under_an_allow_list_a_job_names_only_what_is_on_it(string asked, string? refused)
    {
        var policy = PolicyFile.Parse("policy.yaml", "default: {allow: {egress: ['*.example.com', registry.npmjs.org]}}", Some.Settings());
        Assert.Equal("allow", Launch(policy, "mayfly").Tags[Tags.Egress]);
        var decision = Decide.For(Some.Job(JobAction.Queued, "mayfly", $"egress={asked}"), policy);
        if (refused is null)
            Assert.IsType<Decision.Launch>(decision);
        else
            Assert.Contains(refused, Assert.IsType<Decision.Refuse>(decision).Reason, StringComparison.Ordinal);
    }

    [Fact]
    public void More_names_than_a_tag_holds_are_refused() =>
        Assert.Contains("one tag of 256 characters", Refusal(WidePolicy, "mayfly", $"egress={string.Join('+', Enumerable.Range(0, 20).Select(i => $"{new string('a', 10)}{i}.org"))}"), StringComparison.Ordinal);

    [Theory]
    [InlineData(nameof(JobAction.Queued))]
    [InlineData(nameof(JobAction.InProgress))]
    [InlineData(nameof(JobAction.Completed))]
    public void A_job_without_the_label_is_someone_elses(string action) =>
        Assert.IsType<Decision.Ignore>(Decide.For(Some.Job(Enum.Parse<JobAction>(action), "ubuntu-latest", "cpu=4"), Policy.Of(Some.Settings())));

    [Theory]
    [InlineData(nameof(JobAction.InProgress))]
    [InlineData(nameof(JobAction.Completed))]
    public void What_became_of_a_job_is_written_down(string action) =>
        Assert.IsType<Decision.Record>(Decide.For(Some.Job(Enum.Parse<JobAction>(action), "mayfly/cpu=4"), Policy.Of(Some.Settings())));

    [Theory]
    [InlineData(nameof(JobAction.Waiting))]
    [InlineData(nameof(JobAction.Other))]
    public void Other_actions_launch_nothing(string action) =>
        Assert.IsType<Decision.Ignore>(Decide.For(Some.Job(Enum.Parse<JobAction>(action), "mayfly"), Policy.Of(Some.Settings())));

    [Fact]
    public void Whatever_the_policy_and_the_labels_no_job_gets_more_than_is_allowed()
    {
        var (launched, refused, contradictory) = (0, 0, 0);
        Chance.Try(1500, chance =>
        {
            var text = SomePolicy.File(chance);
            Policy policy;
            try
            {
                policy = PolicyFile.Parse("policy.yaml", text, Some.Settings());
            }
            catch (SettingsException e)
            {
                Assert.Matches(@"^policy\.yaml, line \d+, column \d+: ", e.Message);
                contradictory++;
                return;
            }

            var again = PolicyFile.Parse("policy.yaml", text, Some.Settings());
            for (var i = 0; i < 6; i++)
            {
                var job = Some.Job(JobAction.Queued, [.. SomePolicy.Labels(chance)]) with { Repository = chance.Of(SomePolicy.Repositories) };
                var said = $"{text}\n{string.Join(' ', job.Labels)} of {job.Repository}";
                switch (Decide.For(job, policy))
                {
                    case Decision.Launch { Order: var order }:
                        launched++;
                        AssertAllowed(order, job, policy, said);
                        var kept = Some.Text(order);
                        Assert.Equal(kept, Some.Text(JsonSerializer.Deserialize(kept, OrderJson.Default.Order)!));
                        Assert.Equal(kept, Some.Text(Assert.IsType<Decision.Launch>(Decide.For(job, again)).Order));
                        break;
                    case Decision.Refuse { Reason: var reason }:
                        refused++;
                        Assert.True(job.Labels.Any(label => reason.StartsWith($"label '{Ask.Shown(label)}'", StringComparison.Ordinal)), $"{said}: {reason}");
                        Assert.Equal(new Decision.Refuse(reason), Decide.For(job, again));
                        break;
                    case var other:
                        Assert.Fail($"{said}: {other}");
                        break;
                }
            }
        });
        Assert.True(launched > 1000 && refused > 1000 && contradictory is > 50 and < 750, $"{launched} launched, {refused} refused, {contradictory} policies contradict themselves");
    }

    private static void AssertAllowed(Order order, WorkflowJob job, Policy policy, string said)
    {
        var rules = policy.For(job.Repository);
        var allow = rules.Allow;
        Assert.True(order.Vcpus > 0 && !(order.Vcpus > rules.Caps.Vcpus) && !(order.Vcpus > policy.Caps.Vcpus), $"caps: {said}");
        if (order.Requirements is { } shape)
        {
            Assert.True(shape.VCpuLeast >= 1 && shape.VCpuLeast <= shape.VCpuMost && shape.VCpuMost <= allow.Cpu, $"cpu: {said}");
            Assert.True(allow.Ram is null || (shape.MemoryMiBMost <= allow.Ram * 1024 && shape.MemoryMiBLeast <= shape.MemoryMiBMost), $"ram: {said}");
            Assert.True(allow.Families.Count == 0 || shape.AllowedInstanceTypes.All(t => allow.Families.Any(f => t == f || t == f + ".*" || (f.EndsWith('*') && t.StartsWith(f[..^1], StringComparison.Ordinal)))), $"family: {said}");
            Assert.True(allow.Families.Count == 0 || shape.AllowedInstanceTypes.Count > 0, $"family: {said}");
            Assert.Empty(order.InstanceTypes);
        }
        else
        {
            Assert.Equal(rules.InstanceTypes, order.InstanceTypes);
        }

        Assert.True(order.VolumeGiB is null || order.VolumeGiB <= allow.Disk + 4, $"disk: {said}");
        Assert.True((order.Image is null && order.LaunchTemplate == rules.Account.LaunchTemplate)
            || allow.Images.Any(i => rules.Images[i] == new Image(order.Image, order.Image is null ? order.LaunchTemplate : null)), $"image: {said}");
        Assert.True(allow.Zones.Count == 0 || (order.Zones.Count > 0 && order.Zones.All(allow.Zones.Contains)), $"zone: {said}");
        Assert.Equal(rules.Account.Subnets.Where(s => order.Zones.Count == 0 || order.Zones.Contains(s.Key)).Select(s => s.Value), order.Subnets);
        Assert.Contains(order.Spot, allow.Spot);
        Assert.True(allow.Sudo || order.Tags[Tags.Sudo] == "false", $"sudo: {said}");
        var anywhere = allow.Egress.Contains("open") || allow.Egress.Contains("audit");
        Assert.True(allow.Egress.Contains(order.Tags[Tags.Egress]) || (order.Tags[Tags.Egress] == "allow" && allow.Egress.Any(e => e.Contains('.', StringComparison.Ordinal))), $"egress: {said}");
        foreach (var host in order.Tags.GetValueOrDefault(Tags.EgressAllow, "").Split(' ', StringSplitOptions.RemoveEmptyEntries))
            Assert.True(anywhere || allow.Egress.Any(e => e == host || (e.StartsWith("*.", StringComparison.Ordinal) && host.EndsWith(e[1..], StringComparison.Ordinal))), $"egress: {said}");
        Assert.All(order.Tags, tag => Assert.InRange(tag.Value.Length, 1, 256));
    }

    private static Order Launch(Policy policy, params string[] labels) => Assert.IsType<Decision.Launch>(Decide.For(Some.Job(JobAction.Queued, labels), policy)).Order;

    private static string Refusal(Policy policy, params string[] labels) => Assert.IsType<Decision.Refuse>(Decide.For(Some.Job(JobAction.Queued, labels), policy)).Reason;
}
