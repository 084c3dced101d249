using System.Globalization;
using System.Net;
using System.Text;
using System.Text.Json.Nodes;
using Mayfly.Lab.Aws;

namespace Mayfly.Lab.Tests;

public sealed class AwsSignatureTests
{
    private static readonly JsonObject SomeParameter = new() { ["Name"] = "/a" };

    [Fact]
    public async Task A_request_signed_by_the_SDK_is_answered()
    {
        await using var lab = await Lab.StartAsync(new LabOptions());

        var answer = await new AwsClient(lab).StsAsync("GetCallerIdentity");

        Assert.Equal(HttpStatusCode.OK, answer.Status);
        Assert.Equal(lab.User.Principal.Arn, answer.One("Arn"));
        Assert.Equal(lab.Options.Account, answer.One("Account"));
    }

    [Fact]
    public async Task A_request_without_a_signature_is_refused()
    {
        await using var lab = await Lab.StartAsync(new LabOptions());
        var client = new AwsClient(lab, lab.User, tamper: r => r.Headers.Remove("Authorization"));

        Assert.Equal("MissingAuthenticationToken", (await client.Ec2Async("DescribeInstances")).Code);
        Assert.Equal("MissingAuthenticationTokenException", (await client.SsmAsync("GetParameter", SomeParameter.DeepClone().AsObject())).Code);
    }

    [Theory]
    [InlineData("AWS4-HMAC-SHA256 Credential=a/20260101/eu-central-1/ec2/aws4_request, SignedHeaders=host")]
    [InlineData("AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=c")]
    [InlineData("AWS4-HMAC-SHA256 Credential=a/20200101/eu-central-1/ec2/aws4_request, SignedHeaders=host;x-amz-date, Signature=c")]
    [InlineData("AWS4-HMAC-SHA256 Signature=a, Signature=b")]
    [InlineData("Basic YTpi")]
    public async Task Half_a_signature_is_refused(string authorization)
    {
        await using var lab = await Lab.StartAsync(new LabOptions());
        var client = new AwsClient(lab, lab.User, tamper: r =>
        {
            r.Headers.Remove("Authorization");
            r.Headers.TryAddWithoutValidation("Authorization", authorization);
        });

        Assert.Equal("IncompleteSignature", (await client.Ec2Async("DescribeInstances")).Code);
        Assert.Equal("IncompleteSignatureException", (await client.SsmAsync("GetParameter", SomeParameter.DeepClone().AsObject())).Code);
    }

    [Fact]
    public async Task An_unknown_key_is_refused_in_each_services_own_words()
    {
        await using var lab = await Lab.StartAsync(new LabOptions());
        var client = new AwsClient(lab, lab.User with { Id = "AKIAUNKNOWN" });

        var ec2 = await client.Ec2Async("DescribeInstances");
        Assert.Equal((HttpStatusCode.Unauthorized, "AuthFailure"), (ec2.Status, ec2.Code));
        var ssm = await client.SsmAsync("GetParameter", SomeParameter.DeepClone().AsObject());
        Assert.Equal((HttpStatusCode.BadRequest, "UnrecognizedClientException"), (ssm.Status, ssm.Code));
        var sts = await client.StsAsync("GetCallerIdentity");
        Assert.Equal((HttpStatusCode.Forbidden, "InvalidClientTokenId"), (sts.Status, sts.Code));
    }

    [Fact]
    public async Task A_wrong_secret_a_changed_body_and_a_changed_host_are_refused()
    {
        await using var lab = await Lab.StartAsync(new LabOptions());
        var wrongSecret = new AwsClient(lab, lab.User with { Secret = "wrong" });
        var changedBody = new AwsClient(lab, lab.User, tamper: r => r.Content = new StringContent("Action=TerminateInstances&Version=2016-11-15&InstanceId.1=i-1", Encoding.UTF8, "application/x-www-form-urlencoded"));
        // The signature is for this port, so the loopback is right, but the path is another.
        var changedPath = new AwsClient(lab, lab.User, tamper: r => r.RequestUri = new Uri(lab.AwsAddress, "/elsewhere"));

        Assert.Equal("AuthFailure", (await wrongSecret.Ec2Async("DescribeInstances")).Code);
        Assert.Equal("AuthFailure", (await changedBody.Ec2Async("DescribeInstances")).Code);
        Assert.Equal("AuthFailure", (await changedPath.Ec2Async("DescribeInstances")).Code);
        Assert.Equal("InvalidSignatureException", (await wrongSecret.SsmAsync("GetParameter", SomeParameter.DeepClone().AsObject())).Code);
        Assert.Equal("SignatureDoesNotMatch", (await wrongSecret.StsAsync("GetCallerIdentity")).Code);
    }

