using System.Globalization;
using System.Text.Json;

namespace Mayfly.Controller;

internal enum JobAction
{
    Queued,
    Waiting,
    InProgress,
    Completed,
    Other,
}

/// <summary>A <c>workflow_job</c> event, parsed into what decisions need.</summary>
/// <param name="Attempt">Run attempt: a job that is run again keeps nothing but its name.</param>
/// <param name="RunnerName">Null while the job is queued.</param>
internal sealed record WorkflowJob(
    JobAction Action, long Installation, string Repository, long Id, long RunId, long Attempt, string Name,
    IReadOnlyList<string> Labels, string? RunnerName, string? Conclusion)
{
    /// <summary>The commit that the job runs for; empty if the event does not say.</summary>
    public string HeadSha { get; init; } = "";

    /// <summary>By GitHub's clock; null until it has begun on a runner.</summary>
    public DateTimeOffset? StartedAt { get; init; }

    /// <exception cref="InvalidDataException">A field is missing: names it.</exception>
    public static WorkflowJob Parse(byte[] body)
    {
        WorkflowJobEvent? parsed;
        try
        {
            parsed = JsonSerializer.Deserialize(body, EventJson.Default.WorkflowJobEvent);
        }
        catch (JsonException e)
        {
            throw new InvalidDataException($"workflow_job event: {e.Path}: not what is wanted there", e);
        }

        // GitHub's schema lets workflow_job be null.
        var job = parsed?.WorkflowJob ?? throw Missing("workflow_job");
        return new WorkflowJob(
            parsed.Action switch
            {
                "queued" => JobAction.Queued,
                "waiting" => JobAction.Waiting,
                "in_progress" => JobAction.InProgress,
                "completed" => JobAction.Completed,
                _ => JobAction.Other,
            },
            parsed.Installation?.Id ?? throw Missing("installation.id"),
            parsed.Repository?.FullName ?? throw Missing("repository.full_name"),
            job.Id ?? throw Missing("workflow_job.id"),
            job.RunId ?? throw Missing("workflow_job.run_id"),
            job.RunAttempt ?? 1,
            job.Name ?? "",
            job.Labels ?? throw Missing("workflow_job.labels"),
            job.RunnerName is { Length: > 0 } runner ? runner : null, // an empty one has been seen where there is none
            job.Conclusion) { HeadSha = job.HeadSha ?? "", StartedAt = StartOf(job) };
    }

    /// <summary>Before it has a runner, GitHub tells the time at which the job was queued.</summary>
    private static DateTimeOffset? StartOf(WorkflowJobFields job) => job.RunnerName is { Length: > 0 }
        && DateTimeOffset.TryParse(job.StartedAt, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var start) ? start : null;

    private static InvalidDataException Missing(string field) => new($"workflow_job event: {field} is missing");
}

internal sealed record WorkflowJobEvent(string? Action, EventInstallation? Installation, EventRepository? Repository, WorkflowJobFields? WorkflowJob);

internal sealed record WorkflowJobFields(
    long? Id, long? RunId, long? RunAttempt, string? Name, IReadOnlyList<string>? Labels, string? RunnerName, string? Conclusion, string? HeadSha, string? StartedAt);
