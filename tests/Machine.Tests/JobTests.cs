using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Mayfly.Contract;
using Mayfly.Lab;
using Xunit;

namespace Mayfly.Machine.Tests;

/// <summary>One job from webhook to termination, with the published controller, trying from inside what it should not be
/// able to do.</summary>
public sealed class JobTests
{
    private const string AgentCgroup = "/sys/fs/cgroup/system.slice/mayfly-agent.service";

    /// <summary>Each attempt is a shell command that succeeds if the job gets through; the machine must make all fail.</summary>
    private static readonly (string Name, string Command)[] Attempts =
    [
        ("read-metadata", "curl -s --max-time 5 -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' http://169.254.169.254/latest/api/token"),
        ("become-root", "setpriv --reuid=0 true"),
        ("use-a-setuid-program", "su -c true"),
        ("flush-the-rules", "/usr/sbin/nft flush ruleset"),
        ("kill-the-agent", $"kill -9 $(cat {AgentCgroup}/cgroup.procs)"),
        ("kill-the-agents-cgroup", $"echo 1 > {AgentCgroup}/cgroup.kill"),
        ("leave-the-cgroup", "echo $$ > /sys/fs/cgroup/cgroup.procs"),
        ("stop-the-machine", "systemctl --force --force poweroff"),
        ("write-the-root", "touch /usr/bin/planted"),
        ("write-the-agent", "echo x >> /usr/lib/mayfly/mayfly-agent"),
        ("write-the-runner", "echo x >> /run/actions-runner/bin/Runner.Listener"),
        ("remount-the-runner", "mount -o remount,rw /run/actions-runner/bin"),
        ("load-a-module", "/usr/sbin/modprobe dummy"),
        ("read-the-disk", "head -c 1 /dev/nvme0n1"),
        ("read-scratch-under-its-encryption", "head -c 1 /dev/nvme1n1"),
        ("read-the-handover", "cat /run/mayfly/handover.json"),
        ("write-to-the-console", "echo 'mayfly: end {}' > /dev/ttyS0"),
        ("write-to-the-kernel-log", "echo 'mayfly: end {}' > /dev/kmsg"),
        ("read-the-agents-environment", $"cat /proc/$(head -n 1 {AgentCgroup}/cgroup.procs)/environ"),
        ("find-jit-config-in-an-environment", "cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n' | grep -iE 'jitconfig|rsaparams|AWS_'"),
        ("find-secret-in-a-command-line", "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n' | grep -F \"$(sed 's/.*\\\"d\\\":\\\"\\([^\\\"]\\{32\\}\\).*/\\1/' /run/actions-runner/.credentials_rsaparams)\""),
        ("make-a-device", "mknod /tmp/disk b 259 0"),
    ];

    [Fact]
    public async Task One_job_runs_on_one_machine_breaks_out_of_nothing_and_leaves_nothing()
    {
        await using var bed = await Bed.MakeAsync();
        var log = new StringBuilder();
        await using var controller = await ControllerProcess.StartAsync(bed.Lab, Built.Controller, Path.Combine(bed.Folder, "controller"), aws: null, line => log.AppendLine(line));
        // A process that the job leaves behind, with all its pipes open, must not keep the machine alive.
        string[] steps = ["setsid sleep 3600 &", .. Attempts.Select(a => $"if {{ {a.Command}; }} > /tmp/out 2>&1; then echo 'GOT THROUGH {a.Name}'; else echo 'held {a.Name}'; fi")];

        var (job, status) = await bed.Lab.GitHub.Jobs.QueueAsync("attempts", ["mayfly"], steps);
        Assert.Equal(202, status);
        await bed.WaitForAsync("ec2", "instance terminated");

        var output = bed.Lab.GitHub.Broker.Logs.GetValueOrDefault(job.Id, "");
        Assert.Equal("success", job.Conclusion);
        Assert.Equal(Attempts.Select(a => $"held {a.Name}"), output.Split('\n', StringSplitOptions.RemoveEmptyEntries));
        Assert.Empty(bed.Lab.Ssm.Parameters);
        Assert.Empty(bed.Lab.GitHub.Runners.All);
        var instance = Assert.Single(bed.Lab.Fleet.Instances);
        Assert.Equal("Client.InstanceInitiatedShutdown", instance.Reason.Code);

        Assert.Equal("job-succeeded", bed.Ending?.Ending);
        Assert.Equal(Milestone.All, bed.Ending!.Events.Select(e => e.Name).Where(n => n != "note"));
        Assert.DoesNotContain(bed.Console, line => line.Contains("PRIVATE KEY", StringComparison.Ordinal) || line.Contains(Envelope.Version, StringComparison.Ordinal));
        Assert.DoesNotContain(Envelope.Version, log.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_metadata_service_is_only_ever_asked_with_a_token()
    {
        await using var bed = await Bed.MakeAsync();
        var instance = bed.Launch(("TagSpecification.1.ResourceType", "instance"), ("TagSpecification.1.Tag.1.Key", Tags.IdleTimeout), ("TagSpecification.1.Tag.1.Value", "never"));

        await bed.WaitForAsync("ec2", "instance terminated");

        // It learned of the tag, and so must have had a token: the lab answers 401 without.
        Assert.Equal("identity-unknown", bed.Ending?.Ending);
        Assert.Contains($"tag {Tags.IdleTimeout}='never'", bed.Ending!.Detail, StringComparison.Ordinal);
        Assert.Contains(bed.Lab.Journal.Events, e => e is { Source: "imds", Name: "token issued" } && e.Subject == instance.Id);
    }

    [Theory]
    [InlineData("mf1.AwA=", "config-truncated")]
    [InlineData("mf9.AwA=", "config-wrong-version")]
    public async Task A_configuration_that_cannot_be_used_is_deleted_and_no_job_runs(string envelope, string ending)
    {
        await using var bed = await Bed.MakeAsync();
        await bed.StoreAsync(bed.Launch(), envelope);

        await bed.WaitForAsync("ec2", "instance terminated");

        Assert.Equal(ending, bed.Ending?.Ending);
        Assert.DoesNotContain(bed.Ending!.Events, e => e.Name == Milestone.RunnerStarted);
        Assert.Empty(bed.Lab.Ssm.Parameters);
    }

    [Fact]
    public async Task A_configuration_that_cannot_be_deleted_runs_no_job()
    {
        await using var bed = await Bed.MakeAsync();
        bed.Lab.Ssm.Disturb = (action, caller) =>
        {
            if (action == "DeleteParameter" && caller.InstanceArn is not null)
                throw new Mayfly.Lab.Aws.AwsFault("AccessDeniedException", "not allowed");
        };
        using var files = RunnerFiles.ParseJitConfig(JitConfig());
        await bed.StoreAsync(bed.Launch(), Envelope.Pack(files));

        await bed.WaitForAsync("ec2", "instance terminated");

        Assert.Equal("config-not-deleted", bed.Ending?.Ending);
        Assert.DoesNotContain(bed.Ending!.Events, e => e.Name == Milestone.RunnerStarted);
    }

    private static string JitConfig() => Convert.ToBase64String(JsonSerializer.SerializeToUtf8Bytes(
        new JsonObject(RunnerFiles.Names.Select(n => KeyValuePair.Create<string, JsonNode?>(n, Convert.ToBase64String("{}"u8))))));
}
