using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Mayfly.Contract;
using Xunit;

namespace Mayfly.Agent.Tests;

public sealed class EnvelopeTests
{
    [Fact]
    public void What_github_answers_comes_out_as_the_same_three_files()
    {
        using var files = RunnerFiles.ParseJitConfig(JitConfigOf(RealisticFiles()));

        using var unpacked = Unpack(Envelope.Pack(files));

        for (var i = 0; i < RunnerFiles.Names.Count; i++)
            Assert.Equal(RealisticFiles()[RunnerFiles.Names[i]], Encoding.UTF8.GetString(unpacked.Contents[i].Reveal()));
    }

    [Fact]
    public void A_configuration_with_a_real_key_takes_well_under_the_space_of_githubs_own_form()
    {
        var jitConfig = JitConfigOf(RealisticFiles(RSA.Create(2048)));
        using var files = RunnerFiles.ParseJitConfig(jitConfig);

        Assert.InRange(Envelope.Pack(files).Length, 1, jitConfig.Length * 2 / 3);
    }

    [Fact]
    public void What_does_not_fit_a_standard_parameter_is_refused_with_its_size()
    {
        var files = RealisticFiles();
        files[".runner"] = Convert.ToHexString(RandomNumberGenerator.GetBytes(6000));
        using var parsed = RunnerFiles.ParseJitConfig(JitConfigOf(files));

        var e = Assert.Throws<EnvelopeException>(() => Envelope.Pack(parsed));

        Assert.Equal(EnvelopeFault.TooLarge, e.Fault);
        Assert.Contains("4096", e.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("", EnvelopeFault.Absent)]
    [InlineData("mf2.AAAA", EnvelopeFault.WrongVersion)]
    [InlineData("mf1.!!!!", EnvelopeFault.Malformed)]
    [InlineData("mf1.////", EnvelopeFault.Malformed)]
    [InlineData("mf1.AwA=", EnvelopeFault.Truncated)]
    public void A_bad_envelope_is_told_apart(string envelope, EnvelopeFault fault) =>
        Assert.Equal(fault, Assert.Throws<EnvelopeException>(() => Unpack(envelope)).Fault);

    [Fact]
    public void An_envelope_cut_anywhere_is_never_taken_for_whole()
    {
        using var files = RunnerFiles.ParseJitConfig(JitConfigOf(RealisticFiles()));
        var envelope = Envelope.Pack(files);

        for (var length = 0; length < envelope.Length; length++)
        {
            var e = Assert.Throws<EnvelopeException>(() => Unpack(envelope[..length]));
            Assert.NotEqual(EnvelopeFault.TooLarge, e.Fault);
        }
    }

    [Theory]
    [InlineData(System.IO.Compression.CompressionLevel.NoCompression)]
    [InlineData(System.IO.Compression.CompressionLevel.Fastest)]
    [InlineData(System.IO.Compression.CompressionLevel.SmallestSize)]
    public void Whatever_dotnet_deflates_is_inflated_to_the_same_bytes(System.IO.Compression.CompressionLevel level)
    {
        var random = new Random(6);
        for (var round = 0; round < 300; round++)
        {
            // Of few and of many different bytes, with and without repetition: every kind of block and length comes up.
            var bytes = new byte[random.Next(20_000)];
            var kinds = random.Next(1, 257);
            for (var i = 0; i < bytes.Length; i++)
                bytes[i] = i > 300 && random.Next(3) == 0 ? bytes[i - random.Next(1, 300)] : (byte)random.Next(kinds);
            using var packed = new MemoryStream();
            using (var deflate = new System.IO.Compression.DeflateStream(packed, level, leaveOpen: true))
                deflate.Write(bytes);
            var output = new byte[bytes.Length];

            Assert.Equal(bytes.Length, Inflater.Inflate(packed.ToArray(), output));
            Assert.Equal(bytes, output);
        }
    }

    [Fact]
    public void What_is_not_deflated_ends_in_an_error_and_never_beyond_the_output()
    {
        var random = new Random(6);
        var output = new byte[4096];
        for (var round = 0; round < 20_000; round++)
        {
            var bytes = new byte[random.Next(200)];
            random.NextBytes(bytes);
            try
            {
                Assert.InRange(Inflater.Inflate(bytes, output), 0, output.Length);
            }
            catch (EnvelopeException e)
            {
                Assert.NotEqual(EnvelopeFault.Absent, e.Fault);
            }
        }
    }

    [Fact]
    public void An_envelope_that_would_unpack_without_end_is_stopped()
    {
        using var packed = new MemoryStream();
        using (var deflate = new System.IO.Compression.DeflateStream(packed, System.IO.Compression.CompressionLevel.SmallestSize, leaveOpen: true))
            deflate.Write(new byte[10_000_000]);

        var e = Assert.Throws<EnvelopeException>(() => Unpack(Envelope.Version + Convert.ToBase64String(packed.ToArray())));

        Assert.Equal(EnvelopeFault.TooLarge, e.Fault);
    }

    [Theory]
    [InlineData("../.runner")]
    [InlineData(".env")]
    [InlineData("")]
    public void A_fourth_file_is_refused_since_the_official_runner_would_write_it_wherever_it_points(string name)
    {
        var files = RealisticFiles();
        files[name] = "x";

        var e = Assert.Throws<EnvelopeException>(() => RunnerFiles.ParseJitConfig(JitConfigOf(files)));

        Assert.Equal(EnvelopeFault.Malformed, e.Fault);
    }

    [Fact]
    public void A_missing_file_is_refused()
    {
        var files = RealisticFiles();
        files.Remove(".credentials");

        Assert.Throws<EnvelopeException>(() => RunnerFiles.ParseJitConfig(JitConfigOf(files)));
    }

    [Fact]
    public void No_error_and_no_text_form_shows_the_secret()
    {
        var files = RealisticFiles();
        files[".credentials_rsaparams"] = "not-to-be-seen";
        files["fourth"] = "not-to-be-seen";
        var jitConfig = JitConfigOf(files);

        var e = Assert.Throws<EnvelopeException>(() => RunnerFiles.ParseJitConfig(jitConfig));

        Assert.DoesNotContain("not-to-be-seen", e.ToString(), StringComparison.Ordinal);
        Assert.DoesNotContain(jitConfig[..20], e.ToString(), StringComparison.Ordinal);
        using var secret = new Secret("not-to-be-seen"u8.ToArray());
        Assert.Equal("***", $"{secret}");
    }

    [Fact]
    public void A_secret_is_zeroed_when_disposed_of()
    {
        var bytes = "not-to-be-seen"u8.ToArray();

        new Secret(bytes).Dispose();

        Assert.All(bytes, b => Assert.Equal(0, b));
    }

    private static RunnerFiles Unpack(string envelope) => Envelope.Unpack(Encoding.ASCII.GetBytes(envelope));

    private static Dictionary<string, string> RealisticFiles(RSA? key = null)
    {
        var parameters = key?.ExportParameters(includePrivateParameters: true);
        return new()
        {
            [".runner"] = """{"AgentId":"42","AgentName":"mayfly-1","PoolId":"1","PoolName":"Default","Ephemeral":"true","ServerUrl":"https://pipelines.example","ServerUrlV2":"https://broker.example","UseV2Flow":"true","WorkFolder":"_work"}""",
            [".credentials"] = """{"scheme":"OAuth","data":{"clientId":"00000000-0000-0000-0000-000000000000","authorizationUrl":"https://token.example/_apis/oauth2/token","requireFipsCryptography":"True"}}""",
            [".credentials_rsaparams"] = parameters is { } p
                ? JsonSerializer.Serialize(new { d = p.D, dp = p.DP, dq = p.DQ, exponent = p.Exponent, inverseQ = p.InverseQ, modulus = p.Modulus, p = p.P, q = p.Q })
                : """{"d":"AAAA"}""",
        };
    }

    private static string JitConfigOf(Dictionary<string, string> files) => Convert.ToBase64String(JsonSerializer.SerializeToUtf8Bytes(
        files.ToDictionary(f => f.Key, f => Convert.ToBase64String(Encoding.UTF8.GetBytes(f.Value)))));
}
