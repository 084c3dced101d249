using System.Text.Json.Nodes;

namespace Mayfly.Controller.Tests;

public sealed class WorkflowJobTests
{
    [Fact]
    public void The_official_shape_is_read()
    {
        var job = WorkflowJob.Parse(Some.Event());
        Assert.Equal((JobAction.Queued, 87_654_321, "octo-org/octo-repo", 43_000_000_001, 13_000_000_001, 1, "build"),
            (job.Action, job.Installation, job.Repository, job.Id, job.RunId, job.Attempt, job.Name));
        Assert.Equal(["mayfly"], job.Labels);
        Assert.Null(job.RunnerName);
    }

    [Theory]
    [InlineData("waiting", JobAction.Waiting)]
    [InlineData("in_progress", JobAction.InProgress)]
    [InlineData("completed", JobAction.Completed)]
    [InlineData("invented", JobAction.Other)]
    public void Every_action_is_told_apart(string action, object expected) => Assert.Equal(expected, WorkflowJob.Parse(Some.Event(action: action)).Action);

    [Fact]
    public void Ids_pass_32_bits_and_doubles() =>
        Assert.Equal(9_007_199_254_740_993, WorkflowJob.Parse(Some.Event(e => e["workflow_job"]!["id"] = 9_007_199_254_740_993)).Id);

    [Fact]
    public void A_job_that_is_null_is_told() =>
        Assert.Contains("workflow_job is missing", Assert.Throws<InvalidDataException>(() => WorkflowJob.Parse(Some.Event(e => e["workflow_job"] = null))).Message, StringComparison.Ordinal);

    [Theory]
    [InlineData("id")]
    [InlineData("run_id")]
    [InlineData("labels")]
    public void A_missing_field_is_named(string field) =>
        Assert.Contains($"workflow_job.{field} is missing", Assert.Throws<InvalidDataException>(() => WorkflowJob.Parse(Some.Event(e => e["workflow_job"]!.AsObject().Remove(field)))).Message, StringComparison.Ordinal);

    [Fact]
    public void A_field_of_another_kind_is_named_by_its_path() =>
        Assert.Contains("$.workflow_job.labels", Assert.Throws<InvalidDataException>(() => WorkflowJob.Parse(Some.Event(e => e["workflow_job"]!["labels"] = new JsonObject()))).Message, StringComparison.Ordinal);
}
