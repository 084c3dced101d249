using System.Globalization;

namespace Mayfly.Controller.Tests;

/// <summary>Random values for property tests, all from one seed.</summary>
internal sealed class Chance(int seed)
{
    private readonly Random _random = new(seed);

    /// <summary>Tries a property on many seeds, always the same ones unless MAYFLY_SEED names the first. A failure names its seed.</summary>
    public static void Try(int cases, Action<Chance> property)
    {
        var first = int.TryParse(Environment.GetEnvironmentVariable("MAYFLY_SEED"), CultureInfo.InvariantCulture, out var given) ? given : 1;
        for (var seed = first; seed < first + cases; seed++)
        {
            try
            {
                property(new Chance(seed));
            }
            catch (Exception e)
            {
                throw new InvalidOperationException($"with MAYFLY_SEED={seed}: {e.Message}", e);
            }
        }
    }

    /// <summary>From 0 to one below.</summary>
    public int Below(int most) => _random.Next(most);

    public int Between(int least, int most) => _random.Next(least, most + 1);

    public bool OneIn(int times) => _random.Next(times) == 0;

    public T Of<T>(IReadOnlyList<T> items) => items[_random.Next(items.Count)];

    /// <summary>Some of them, at least one, in their order.</summary>
    public IReadOnlyList<T> Some<T>(IReadOnlyList<T> items)
    {
        var some = items.Where(_ => OneIn(2)).ToList();
        return some.Count > 0 ? some : [Of(items)];
    }

    /// <summary>Any text at all.</summary>
    public string Text(int most) => string.Concat(Enumerable.Range(0, Below(most)).Select(_ => (char)(OneIn(8) ? _random.Next(0x20, 0x3000) : _random.Next(1, 0x7f))));
}
