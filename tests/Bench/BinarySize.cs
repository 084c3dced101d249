namespace Mayfly.Bench;

/// <summary>What the agent weighs: it is read whole, and verified block by block, at each boot.</summary>
internal static class BinarySize
{
    private const double Limit = 8_000_000;

    public static Task<IReadOnlyList<Measurement>> MeasureAsync(Bed bed, CancellationToken cancel) =>
        Task.FromResult<IReadOnlyList<Measurement>>([new("agent.binary_bytes", new FileInfo(bed.Agent).Length, "bytes", "limit", Limit) { Most = Limit }]);
}
