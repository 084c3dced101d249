using System.Globalization;
using System.Text;
using OpenTelemetry;
using OpenTelemetry.Metrics;

namespace Mayfly.Controller.Seen;

/// <summary>
/// <c>GET /metrics</c>: what OpenTelemetry has added up, in Prometheus' text form. The exporter that would write it does not
/// restore everywhere this is built (docs/decisions/0003). https://prometheus.io/docs/instrumenting/exposition_formats/
/// </summary>
internal sealed class MetricsPage : BaseExporter<Metric>
{
    public const string ContentType = "text/plain; version=0.0.4; charset=utf-8";

    /// <summary>A scrape that finds another at work waits this long for it.</summary>
    private const int CollectLimit = 5000;

    private readonly Lock _one = new();
    private string _page = "";

    public MetricsPage() => Reader = new BaseExportingMetricReader(this);

    /// <summary>Collects when asked to, and only then.</summary>
    public MetricReader Reader { get; }

    public string Render()
    {
        lock (_one)
        {
            Reader.Collect(CollectLimit);
            return _page;
        }
    }

    public override ExportResult Export(in Batch<Metric> batch)
    {
        var page = new StringBuilder();
        foreach (var metric in batch)
            Write(page, metric);
        _page = page.ToString();
        return ExportResult.Success;
    }

    private static void Write(StringBuilder page, Metric metric)
    {
        var name = NameOf(metric);
        var isSum = metric.MetricType is MetricType.LongSum or MetricType.DoubleSum;
        page.Append(CultureInfo.InvariantCulture, $"# HELP {name} {metric.Description.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\n", " ", StringComparison.Ordinal)}\n");
        page.Append(CultureInfo.InvariantCulture, $"# TYPE {name} {(metric.MetricType == MetricType.Histogram ? "histogram" : isSum ? "counter" : "gauge")}\n");
        foreach (ref readonly var point in metric.GetMetricPoints())
        {
            var labels = new List<string>();
            foreach (var (key, value) in point.Tags)
                labels.Add($"{Plain(key)}=\"{Escaped($"{value}")}\"");
            switch (metric.MetricType)
            {
                case MetricType.Histogram:
                    WriteHistogram(page, name, labels, point);
                    break;
                case MetricType.LongSum or MetricType.LongSumNonMonotonic:
                    Line(page, name, labels, point.GetSumLong());
                    break;
                case MetricType.DoubleSum or MetricType.DoubleSumNonMonotonic:
                    Line(page, name, labels, point.GetSumDouble());
                    break;
                case MetricType.LongGauge:
                    Line(page, name, labels, point.GetGaugeLastValueLong());
                    break;
                case MetricType.DoubleGauge:
                    Line(page, name, labels, point.GetGaugeLastValueDouble());
                    break;
            }
        }
    }

    private static void WriteHistogram(StringBuilder page, string name, List<string> labels, in MetricPoint point)
    {
        var below = 0L;
        foreach (var bucket in point.GetHistogramBuckets())
        {
            below += bucket.BucketCount;
            Line(page, $"{name}_bucket", [.. labels, $"le=\"{(double.IsPositiveInfinity(bucket.ExplicitBound) ? "+Inf" : bucket.ExplicitBound.ToString(CultureInfo.InvariantCulture))}\""], below);
        }

        Line(page, $"{name}_sum", labels, point.GetHistogramSum());
        Line(page, $"{name}_count", labels, point.GetHistogramCount());
    }

    private static void Line(StringBuilder page, string name, List<string> labels, double value) =>
        page.Append(CultureInfo.InvariantCulture, $"{name}{(labels.Count > 0 ? $"{{{string.Join(',', labels)}}}" : "")} {value}\n");

    /// <summary>With the unit's name and, for what only grows, <c>_total</c>, as Prometheus' own rules want.</summary>
    private static string NameOf(Metric metric)
    {
        var unit = metric.Unit switch { "s" => "_seconds", "By" => "_bytes", "USD" => "_usd", _ => "" };
        var name = Plain(metric.Name);
        return name + (name.EndsWith(unit, StringComparison.Ordinal) ? "" : unit) + (metric.MetricType is MetricType.LongSum or MetricType.DoubleSum ? "_total" : "");
    }

    private static string Plain(string name) => string.Concat(name.Select(c => char.IsAsciiLetterOrDigit(c) ? c : '_'));

    private static string Escaped(string value) => value.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\"", "\\\"", StringComparison.Ordinal).Replace("\n", "\\n", StringComparison.Ordinal);
}
