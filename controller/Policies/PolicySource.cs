using System.Security.Cryptography;
using System.Text;
using Mayfly.Aws;

namespace Mayfly.Controller.Policies;

/// <summary>A policy as it was read.</summary>
/// <param name="Digest">SHA-256 of its text; empty where the settings make it.</param>
internal sealed record PolicyRead(Policy Policy, string Digest);

/// <summary>
/// The policy that holds now. It is read again when its content has changed: looked at by its content, again and again,
/// since a mounted ConfigMap is changed by exchanging a symbolic link far above the file, which tells a watcher of
/// the file nothing, and a parameter tells nobody. A new one that is wrong leaves the old policy in force.
/// </summary>
/// <param name="first">As it was read at start.</param>
internal sealed partial class PolicySource(PolicyRead first, Settings settings, SsmClient ssm, TimeProvider time, ILogger<PolicySource> log) : BackgroundService
{
    private static readonly TimeSpan FileEvery = TimeSpan.FromSeconds(2);

    /// <summary>A call to SSM each time, whose rate launches need too.</summary>
    private static readonly TimeSpan ParameterEvery = TimeSpan.FromMinutes(1);

    /// <summary>Thousands of repositories fit; a larger file is another one. A parameter has at most 8 KB.</summary>
    private const int MostBytes = 1 << 20;

    private volatile Policy _current = first.Policy;
    private string _inForce = first.Digest;
    private string? _seen;
    private string? _complaint;

    public Policy Current => _current;

    /// <summary>Another policy holds from now on.</summary>
    public event Action? Changed;

    /// <summary>Reads the policy once, as at start; without one, the settings make it.</summary>
    /// <exception cref="SettingsException">It cannot be read, or is wrong.</exception>
    public static async Task<PolicyRead> ReadAsync(Settings settings, CancellationToken cancel)
    {
        if (settings.Policy.Length == 0)
            return new PolicyRead(Policy.Of(settings), "");
        var (text, digest) = Digested(ReferredText.IsParameter(settings.Policy)
            ? Encoding.UTF8.GetBytes(await ReferredText.ReadAsync(nameof(Settings.Policy), settings.Policy, settings.Region, cancel))
            : ReadFile(settings.Policy));
        return new PolicyRead(PolicyFile.Parse(settings.Policy, text, settings), digest);
    }

    /// <summary>Takes a new file over once it is the same at two looks: one that is still being written may be half of it,
    /// and half a policy can be a valid one. A parameter changes as a whole.</summary>
    public async Task LookAsync(CancellationToken cancel)
    {
        try
        {
            var isParameter = ReferredText.IsParameter(settings.Policy);
            var (text, digest) = Digested(isParameter
                ? Encoding.UTF8.GetBytes(await ReferredText.ReadParameterAsync(nameof(Settings.Policy), settings.Policy, ssm, cancel))
                : ReadFile(settings.Policy));
            var settled = isParameter || digest == _seen;
            _seen = digest;
            if (digest == _inForce)
                _complaint = null;
            if (digest == _inForce || !settled)
                return;
            _current = PolicyFile.Parse(settings.Policy, text, settings);
            (_inForce, _complaint) = (digest, null);
            LogRead(settings.Policy, _current.Repositories.Count, digest[..12]);
            Changed?.Invoke();
        }
        catch (Exception e) when (!cancel.IsCancellationRequested)
        {
            // Once: it is the same at the next look, and the one after.
            var complaint = e is SettingsException ? e.Message : $"{settings.Policy} cannot be read: {e.Message}";
            if (complaint != _complaint)
                LogKept(complaint);
            _complaint = complaint;
        }
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        if (settings.Policy.Length == 0)
            return;
        using var timer = new PeriodicTimer(ReferredText.IsParameter(settings.Policy) ? ParameterEvery : FileEvery, time);
        while (await timer.WaitForNextTickAsync(stoppingToken))
            await LookAsync(stoppingToken);
    }

    private static (string Text, string Digest) Digested(byte[] content) => (Encoding.UTF8.GetString(content), Convert.ToHexStringLower(SHA256.HashData(content)));

    private static byte[] ReadFile(string path)
    {
        try
        {
            using var file = File.OpenRead(path);
            var bytes = new byte[MostBytes + 1];
            var read = file.ReadAtLeast(bytes, bytes.Length, throwOnEndOfStream: false);
            return read <= MostBytes ? bytes[..read] : throw new SettingsException($"{path}: a policy has at most {MostBytes} bytes");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new SettingsException($"{path} cannot be read: {e.Message}");
        }
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "policy read from {Source}: entries for {Repositories} repositories and owners, SHA-256 {Digest}")]
    private partial void LogRead(string source, int repositories, string digest);

    [LoggerMessage(Level = LogLevel.Error, Message = "the policy stays as it was, the new one is not taken: {Reason}")]
    private partial void LogKept(string reason);
}
