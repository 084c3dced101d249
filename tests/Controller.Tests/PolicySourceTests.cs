using Microsoft.Extensions.Logging;

namespace Mayfly.Controller.Tests;

/// <summary>The policy while it is changed.</summary>
public sealed class PolicySourceTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("mayfly-policy-").FullName;
    private readonly Lines _log = new();

    private string File => Path.Combine(_folder, "policy.yaml");

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void A_changed_file_is_taken_over_once_it_has_settled()
    {
        var source = Start("default: {allow: {cpu: 4}}");
        Write("default: {allow: {cpu: 8}}");
        source.Look();
        Assert.Equal(4, source.Current.Default.Allow.Cpu);
        Write("default: {allow: {cpu: 16}}");
        source.Look();
        Assert.Equal(4, source.Current.Default.Allow.Cpu);
        source.Look();
        Assert.Equal(16, source.Current.Default.Allow.Cpu);
        Assert.Contains("policy read from", Assert.Single(_log.All), StringComparison.Ordinal);
    }

    [Fact]
    public void A_new_file_that_is_wrong_leaves_the_old_policy_and_says_so_once()
    {
        var source = Start("default: {allow: {cpu: 4}}");
        Write("default:\n  alow: {cpu: 8}");
        for (var i = 0; i < 5; i++)
            source.Look();
        Assert.Equal(4, source.Current.Default.Allow.Cpu);
        var line = Assert.Single(_log.All);
        Assert.Contains("the policy stays as it was", line, StringComparison.Ordinal);
        Assert.Contains("policy.yaml, line 2, column 3: default.'alow' is not known; did you mean 'allow'?", line, StringComparison.Ordinal);
        Write("default: {allow: {cpu: 8}}");
        source.Look();
        source.Look();
        Assert.Equal(8, source.Current.Default.Allow.Cpu);
    }

    [Fact]
    public void A_file_that_is_gone_leaves_the_policy_and_says_so()
    {
        var source = Start("default: {allow: {cpu: 4}}");
        System.IO.File.Delete(File);
        source.Look();
        source.Look();
        Assert.Equal(4, source.Current.Default.Allow.Cpu);
        Assert.Contains("cannot be read", Assert.Single(_log.All), StringComparison.Ordinal);
    }

    /// <summary>As the kubelet does: the file is a link through a folder's link, and the folder's link is exchanged.</summary>
    [Fact]
    public void A_ConfigMap_is_exchanged_by_its_link()
    {
        foreach (var (version, cpu) in new[] { ("..1", 4), ("..2", 8) })
        {
            Directory.CreateDirectory(Path.Combine(_folder, version));
            System.IO.File.WriteAllText(Path.Combine(_folder, version, "policy.yaml"), $"default: {{allow: {{cpu: {cpu}}}}}");
        }

        Directory.CreateSymbolicLink(Path.Combine(_folder, "..data"), "..1");
        System.IO.File.CreateSymbolicLink(File, "..data/policy.yaml");
        var source = new PolicySource(Some.Settings() with { PolicyFile = File }, TimeProvider.System, _log);
        Directory.Delete(Path.Combine(_folder, "..data"));
        Directory.CreateSymbolicLink(Path.Combine(_folder, "..data"), "..2");
        source.Look();
        source.Look();
        Assert.Equal(8, source.Current.Default.Allow.Cpu);
    }

    [Theory]
    [InlineData("default: {cpu: 4}", "'cpu' is not known")]
    [InlineData(null, "cannot be read")]
    public void At_start_a_file_that_is_wrong_or_missing_is_refused(string? text, string said)
    {
        if (text is not null)
            Write(text);
        Assert.Contains(said, Assert.Throws<SettingsException>(() => Start(null)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_file_larger_than_a_policy_is_refused_and_not_read_to_its_end() =>
        Assert.Contains("at most 1048576 bytes", Assert.Throws<SettingsException>(() => Start(new string('#', (1 << 20) + 1))).Message, StringComparison.Ordinal);

    private PolicySource Start(string? text)
    {
        if (text is not null)
            Write(text);
        return new PolicySource(Some.Settings() with { PolicyFile = File }, TimeProvider.System, _log);
    }

    private void Write(string text) => System.IO.File.WriteAllText(File, text);

    private sealed class Lines : ILogger<PolicySource>
    {
        public List<string> All { get; } = [];

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) => All.Add(formatter(state, exception));
    }
}
