using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text.RegularExpressions;

namespace Mayfly.Lab;

/// <summary>The published controller as users start it, pointed at the lab by its own settings and the standard variables.</summary>
internal sealed partial class ControllerProcess : IAsyncDisposable
{
    /// <summary>It starts within a second where it has a processor to itself, which it does not have beside many others.</summary>
    private static readonly TimeSpan StartLimit = TimeSpan.FromMinutes(2);

    /// <summary>Longer than it allows itself: what it was at is then done with.</summary>
    private static readonly TimeSpan StopLimit = TimeSpan.FromSeconds(60);

    private readonly Process _process;
    private readonly TaskCompletionSource<Uri> _address = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Task _log;

    private ControllerProcess(Process process, Action<string> onLine)
    {
        _process = process;
        _log = Task.WhenAll(FollowAsync(process.StandardOutput, onLine), FollowAsync(process.StandardError, onLine));
    }

    /// <summary>Where it serves: a port that was free when it came to take one.</summary>
    public Uri Address => _address.Task.Result;

    public int ProcessId => _process.Id;

    /// <param name="program">A program, or a <c>.dll</c> for dotnet.</param>
    /// <param name="aws">AWS's address, if not the lab's own.</param>
    /// <param name="onLine">Called for each line of its log.</param>
    /// <param name="onStarted">Called as soon as it is a process, which may do things before it serves.</param>
    /// <exception cref="InvalidOperationException">It ended before it served.</exception>
    public static async Task<ControllerProcess> StartAsync(
        Lab lab, string program, string folder, Uri? aws, Action<string> onLine, IReadOnlyDictionary<string, string>? settings = null, Action<ControllerProcess>? onStarted = null)
    {
        Directory.CreateDirectory(folder);
        var files = new Dictionary<string, string>
        {
            ["app.pem"] = lab.GitHub.Options.AppKey.ExportRSAPrivateKeyPem(),
            ["webhook.secret"] = lab.GitHub.Options.WebhookSecret,
            ["credentials"] = $"[default]\naws_access_key_id={lab.User.Id}\naws_secret_access_key={lab.User.Secret}\n",
        };
        foreach (var (name, content) in files)
            await File.WriteAllTextAsync(Path.Combine(folder, name), content);

        var start = new ProcessStartInfo(program.EndsWith(".dll", StringComparison.Ordinal) ? "dotnet" : program) { RedirectStandardOutput = true, RedirectStandardError = true };
        if (start.FileName == "dotnet")
            start.ArgumentList.Add(program);
        var endpoint = (aws ?? lab.AwsAddress).AbsoluteUri.TrimEnd('/');
        foreach (var (name, value) in new Dictionary<string, string>
        {
            ["ASPNETCORE_URLS"] = "http://127.0.0.1:0",
            ["AWS_REGION"] = lab.Options.Region,
            ["AWS_SHARED_CREDENTIALS_FILE"] = Path.Combine(folder, "credentials"),
            ["AWS_ENDPOINT_URL_EC2"] = endpoint,
            ["AWS_ENDPOINT_URL_SSM"] = endpoint,
            ["AWS_ENDPOINT_URL_STS"] = endpoint,
            ["AWS_ENDPOINT_URL_PRICING"] = endpoint,
            ["Mayfly__GitHub__Api"] = lab.GitHubAddress.AbsoluteUri,
            ["Mayfly__GitHub__AppId"] = $"{lab.GitHub.Options.AppId}",
            ["Mayfly__GitHub__PrivateKeyFile"] = Path.Combine(folder, "app.pem"),
            ["Mayfly__GitHub__WebhookSecretFile"] = Path.Combine(folder, "webhook.secret"),
            ["Mayfly__GitHub__Installations"] = $"{lab.GitHub.Options.InstallationId}",
            ["Mayfly__GitHub__Repositories"] = lab.GitHub.Options.FullName,
            ["Mayfly__Database"] = Path.Combine(folder, "controller.db"),
            ["Mayfly__LookEvery"] = "1",
        }.Concat(settings ?? new Dictionary<string, string>()))
        {
            start.Environment[name] = value;
        }

        var process = Process.Start(start) ?? throw new InvalidOperationException($"{program} did not start");
        var controller = new ControllerProcess(process, onLine);
        onStarted?.Invoke(controller);
        await controller.WaitUntilAliveAsync();
        lab.GitHub.Webhooks.Target = new Uri(controller.Address, "webhook");
        return controller;
    }

    /// <summary>As a crash ends it: no signal handler runs.</summary>
    public async Task KillAsync()
    {
        _process.Kill();
        await _process.WaitForExitAsync();
        await _log;
    }

    /// <summary>As an operator stops it.</summary>
    /// <returns>Its exit code; 137 if it had to be killed.</returns>
    public async Task<int> StopAsync()
    {
        if (!_process.HasExited)
        {
            _ = Signals.Send(_process.Id, "TERM");
            try
            {
                await _process.WaitForExitAsync().WaitAsync(StopLimit);
            }
            catch (TimeoutException)
            {
                _process.Kill();
                await _process.WaitForExitAsync();
            }
        }

        await _log;
        return _process.ExitCode;
    }

    public async ValueTask DisposeAsync()
    {
        await StopAsync();
        _process.Dispose();
    }

    private async Task WaitUntilAliveAsync()
    {
        using var limit = new CancellationTokenSource(StartLimit);
        await Task.WhenAny(_address.Task, _log).WaitAsync(limit.Token);
        if (!_address.Task.IsCompleted)
            throw new InvalidOperationException("the controller ended before it served; its log says why");
        using var http = new HttpClient();
        await http.GetStringAsync(new Uri(Address, "healthz"), limit.Token);
    }

    private async Task FollowAsync(StreamReader reader, Action<string> onLine)
    {
        while (await reader.ReadLineAsync() is { } line)
        {
            onLine(line);
            if (ServesAt().Match(line) is { Success: true } serves)
                _address.TrySetResult(new Uri(serves.Groups[1].Value));
        }
    }

    /// <summary>ASP.NET's own line, in text or as JSON.</summary>
    [GeneratedRegex("Now listening on: .*(http://127\\.0\\.0\\.1:[0-9]+)")]
    private static partial Regex ServesAt();

    /// <summary>A port of the loopback that nobody listened on a moment ago.</summary>
    internal static int FreePort()
    {
        using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        socket.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        return ((IPEndPoint)socket.LocalEndPoint!).Port;
    }
}
