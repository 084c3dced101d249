using System.Security.Cryptography;
using System.Text;

namespace Mayfly.Controller.Policies;

/// <summary>
/// The policy that holds now. Its file is read again when its content has changed: looked at by its content, every few
/// seconds, since a mounted ConfigMap is changed by exchanging a symbolic link far above the file, which tells a watcher of
/// the file nothing. A new file that is wrong leaves the old policy in force.
/// </summary>
internal sealed partial class PolicySource : BackgroundService
{
    private static readonly TimeSpan Every = TimeSpan.FromSeconds(2);

    /// <summary>Thousands of repositories fit; a larger file is another one.</summary>
    private const int MostBytes = 1 << 20;

    private readonly Settings _settings;
    private readonly TimeProvider _time;
    private readonly ILogger<PolicySource> _log;
    private volatile Policy _current;
    private string _inForce;
    private string? _seen;
    private string? _complaint;

    /// <exception cref="SettingsException">The file cannot be read, or is wrong.</exception>
    public PolicySource(Settings settings, TimeProvider time, ILogger<PolicySource> log)
    {
        (_settings, _time, _log) = (settings, time, log);
        (_current, _inForce) = Read(settings);
    }

    public Policy Current => _current;

    /// <summary>Reads the file once, as at start; without one, the settings make the policy.</summary>
    /// <exception cref="SettingsException">It cannot be read, or is wrong.</exception>
    public static (Policy Policy, string Digest) Read(Settings settings)
    {
        if (settings.PolicyFile.Length == 0)
            return (Policy.Of(settings), "");
        var (text, digest) = Content(settings.PolicyFile);
        return (PolicyFile.Parse(settings.PolicyFile, text, settings), digest);
    }

    /// <summary>Takes a new content over once it is the same at two looks: one that is still being written may be half of it,
    /// and half a policy can be a valid one.</summary>
    public void Look()
    {
        try
        {
            var (text, digest) = Content(_settings.PolicyFile);
            var settled = digest == _seen;
            _seen = digest;
            if (digest == _inForce)
                _complaint = null;
            if (digest == _inForce || !settled)
                return;
            _current = PolicyFile.Parse(_settings.PolicyFile, text, _settings);
            (_inForce, _complaint) = (digest, null);
            LogRead(_settings.PolicyFile, _current.Repositories.Count, digest[..12]);
        }
        catch (SettingsException e)
        {
            // Once: it is the same at the next look, and the one after.
            if (e.Message != _complaint)
                LogKept(e.Message);
            _complaint = e.Message;
        }
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        if (_settings.PolicyFile.Length == 0)
            return;
        using var timer = new PeriodicTimer(Every, _time);
        while (await timer.WaitForNextTickAsync(stoppingToken))
            Look();
    }

    private static (string Text, string Digest) Content(string path)
    {
        try
        {
            using var file = File.OpenRead(path);
            var bytes = new byte[MostBytes + 1];
            var read = file.ReadAtLeast(bytes, bytes.Length, throwOnEndOfStream: false);
            if (read > MostBytes)
                throw new SettingsException($"{path}: a policy has at most {MostBytes} bytes");
            return (Encoding.UTF8.GetString(bytes, 0, read), Convert.ToHexStringLower(SHA256.HashData(bytes.AsSpan(0, read))));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new SettingsException($"{path} cannot be read: {e.Message}");
        }
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "policy read from {File}: entries for {Repositories} repositories and owners, SHA-256 {Digest}")]
    private partial void LogRead(string file, int repositories, string digest);

    [LoggerMessage(Level = LogLevel.Error, Message = "the policy stays as it was, the new file is not taken: {Reason}")]
    private partial void LogKept(string reason);
}
