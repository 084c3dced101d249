using System.Text.Json;
using System.Text.Json.Nodes;
using Mayfly.Aws;
using Mayfly.Contract;
using Mayfly.Lab;
using Mayfly.Lab.Aws;
using Mayfly.Lab.Ec2;
using Xunit;

namespace Mayfly.Agent.Tests;

/// <summary>Step 6 against the lab's SSM, with the instance's own role, under the policy that asks for a tag.</summary>
public sealed class TakeConfigTests : IAsyncLifetime
{
    private readonly StringWriter _console = new();

    /// <summary>One clock for the agent and the lab: what the agent waits is what the lab's rates are refilled by.</summary>
    private readonly HurriedTime _time = new();
    private Lab.Lab _lab = null!;
    private Instance _instance = null!;
    private AwsKeys _keys = null!;
    private AwsConnection _connection = null!;

    public async ValueTask InitializeAsync()
    {
        (_lab, _instance) = await LaunchedInstance.StartAsync(_time);
        var role = _lab.Keys.IssueTemporary(new Principal("AROA", $"arn:aws:sts::{_lab.Options.Account}:assumed-role/mayfly-runner/{_instance.Id}", _instance.Arn), DateTimeOffset.MaxValue);
        _keys = new AwsKeys(role.Id, role.Secret, role.SessionToken);
        Environment.SetEnvironmentVariable("AWS_ENDPOINT_URL_SSM", _lab.AwsAddress.AbsoluteUri);
        _connection = AwsConnection.To("ssm", _lab.Options.Region, _keys, TimeSpan.FromSeconds(10), _time);
    }

    public async ValueTask DisposeAsync()
    {
        _connection.Dispose();
        await _lab.DisposeAsync();
    }

    [Fact]
    public async Task A_configuration_is_taken_and_deleted_at_its_source()
    {
        await StoreAsync(Packed());

        using var config = await TakeAsync();

        Assert.Equal("{}"u8.ToArray(), config.Files.Contents[0].Reveal().ToArray());
        Assert.Empty(_lab.Ssm.Parameters);
        Assert.Equal([Milestone.ConfigTaken, Milestone.ConfigDeleted], Narrated());
    }

    [Fact]
    public async Task A_configuration_that_comes_late_is_waited_for()
    {
        var reads = 0;
        _lab.Ssm.Disturb = (action, caller) =>
        {
            if (action == "GetParameter" && caller.InstanceArn is not null && ++reads == 3)
                StoreAsync(Packed()).GetAwaiter().GetResult();
        };

        using var config = await TakeAsync();

        Assert.True(reads >= 3);
    }

    [Fact]
    public async Task A_configuration_that_never_comes_ends_the_machine_and_says_where_to_look() =>
        Assert.Contains("the controller has stored nothing for this instance", await EndsAsync("config-access-denied"), StringComparison.Ordinal);

    [Fact]
    public async Task A_parameter_that_the_role_may_see_and_that_is_not_there_is_absent()
    {
        Refuse("GetParameter", new AwsFault("ParameterNotFound", ""));

        Assert.Contains("look at the controller's log", await EndsAsync("config-absent"), StringComparison.Ordinal);
    }

    /// <summary>Code and words as SSM answers them, and what becomes of them.</summary>
    [Theory]
    [InlineData("ThrottlingException", "Rate exceeded", 400, "config-throttled", 90)]
    [InlineData("TooManyRequestsException", "", 429, "config-throttled", 90)]
    [InlineData("KMSThrottlingException", "", 400, "config-throttled", 90)]
    [InlineData("InvalidKeyId", "The key is disabled", 400, "config-kms-refused", 10)]
    [InlineData("KMSAccessDeniedException", "", 400, "config-kms-refused", 10)]
    [InlineData("KMSDisabledException", "", 400, "config-kms-refused", 10)]
    [InlineData("AccessDeniedException", "The ciphertext refers to a customer master key that does not exist, does not exist in this region, or you are not allowed to access.", 400, "config-kms-refused", 10)]
    [InlineData("AccessDeniedException", "User: me is not authorized to perform: kms:Decrypt on resource: key", 400, "config-kms-refused", 10)]
    [InlineData("AccessDeniedException", "User: me is not authorized to perform: ssm:GetParameter", 400, "config-access-denied", 90)]
    [InlineData("InternalServerError", "", 500, "config-server-fault", 90)]
    [InlineData("ServiceUnavailable", "", 503, "config-server-fault", 90)]
    [InlineData("ValidationException", "", 400, "config-not-taken", 0)]
    public async Task Whatever_lasts_has_an_ending_of_its_own_and_is_asked_again_only_where_that_helps(string code, string message, int status, string ending, int seconds)
    {
        await StoreAsync(Packed());
        Refuse("GetParameter", new AwsFault(code, message, status));
        var start = _time.GetTimestamp();

        Assert.Contains(code, await EndsAsync(ending), StringComparison.Ordinal);

        // The last look begins before the limit, with up to 6 s of a call's own tries.
        Assert.InRange(_time.GetElapsedTime(start).TotalSeconds, seconds, seconds + 10);
        Assert.Single(_lab.Ssm.Parameters);
    }

