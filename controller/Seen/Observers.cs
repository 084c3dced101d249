using OpenTelemetry;
using OpenTelemetry.Metrics;
using OpenTelemetry.Resources;
using OpenTelemetry.Trace;

namespace Mayfly.Controller.Seen;

/// <summary>Whoever looks: a scrape of <c>/metrics</c>, and a collector where OpenTelemetry's own variable
/// <c>OTEL_EXPORTER_OTLP_ENDPOINT</c> names one. https://opentelemetry.io/docs/specs/otel/protocol/exporter/</summary>
internal sealed class Observers : IDisposable
{
    private readonly MeterProvider _metrics;
    private readonly TracerProvider? _traces;

    public Observers(string? version)
    {
        var resource = ResourceBuilder.CreateDefault().AddService("mayfly-controller", serviceVersion: version);
        // System.Runtime: memory, collections, threads, as .NET itself counts them.
        var metrics = Sdk.CreateMeterProviderBuilder().SetResourceBuilder(resource).AddMeter(Figures.Name, "System.Runtime").AddReader(Page.Reader);
        if (Environment.GetEnvironmentVariable("OTEL_EXPORTER_OTLP_ENDPOINT") is { Length: > 0 })
        {
            metrics.AddOtlpExporter();
            _traces = Sdk.CreateTracerProviderBuilder().SetResourceBuilder(resource).AddSource(Figures.Name).AddOtlpExporter().Build();
        }

        _metrics = metrics.Build();
    }

    public MetricsPage Page { get; } = new();

    /// <summary>Sends what is still to be sent, for a few seconds at most.</summary>
    public void Dispose()
    {
        _traces?.Dispose();
        _metrics.Dispose();
    }
}
