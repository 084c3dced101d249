namespace Mayfly.Controller.Tests;

public sealed class DecideTests
{
    [Fact]
    public void A_queued_job_with_the_label_gets_a_machine() =>
        Assert.Equal(new Decision.Launch(Spot: false), Decide.For(Some.Job(JobAction.Queued, "self-hosted", "mayfly"), Some.Settings()));

    [Fact]
    public void The_label_is_compared_as_GitHub_does_without_case() =>
        Assert.IsType<Decision.Launch>(Decide.For(Some.Job(JobAction.Queued, "Mayfly"), Some.Settings()));

    [Theory]
    [InlineData("spot=true", true)]
    [InlineData("spot=false", false)]
    public void A_label_asks_for_spot(string label, bool spot) =>
        Assert.Equal(new Decision.Launch(spot), Decide.For(Some.Job(JobAction.Queued, "mayfly", label), Some.Settings()));

    [Theory]
    [InlineData("spot=maybe")]
    [InlineData("cpu=4")]
    [InlineData("=")]
    public void A_label_that_is_not_understood_is_refused_by_name(string label) =>
        Assert.Contains($"'{label}'", Assert.IsType<Decision.Refuse>(Decide.For(Some.Job(JobAction.Queued, "mayfly", label), Some.Settings())).Reason, StringComparison.Ordinal);

    [Theory]
    [InlineData(nameof(JobAction.Queued))]
    [InlineData(nameof(JobAction.InProgress))]
    [InlineData(nameof(JobAction.Completed))]
    public void A_job_without_the_label_is_someone_elses(string action) =>
        Assert.IsType<Decision.Ignore>(Decide.For(Some.Job(Enum.Parse<JobAction>(action), "ubuntu-latest", "cpu=4"), Some.Settings()));

    [Theory]
    [InlineData(nameof(JobAction.InProgress))]
    [InlineData(nameof(JobAction.Completed))]
    public void What_became_of_a_job_is_written_down(string action) =>
        Assert.IsType<Decision.Record>(Decide.For(Some.Job(Enum.Parse<JobAction>(action), "mayfly"), Some.Settings()));

    [Theory]
    [InlineData(nameof(JobAction.Waiting))]
    [InlineData(nameof(JobAction.Other))]
    public void Other_actions_launch_nothing(string action) =>
        Assert.IsType<Decision.Ignore>(Decide.For(Some.Job(Enum.Parse<JobAction>(action), "mayfly"), Some.Settings()));
}
