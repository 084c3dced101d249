using OpenTelemetry;
using OpenTelemetry.Exporter;
using OpenTelemetry.Metrics;
using OpenTelemetry.Resources;
using OpenTelemetry.Trace;

namespace Mayfly.Controller.Seen;

/// <summary>Whoever looks: a scrape of <c>/metrics</c>, and a collector where OpenTelemetry's own variables name one, for both by
/// <c>OTEL_EXPORTER_OTLP_ENDPOINT</c>, or for one by its own. https://opentelemetry.io/docs/specs/otel/protocol/exporter/</summary>
internal sealed class Observers : IDisposable
{
    private readonly MeterProvider _metrics;
    private readonly TracerProvider? _traces;

    /// <exception cref="SettingsException">What names the collector is no address.</exception>
    public Observers(string? version)
    {
        var resource = ResourceBuilder.CreateDefault().AddService("mayfly-controller", serviceVersion: version);
        // System.Runtime: memory, collections, threads, as .NET itself counts them.
        var metrics = Sdk.CreateMeterProviderBuilder().SetResourceBuilder(resource).AddMeter(Figures.Name, "System.Runtime").AddReader(Page.Reader);
        if (Collector("METRICS") is { } forMetrics)
            metrics.AddOtlpExporter(forMetrics);
        if (Collector("TRACES") is { } forTraces)
            _traces = Sdk.CreateTracerProviderBuilder().SetResourceBuilder(resource).AddSource(Figures.Name).AddOtlpExporter(forTraces).Build();
        _metrics = metrics.Build();
    }

    public MetricsPage Page { get; } = new();

    /// <summary>Sends what is still to be sent, for a few seconds at most.</summary>
    public void Dispose()
    {
        _traces?.Dispose();
        _metrics.Dispose();
    }

    /// <summary>Where a signal goes; null if nowhere. The exporter itself reads the variable of all signals, and what else there is.</summary>
    private static Action<OtlpExporterOptions>? Collector(string signal)
    {
        const string all = "OTEL_EXPORTER_OTLP_ENDPOINT";
        var own = $"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT";
        if (Environment.GetEnvironmentVariable(own) is not { Length: > 0 } address)
            return Environment.GetEnvironmentVariable(all) is { Length: > 0 } ? _ => { } : null;
        return Uri.TryCreate(address, UriKind.Absolute, out var endpoint)
            ? options => options.Endpoint = endpoint
            : throw new SettingsException($"{own}='{address}' is no address; one such as http://collector:4318/v1/{signal.ToLowerInvariant()} is wanted");
    }
}