    [Fact]
    public async Task A_service_that_cannot_be_reached_is_told_apart()
    {
        using var bound = new System.Net.Sockets.Socket(System.Net.Sockets.AddressFamily.InterNetwork, System.Net.Sockets.SocketType.Stream, System.Net.Sockets.ProtocolType.Tcp);
        bound.Bind(new System.Net.IPEndPoint(System.Net.IPAddress.Loopback, 0)); // not listening, and nobody else gets the port
        Environment.SetEnvironmentVariable("AWS_ENDPOINT_URL_SSM", $"http://{bound.LocalEndPoint}/");
        _connection.Dispose();
        _connection = AwsConnection.To("ssm", _lab.Options.Region, _keys, TimeSpan.FromSeconds(10), _time);

        Assert.Contains("routes, DNS and endpoints", await EndsAsync("config-unreachable"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Another_instances_configuration_is_out_of_reach()
    {
        await StoreAsync(Packed(), owner: _instance.Arn + "0");

        await EndsAsync("config-access-denied");

        Assert.Single(_lab.Ssm.Parameters);
    }

    [Theory]
    [InlineData("mf1.AwA=", "config-truncated")]
    [InlineData("mf2.AwA=", "config-wrong-version")]
    [InlineData("mf1.!!!!", "config-malformed")]
    public async Task What_cannot_be_used_is_deleted_all_the_same(string envelope, string ending)
    {
        await StoreAsync(envelope);

        Assert.Contains(ConfigParameter.NameFor(_instance.Id), await EndsAsync(ending), StringComparison.Ordinal);

        Assert.Empty(_lab.Ssm.Parameters);
    }

    /// <summary>A replica that does not know of the parameter's tag yet refuses what another allows a moment later.</summary>
    [Fact]
    public async Task A_deletion_that_is_refused_at_first_is_asked_for_again()
    {
        await StoreAsync(Packed());
        var refusals = 2;
        _lab.Ssm.Disturb = (action, _) =>
        {
            if (action == "DeleteParameter" && refusals-- > 0)
                throw new AwsFault("AccessDeniedException", "not allowed");
        };

        using var config = await TakeAsync();

        Assert.Empty(_lab.Ssm.Parameters);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_deletion_that_is_refused_to_the_last_runs_no_job_also_where_reading_is_refused_from_then_on(bool readingToo)
    {
        await StoreAsync(Packed());
        var refused = false;
        _lab.Ssm.Disturb = (action, _) =>
        {
            refused |= action == "DeleteParameter";
            if (action == "DeleteParameter" || (refused && readingToo))
                throw new AwsFault("AccessDeniedException", "not allowed");
        };

        Assert.Contains("could not be deleted", await EndsAsync("config-not-deleted"), StringComparison.Ordinal);
        Assert.Single(_lab.Ssm.Parameters);
    }

    /// <summary>Whether it was carried out cannot be told from a refusal that follows.</summary>
    [Fact]
    public async Task A_deletion_whose_answer_was_lost_runs_no_job()
    {
        await StoreAsync(Packed());
        _lab.Ssm.Disturb = (action, caller) =>
        {
            if (action != "DeleteParameter" || _lab.Ssm.Parameters.Count == 0)
                return;
            _lab.Ssm.Disturb = null;
            _lab.Ssm.Call(action, new JsonObject { ["Name"] = ConfigParameter.NameFor(_instance.Id) }, caller);
            throw new AwsFault("InternalServerError", "carried out, and not told", 500);
        };

        await EndsAsync("config-not-deleted");
    }

    [Fact]
    public async Task A_deletion_that_cannot_be_confirmed_runs_no_job()
    {
        await StoreAsync(Packed());
        var deleted = false;
        _lab.Ssm.Disturb = (action, _) =>
        {
            if (deleted && action == "GetParameter")
                throw new AwsFault("InternalServerError", "out of order", 500);
            deleted |= action == "DeleteParameter";
        };

        await EndsAsync("config-not-deleted");
    }

    [Fact]
    public async Task A_value_that_is_still_answered_for_a_while_after_its_deletion_is_outlived()
    {
        await StoreAsync(Packed());
        var left = 5;
        _lab.Ssm.StillAnswers = () => left-- > 0;

        using var config = await TakeAsync();

        Assert.Equal([Milestone.ConfigTaken, Milestone.ConfigDeleted], Narrated());
        Assert.True(left < 0);
    }

    [Fact]
    public async Task A_value_that_never_ceases_to_be_answered_runs_no_job()
    {
        await StoreAsync(Packed());
        _lab.Ssm.StillAnswers = () => true;

        Assert.Contains("still be read after its deletion", await EndsAsync("config-not-deleted"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_key_that_is_refused_after_the_deletion_proves_nothing()
    {
        await StoreAsync(Packed());
        var deleted = false;
        _lab.Ssm.Disturb = (action, _) =>
        {
            if (deleted && action == "GetParameter")
                throw new AwsFault("AccessDeniedException", "User: me is not authorized to perform: kms:Decrypt on resource: key");
            deleted |= action == "DeleteParameter";
        };

        Assert.Contains("could not be confirmed", await EndsAsync("config-not-deleted"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_passing_throttle_is_outlived()
    {
        await StoreAsync(Packed());
        var calls = 0;
        _lab.Ssm.Disturb = (_, caller) =>
        {
            if (caller.InstanceArn is not null && ++calls % 2 == 1)
                throw new AwsFault("ThrottlingException", "Rate exceeded");
        };

        using var config = await TakeAsync();

        Assert.Empty(_lab.Ssm.Parameters);
    }

    [Fact]
    public async Task No_line_on_the_console_holds_the_envelope()
    {
        var envelope = Packed();
        await StoreAsync(envelope);

        using var config = await TakeAsync();

        Assert.DoesNotContain(envelope[4..20], _console.ToString(), StringComparison.Ordinal);
    }

    private async Task<string> EndsAsync(string ending)
    {
        var e = await Assert.ThrowsAsync<EndingException>(TakeAsync);
        Assert.Equal(ending, e.Ending.Name);
        return e.Ending.Detail;
    }

    private async Task<JitConfig> TakeAsync()
    {
        var narration = new Narration(new ConsoleStream(_console), () => 1, []);
        try
        {
            return await JitConfig.TakeAsync(new ParameterSource(new SsmClient(_connection), _instance.Id), narration, _time, TestContext.Current.CancellationToken);
        }
        finally
        {
            Assert.True(narration.Drain(TimeSpan.FromSeconds(20)));
        }
    }

    private void Refuse(string action, AwsFault fault) => _lab.Ssm.Disturb = (asked, caller) =>
    {
        if (asked == action && caller.InstanceArn is not null)
            throw fault;
    };

    private async Task StoreAsync(string envelope, string? owner = null)
    {
        using var connection = AwsConnection.To("ssm", _lab.Options.Region, new AwsKeys(_lab.User.Id, _lab.User.Secret, null), TimeSpan.FromSeconds(10), _time);
        await new SsmClient(connection).PutSecureStringAsync(ConfigParameter.NameFor(_instance.Id), envelope,
            new Dictionary<string, string> { [ConfigParameter.InstanceTag] = owner ?? _instance.Arn }, CancellationToken.None);
    }

    private IEnumerable<string?> Narrated() => _console.ToString().Split('\n').Select(ConsoleLine.ParseEvent).OfType<ConsoleEvent>().Select(e => e.Name);

    internal static string Packed()
    {
        using var files = RunnerFiles.ParseJitConfig(Convert.ToBase64String(JsonSerializer.SerializeToUtf8Bytes(
            new JsonObject(RunnerFiles.Names.Select(n => KeyValuePair.Create<string, JsonNode?>(n, Convert.ToBase64String("{}"u8)))))));
        return Envelope.Pack(files);
    }

    internal sealed class ConsoleStream(StringWriter console) : MemoryStream
    {
        public override void Write(byte[] buffer, int offset, int count) => console.Write(System.Text.Encoding.UTF8.GetString(buffer, offset, count));

        public override void Write(ReadOnlySpan<byte> buffer) => console.Write(System.Text.Encoding.UTF8.GetString(buffer));
    }
}
