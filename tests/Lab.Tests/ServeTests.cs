using System.Net;

namespace Mayfly.Lab.Tests;

public sealed class ServeTests
{
    [Fact]
    public async Task It_prints_where_it_serves_and_serves_there_until_it_is_stopped()
    {
        using var lab = new LabProcess("serve");
        var variables = await lab.ReadVariablesAsync();
        using var http = new HttpClient();

        foreach (var name in (string[])["AWS_ENDPOINT_URL_EC2", "AWS_ENDPOINT_URL_SSM", "AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL_PRICING"])
        {
            using var aws = await http.GetAsync(new Uri(variables[name]), TestContext.Current.CancellationToken);
            Assert.Equal(HttpStatusCode.Forbidden, aws.StatusCode);
        }

        using var imds = await http.GetAsync(new Uri(variables["AWS_EC2_METADATA_SERVICE_ENDPOINT"]), TestContext.Current.CancellationToken);
        Assert.Equal(HttpStatusCode.Unauthorized, imds.StatusCode);
        using var github = await http.GetAsync(new Uri(variables["GITHUB_API_URL"]), TestContext.Current.CancellationToken);
        Assert.InRange((int)github.StatusCode, 400, 499);
        Assert.All((string[])["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"], name => Assert.NotEmpty(variables[name]));

        Assert.Equal((0, ""), await lab.StopAsync());
    }

    [Theory]
    [InlineData("serve", "--port=70000")]
    [InlineData("serve", "--colour=red")]
    [InlineData("rule", "the-world")]
    public async Task What_it_does_not_know_is_a_usage_error(string verb, string option)
    {
        using var lab = new LabProcess(verb, option);

        var (code, error) = await lab.WaitAsync();

        Assert.Equal(64, code);
        Assert.Contains("serve [--port=N]", error, StringComparison.Ordinal);
    }
}