    [Fact]
    public async Task Another_region_is_refused_but_STS_answers_for_its_global_endpoints_too()
    {
        await using var lab = await Lab.StartAsync(new LabOptions());
        var elsewhere = new AwsClient(lab, lab.User, region: "us-east-1");

        var refused = await elsewhere.Ec2Async("DescribeInstances");

        Assert.Equal("AuthFailure", refused.Code);
        Assert.Contains("us-east-1", refused.Message, StringComparison.Ordinal);
        Assert.Equal("InvalidSignatureException", (await elsewhere.SsmAsync("GetParameter", SomeParameter.DeepClone().AsObject())).Code);
        Assert.Equal(HttpStatusCode.OK, (await elsewhere.StsAsync("GetCallerIdentity")).Status);
    }

    [Fact]
    public async Task A_header_of_AWS_that_was_not_signed_is_refused()
    {
        await using var lab = await Lab.StartAsync(new LabOptions());
        var client = new AwsClient(lab, lab.User, tamper: r => r.Headers.Add("X-Amz-Extra", "1"));

        var answer = await client.Ec2Async("DescribeInstances");

        Assert.Equal("AuthFailure", answer.Code);
        Assert.Contains("'x-amz-extra' must be a 'SignedHeader'", answer.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(300, "")]
    [InlineData(-300, "")]
    [InlineData(301, "RequestExpired")]
    [InlineData(-301, "RequestExpired")]
    public async Task A_clock_may_be_five_minutes_off(int seconds, string code)
    {
        var time = new HandMovedTime(TimeProvider.System.GetUtcNow());
        await using var lab = await Lab.StartAsync(new LabOptions { Time = time });
        var client = new AwsClient(lab, lab.User, tamper: request =>
        {
            var signed = DateTimeOffset.ParseExact(request.Headers.GetValues("X-Amz-Date").Single(), "yyyyMMdd'T'HHmmss'Z'", CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal);
            time.Move(signed.AddSeconds(seconds) - time.GetUtcNow());
        });

        Assert.Equal(code, (await client.Ec2Async("DescribeInstances")).Code);
    }

    [Fact]
    public async Task Temporary_keys_need_their_token_and_end_with_it()
    {
        var time = new HandMovedTime();
        await using var lab = await Lab.StartAsync(new LabOptions { Time = time });
        var key = lab.Keys.IssueTemporary(new Principal("AROA:x", "arn:aws:sts::123456789012:assumed-role/r/x", null), time.GetUtcNow().AddMinutes(3));

        Assert.Equal(HttpStatusCode.OK, (await new AwsClient(lab, key).StsAsync("GetCallerIdentity")).Status);
        Assert.Equal("AuthFailure", (await new AwsClient(lab, key with { SessionToken = null }).Ec2Async("DescribeInstances")).Code);
        Assert.Equal("InvalidClientTokenId", (await new AwsClient(lab, key with { SessionToken = "another" }).StsAsync("GetCallerIdentity")).Code);
        Assert.Equal("InvalidClientTokenId", (await new AwsClient(lab, lab.User with { SessionToken = "made-up" }).StsAsync("GetCallerIdentity")).Code);

        time.Move(TimeSpan.FromMinutes(4));

        Assert.Equal("RequestExpired", (await new AwsClient(lab, key).Ec2Async("DescribeInstances")).Code);
        Assert.Equal("ExpiredTokenException", (await new AwsClient(lab, key).SsmAsync("GetParameter", SomeParameter.DeepClone().AsObject())).Code);
        Assert.Equal("ExpiredToken", (await new AwsClient(lab, key).StsAsync("GetCallerIdentity")).Code);
    }

    [Theory]
    [InlineData("127.0.0.1:12345", "")]
    [InlineData("localhost:4566", "")]
    [InlineData("ec2.eu-central-1.amazonaws.com", "AuthFailure")]
    public async Task Behind_a_proxy_a_signature_holds_for_any_port_of_the_loopback_and_for_no_other_host(string signedFor, string code)
    {
        await using var lab = await Lab.StartAsync(new LabOptions());
        var client = new AwsClient(lab, lab.User, tamper: r => r.Headers.Host = null);

        // What a proxy does: the client signs for the proxy's address, the proxy asks under the lab's.
        var answer = await ProxiedAsync(lab, signedFor);

        Assert.Equal(code, answer.Code);
        Assert.Equal("", (await client.Ec2Async("DescribeInstances")).Code);
    }

    private static async Task<AwsAnswer> ProxiedAsync(Lab lab, string signedFor)
    {
        var client = new AwsClient(lab, lab.User, tamper: r =>
        {
            r.RequestUri = lab.AwsAddress;
            r.Headers.Host = lab.AwsAddress.Authority;
        });
        var content = new FormUrlEncodedContent([new("Action", "DescribeInstances"), new("Version", "2016-11-15")]);
        return await client.SendAsync("ec2", content, ("Host", signedFor));
    }
}
