using System.Text.Json;

namespace Mayfly.Controller.Tests;

/// <summary>Hundreds of jobs at one moment, by a clock that is moved by hand; the bench does it with thousands.</summary>
public sealed class BurstTests
{
    private const int Jobs = 200;

    [Fact]
    public async Task Every_job_of_a_burst_starts_once_in_the_time_that_the_services_limits_take()
    {
        var folder = Directory.CreateTempSubdirectory("mayfly-burst-test-").FullName;
        try
        {
            await using var burst = await Burst.Burst.StartAsync(folder, _ => { });
            var result = await burst.RunAsync(Jobs, TestContext.Current.CancellationToken);
            Assert.InRange(result.Took, result.Allowed, (result.Allowed * 1.1) + Burst.Burst.Boot);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Fact]
    public void What_is_measured_runs_by_the_controllers_own_settings_with_one_heap()
    {
        var (controller, burst) = (RuntimeSettings("mayfly-controller"), RuntimeSettings("mayfly-burst"));
        Assert.Equal(controller, burst);
        Assert.Equal("false", controller["System.GC.Server"]);
    }

    /// <summary>What the runtime reads at start, beside the program.</summary>
    private static SortedDictionary<string, string> RuntimeSettings(string program)
    {
        using var file = JsonDocument.Parse(File.ReadAllText(Path.Combine(AppContext.BaseDirectory, $"{program}.runtimeconfig.json")));
        return new(file.RootElement.GetProperty("runtimeOptions").GetProperty("configProperties").EnumerateObject().ToDictionary(p => p.Name, p => p.Value.GetRawText()));
    }
}
