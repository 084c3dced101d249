using System.Text.Json.Nodes;
using Mayfly.Contract;
using Mayfly.Lab;
using Mayfly.Lab.Aws;
using Mayfly.Lab.GitHub;

namespace Mayfly.Controller.Tests;

/// <summary>Images that are launched by whatever name, and the age of the runners on them.</summary>
[Collection(Endpoints.Collection)]
public sealed class ImageWatchTests
{
    private const string Image = "ami-0123456789abcdef0";
    private const string Other = "ami-0fedcba9876543210";
    private const string Parameter = "/mayfly/images/nightly";
    private const string ByParameter = $"resolve:ssm:{Parameter}";

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task From_an_image_whose_runner_is_too_old_nothing_is_launched_and_its_user_is_told_why()
    {
        await using var bed = await StartAsync("default: {}\n");
        bed.Lab.Images.Add(Image, RunnerOf("2.336.0"));
        await bed.Image.LookAsync(Cancel);
        await QueueAsync(bed);
        var launch = await bed.TryAsync();
        Assert.Equal(LaunchState.Refused, launch.State);
        Assert.Empty(bed.Lab.Fleet.Instances);
        Assert.Empty(bed.Lab.GitHub.Runners.All);
        await bed.Teller.TellAsync(Cancel);
        var told = Assert.Single(bed.Lab.GitHub.CheckRuns.All).Summary!;
        Assert.All((string[])["runner 2.336.0", "2.337.0", "build and roll out a new image"], part => Assert.Contains(part, told, StringComparison.Ordinal));
        Assert.Equal(launch.Reason, told);
    }

    [Theory]
    [InlineData(ByParameter)]
    [InlineData("launch-template:nightly")]
    public async Task An_image_by_parameter_is_judged_and_launched_as_the_one_that_it_stands_for(string image)
    {
        await using var bed = await StartAsync($"images: {{nightly: \"{image}\"}}\ndefault: {{allow: {{images: [nightly]}}, defaults: {{image: nightly}}}}\n");
        bed.Lab.Templates.Load(Demo.LaunchTemplate.Replace("\"mayfly\"", "\"nightly\"", StringComparison.Ordinal), ByParameter);
        bed.Lab.Images.Add(Other, RunnerOf("2.337.0"));
        Put(bed, Other);
        await bed.Image.LookAsync(Cancel);
        await QueueAsync(bed);
        Assert.Equal(LaunchState.Launched, (await bed.TryAsync()).State);
        Assert.Equal(Other, Assert.Single(bed.Living).Spec.ImageId);

        bed.Lab.Images.Add(Image, RunnerOf("2.336.0"));
        Put(bed, Image);
        await bed.Image.LookAsync(Cancel);
        await QueueAsync(bed);
        Assert.Contains($"2.336.0 on {Image}", (await bed.TryAsync()).Reason, StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_image_by_a_parameter_that_the_controller_may_not_read_is_refused_with_what_it_lacks()
    {
        await using var bed = await StartAsync($"images: {{nightly: \"{ByParameter}\"}}\ndefault: {{allow: {{images: [nightly]}}, defaults: {{image: nightly}}}}\n");
        Put(bed, Image);
        bed.Lab.Ssm.Disturb = (action, _) =>
        {
            if (action == "GetParameters")
                throw new AwsFault("AccessDeniedException", "not authorized to perform: ssm:GetParameters");
        };
        await bed.Image.LookAsync(Cancel);
        await QueueAsync(bed);
        var launch = await bed.TryAsync();
        Assert.Equal(LaunchState.Refused, launch.State);
        Assert.Contains("ssm:GetParameters", launch.Reason!, StringComparison.Ordinal);
        Assert.Empty(bed.Lab.GitHub.Runners.All);
    }

    [Fact]
    public async Task An_answer_that_nobody_expects_leaves_what_was_seen_and_the_watch_going()
    {
        await using var bed = await StartAsync("default: {}\n");
        bed.Lab.Images.Add(Image, RunnerOf("2.336.0"));
        await bed.Image.LookAsync(Cancel);
        bed.Lab.GitHub.Disturb = (_, _) => throw new GitHubFault(200, "a proxy's page instead of a list");
        await bed.Image.LookAsync(Cancel);
        Assert.IsType<RunnerAge.TooOld>(bed.Image.AgeOf(new ImageSource(bed.Sites.Home, "mayfly", null)));
    }

    [Fact]
    public async Task The_image_of_a_new_policy_is_looked_at_as_soon_as_it_holds()
    {
        await using var bed = await StartAsync("default: {}\n");
        bed.Lab.Images.Add(Image, RunnerOf("2.337.0"));
        bed.Lab.Images.Add(Other, RunnerOf("2.336.0"));
        var (first, looked) = (new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously), new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously));
        bed.Lab.Ec2.Disturb = (action, input) =>
        {
            if (action == "DescribeImages")
                (input.List("ImageId").Contains(Other) ? looked : first).TrySetResult();
        };
        await bed.Image.StartAsync(Cancel);
        await first.Task.WaitAsync(World.Limit, Cancel);
        await File.WriteAllTextAsync(bed.Settings.Policy, $"images: {{other: {Other}}}\ndefault: {{allow: {{images: [other]}}, defaults: {{image: other}}}}\n", Cancel);
        await bed.Policy.LookAsync(Cancel);
        await bed.Policy.LookAsync(Cancel);
        await looked.Task.WaitAsync(World.Limit, Cancel);
        await bed.Image.StopAsync(Cancel);
    }

    private static async Task<ReconcileBed> StartAsync(string policy)
    {
        var bed = await ReconcileBed.StartAsync(policy);
        var now = bed.Time.GetUtcNow();
        bed.Lab.GitHub.RunnerReleases = [("2.337.0", now - TimeSpan.FromDays(40)), ("2.336.0", now - TimeSpan.FromDays(50))];
        return bed;
    }

    private static async Task QueueAsync(ReconcileBed bed)
    {
        var (job, _) = await bed.Lab.GitHub.Jobs.QueueAsync("build", ["mayfly"], []);
        await bed.Intake.FoundAsync([ReconcileBed.JobOf(job, JobAction.Queued) with { HeadSha = new string('a', 40) }]);
    }

    private static void Put(ReconcileBed bed, string image) => bed.Lab.Ssm.Put(
        new JsonObject { ["Name"] = Parameter, ["Value"] = image, ["Type"] = "String", ["Overwrite"] = true }, new Principal("AIDALAB", "arn:aws:iam::123456789012:user/people", null));

    private static Dictionary<string, string> RunnerOf(string version) => new() { [Tags.RunnerVersion] = version };
}
