using System.Globalization;
using Xunit;

namespace Mayfly.Agent.Tests;

/// <summary>What a container engine's root is outside; that it holds is tried in the virtual machine.</summary>
public sealed class EngineTests
{
    [Fact]
    public void No_id_of_the_machine_but_the_runners_user_is_among_the_engines()
    {
        var outside = Lines().SelectMany(line => Enumerable.Range(line.Outside, line.Count)).ToList();

        Assert.All(outside, id => Assert.True(id is 1001 or >= 100_000, $"{id}"));
        Assert.Equal(outside.Count, outside.Distinct().Count());
    }

    [Fact]
    public void An_image_may_use_any_id_and_the_runners_user_is_the_same_inside()
    {
        Assert.Equal(Enumerable.Range(0, 65_536), Lines().SelectMany(line => Enumerable.Range(line.Inside, line.Count)));
        Assert.Contains((1001, 1001, 1), Lines());
    }

    [Fact]
    public void The_machine_forwards_for_the_job_alone()
    {
        var forward = EngineNetwork.Rules.Split("chain forward {")[1].Split('}')[0].Split('\n', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);

        Assert.Equal(
            [
                "type filter hook forward priority filter; policy drop;",
                "iifname \"job\" oifname != \"job\" ip saddr 192.0.0.2 accept",
                "oifname \"job\" ct state established,related accept",
            ], forward);
    }

    private static IEnumerable<(int Inside, int Outside, int Count)> Lines() =>
        Engine.Map.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => line.Split(' ').Select(number => int.Parse(number, CultureInfo.InvariantCulture)).ToList())
            .Select(line => (line[0], line[1], line[2]));
}
