using System.Text.Json.Nodes;
using Mayfly.Aws;
using Mayfly.Lab;

namespace Mayfly.Controller.Tests;

/// <summary>The policy while it is changed.</summary>
[Collection(Endpoints.Collection)]
public sealed class PolicySourceTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("mayfly-policy-").FullName;
    private readonly LogLines<PolicySource> _log = new();

    /// <summary>A file asks nothing of SSM.</summary>
    private readonly SsmClient _nobody = new(AwsConnection.To("ssm", "eu-central-1", new AwsKeys("", "", null), TimeSpan.FromSeconds(1), TimeProvider.System));

    private string File => Path.Combine(_folder, "policy.yaml");

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public async Task A_changed_file_is_taken_over_once_it_has_settled()
    {
        var source = await StartAsync("default: {allow: {cpu: 4}}");
        Write("default: {allow: {cpu: 8}}");
        await source.LookAsync(Cancel);
        Assert.Equal(4, source.Current.Default.Allow.Cpu);
        Write("default: {allow: {cpu: 16}}");
        await source.LookAsync(Cancel);
        Assert.Equal(4, source.Current.Default.Allow.Cpu);
        await source.LookAsync(Cancel);
        Assert.Equal(16, source.Current.Default.Allow.Cpu);
        Assert.Contains("policy read from", Assert.Single(_log.All), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_new_file_that_is_wrong_leaves_the_old_policy_and_says_so_once()
    {
        var source = await StartAsync("default: {allow: {cpu: 4}}");
        Write("default:\n  alow: {cpu: 8}");
        for (var i = 0; i < 5; i++)
            await source.LookAsync(Cancel);
        Assert.Equal(4, source.Current.Default.Allow.Cpu);
        var line = Assert.Single(_log.All);
        Assert.Contains("the policy stays as it was", line, StringComparison.Ordinal);
        Assert.Contains("policy.yaml, line 2, column 3: default.'alow' is not known; did you mean 'allow'?", line, StringComparison.Ordinal);
        Write("default: {allow: {cpu: 8}}");
        await source.LookAsync(Cancel);
        await source.LookAsync(Cancel);
        Assert.Equal(8, source.Current.Default.Allow.Cpu);
    }

    [Fact]
    public async Task A_file_that_is_gone_leaves_the_policy_and_says_so()
    {
        var source = await StartAsync("default: {allow: {cpu: 4}}");
        System.IO.File.Delete(File);
        await source.LookAsync(Cancel);
        await source.LookAsync(Cancel);
        Assert.Equal(4, source.Current.Default.Allow.Cpu);
        Assert.Contains("cannot be read", Assert.Single(_log.All), StringComparison.Ordinal);
    }

    /// <summary>As the kubelet does: the file is a link through a folder's link, and the folder's link is exchanged.</summary>
    [Fact]
    public async Task A_ConfigMap_is_exchanged_by_its_link()
    {
        foreach (var (version, cpu) in new[] { ("..1", 4), ("..2", 8) })
        {
            Directory.CreateDirectory(Path.Combine(_folder, version));
            System.IO.File.WriteAllText(Path.Combine(_folder, version, "policy.yaml"), $"default: {{allow: {{cpu: {cpu}}}}}");
        }

        Directory.CreateSymbolicLink(Path.Combine(_folder, "..data"), "..1");
        System.IO.File.CreateSymbolicLink(File, "..data/policy.yaml");
        var source = await StartAsync(null);
        Directory.Delete(Path.Combine(_folder, "..data"));
        Directory.CreateSymbolicLink(Path.Combine(_folder, "..data"), "..2");
        await source.LookAsync(Cancel);
        await source.LookAsync(Cancel);
        Assert.Equal(8, source.Current.Default.Allow.Cpu);
    }

    [Theory]
    [InlineData("default: {cpu: 4}", "'cpu' is not known")]
    [InlineData(null, "cannot be read")]
    public async Task At_start_a_file_that_is_wrong_or_missing_is_refused(string? text, string said)
    {
        if (text is not null)
            Write(text);
        Assert.Contains(said, (await Assert.ThrowsAsync<SettingsException>(() => StartAsync(null))).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_file_larger_than_a_policy_is_refused_and_not_read_to_its_end() =>
        Assert.Contains("at most 1048576 bytes", (await Assert.ThrowsAsync<SettingsException>(() => StartAsync(new string('#', (1 << 20) + 1)))).Message, StringComparison.Ordinal);

    [Fact]
    public async Task A_parameter_is_looked_at_each_minute_and_a_new_one_that_is_wrong_is_told_of_with_its_line()
    {
        var start = new DateTimeOffset(2026, 11, 21, 12, 0, 0, TimeSpan.Zero);
        var time = new HandMovedTime(start);
        await using var lab = await Lab.Lab.StartAsync(new LabOptions { Time = time, SignatureTime = TimeProvider.System });
        Environment.SetEnvironmentVariable("AWS_ENDPOINT_URL_SSM", lab.AwsAddress.AbsoluteUri);
        using var connection = AwsConnection.To("ssm", lab.Options.Region, new AwsKeys(lab.User.Id, lab.User.Secret, null), World.Limit, TimeProvider.System);
        var settings = Some.Settings() with { Policy = "ssm:/mayfly/controller/policy" };
        var first = new PolicyRead(PolicyFile.Parse(settings.Policy, "default: {allow: {cpu: 4}}", settings), "");
        using var source = new PolicySource(first, settings, new SsmClient(connection), time, _log);
        var asked = 0;
        lab.Ssm.Disturb = (_, _) => asked++;
        await source.StartAsync(Cancel);

        await UntilAsync(() => _log.All.Count == 1);
        Assert.Contains("the policy stays as it was, the new one is not taken: Mayfly:Policy='ssm:/mayfly/controller/policy': it cannot be read: GetParameter: ParameterNotFound", _log.All[0], StringComparison.Ordinal);
        Put("default: {allow: {cpu: 8}}");
        await UntilAsync(() => source.Current.Default.Allow.Cpu == 8);
        Put("default:\n  alow: {cpu: 16}");
        await UntilAsync(() => _log.All.Count == 3);
        Assert.Contains("the new one is not taken: ssm:/mayfly/controller/policy, line 2, column 3: default.'alow' is not known", _log.All[2], StringComparison.Ordinal);
        var before = asked;
        await UntilAsync(() => asked == before + 2); // the first of these two looks is over
        Assert.Equal((8, 3), (source.Current.Default.Allow.Cpu, _log.All.Count));
        Put("default: {allow: {cpu: 16}}");
        await UntilAsync(() => source.Current.Default.Allow.Cpu == 16);
        Assert.InRange(asked, 5, (time.GetUtcNow() - start).TotalMinutes);
        await source.StopAsync(Cancel);

        void Put(string policy) => lab.Ssm.Put(new JsonObject { ["Name"] = "/mayfly/controller/policy", ["Value"] = policy, ["Type"] = "String", ["Overwrite"] = true }, lab.User.Principal);

        Task UntilAsync(Func<bool> isDone) => time.RunAsync(isDone, () => lab.Requests > 0, TimeSpan.FromSeconds(10), TimeSpan.FromDays(1), Cancel);
    }

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    private async Task<PolicySource> StartAsync(string? text)
    {
        if (text is not null)
            Write(text);
        var settings = Some.Settings() with { Policy = File };
        return new PolicySource(await PolicySource.ReadAsync(settings, Cancel), settings, _nobody, TimeProvider.System, _log);
    }

    private void Write(string text) => System.IO.File.WriteAllText(File, text);
}
