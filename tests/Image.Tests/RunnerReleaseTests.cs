using System.Text.Json.Nodes;
using Mayfly.Machine.Tests;
using Xunit;

namespace Mayfly.Image.Tests;

/// <summary>Where the runner on the image comes from: packer/scripts/runner.sh and runner-age.sh.</summary>
public sealed class RunnerReleaseTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("mayfly-release-").FullName;
    private readonly Releases _github = new();

    [Fact]
    public async Task The_newest_release_is_taken_if_it_is_what_GitHub_published()
    {
        _github.Publish("2.400.0", "latest", ageDays: 1);

        var (code, output) = await RunAsync("runner.sh", $"{_folder}/out", "release", "", _github.Address);

        Assert.True(code == 0, output);
        Assert.True(File.Exists($"{_folder}/out/bin/Runner.Listener"));
        Assert.True(Directory.Exists($"{_folder}/out/externals"));
        Assert.Matches("^[0-9a-f]{64}\n$", await File.ReadAllTextAsync($"{_folder}/out/sha256", TestContext.Current.CancellationToken));
        Assert.Equal(Releases.Stamp(1) + "\n", await File.ReadAllTextAsync($"{_folder}/out/released", TestContext.Current.CancellationToken));
    }

    [Fact]
    public async Task A_release_without_a_date_is_refused_and_not_left_undated_in_the_root()
    {
        _github.Publish("2.400.0", "latest", ageDays: 1, change: release => release["published_at"] = null);

        var (code, output) = await RunAsync("runner.sh", $"{_folder}/out", "release", "", _github.Address);

        Assert.Equal(64, code);
        Assert.Contains("GitHub names no day on which v2.400.0 was published", output, StringComparison.Ordinal);
        Assert.False(Directory.Exists($"{_folder}/out/bin"));
    }

    [Fact]
    public async Task A_download_that_is_not_what_GitHub_published_is_refused()
    {
        _github.Publish("2.400.0", "tags/v2.400.0", ageDays: 1, digest: "sha256:" + new string('0', 64));

        var (code, output) = await RunAsync("runner.sh", $"{_folder}/out", "release:2.400.0", "", _github.Address);

        Assert.Equal(64, code);
        Assert.Contains("what was downloaded is not what GitHub published", output, StringComparison.Ordinal);
        Assert.False(Directory.Exists($"{_folder}/out/bin"));
    }

    [Fact]
    public async Task A_release_without_a_digest_is_refused_with_the_way_out()
    {
        _github.Publish("2.400.0", "latest", ageDays: 1, digest: "");

        var (code, output) = await RunAsync("runner.sh", $"{_folder}/out", "release", "", _github.Address);

        Assert.Equal(64, code);
        Assert.Contains("--runner=FILE --runner-sha256=DIGEST", output, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("", "a file is only taken with its digest")]
    [InlineData("0000", "not --runner-sha256='0000'")]
    public async Task A_file_is_only_taken_with_its_own_digest(string sha256, string refusal)
    {
        var file = Path.Combine(_folder, "runner.tar.gz");
        await File.WriteAllBytesAsync(file, _github.Tarball, TestContext.Current.CancellationToken);

        var (refused, output) = await RunAsync("runner.sh", $"{_folder}/out", file, sha256, _github.Address);
        var (taken, _) = await RunAsync("runner.sh", $"{_folder}/other", file, Builder.Digest(file), _github.Address);

        Assert.Equal((64, 0), (refused, taken));
        Assert.Contains(refusal, output, StringComparison.Ordinal);
    }

    /// <summary>GitHub counts from the first release above, whatever came after it; one that is no release to all starts nothing.</summary>
    [Theory]
    [InlineData(13, false)]
    [InlineData(14, true)]
    [InlineData(40, true)]
    public async Task The_build_warns_from_fourteen_days_after_the_release_that_followed(int ageDays, bool warns)
    {
        // In no order: the place in the list tells nothing.
        _github.PublishAll(("2.99.0", 400, null), ("2.399.0", 60, null), ("2.401.0", 5, null), ("2.400.0", ageDays, null), ("2.399.1", 50, "prerelease"), ("2.399.2", 45, "draft"));

        var (code, output) = await RunAsync("runner-age.sh", "2.399.0", _github.Address);

        Assert.Equal(0, code);
        Assert.Equal(warns, output.Contains($"WARNING: runner 2.399.0 was followed by 2.400.0 {ageDays} days ago", StringComparison.Ordinal));
        Assert.Equal(warns, output.Contains("WARNING", StringComparison.Ordinal));
        var dates = JsonNode.Parse(output[..(output.LastIndexOf('}') + 1)])!;
        Assert.Equal((Releases.Stamp(60), "2.400.0", Releases.Stamp(ageDays), "2.401.0"),
            ((string?)dates["released"], (string?)dates["successor"]!["version"], (string?)dates["successor"]!["released"], (string?)dates["newest"]!["version"]));
    }

    [Fact]
    public async Task The_newest_runner_has_no_successor_and_no_warning()
    {
        _github.PublishAll(("2.401.0", 60, null), ("2.400.0", 90, null));

        var (code, output) = await RunAsync("runner-age.sh", "2.401.0", _github.Address);

        Assert.Equal(0, code);
        Assert.DoesNotContain("WARNING", output, StringComparison.Ordinal);
        Assert.Null(JsonNode.Parse(output)!["successor"]);
    }

    [Fact]
    public async Task A_runner_that_does_not_say_its_version_is_warned_of()
    {
        _github.PublishAll(("2.401.0", 60, null));

        var (code, output) = await RunAsync("runner-age.sh", "unknown", _github.Address);

        Assert.Equal(0, code);
        Assert.Contains("WARNING: the runner does not say which version it is", output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_GitHub_that_does_not_answer_is_said_and_stops_no_build()
    {
        var (code, output) = await RunAsync("runner-age.sh", "2.399.0", "http://127.0.0.1:9");

        Assert.Equal(0, code);
        Assert.Contains("WARNING: http://127.0.0.1:9 lists no releases of the runner: how long GitHub gives 2.399.0 jobs is not known", output, StringComparison.Ordinal);
        Assert.Contains("\"released\": null", output, StringComparison.Ordinal);
    }

    public void Dispose()
    {
        _github.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    private static Task<(int Code, string Output)> RunAsync(string script, params string[] arguments) =>
        Builder.TryRunAsync(Built.Path($"packer/scripts/{script}"), arguments);
}
