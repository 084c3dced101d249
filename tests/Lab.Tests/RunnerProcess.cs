using System.Diagnostics;
using System.Globalization;
using System.Reflection;
using System.Text;
using Mayfly.Contract;

namespace Mayfly.Lab.Tests;

/// <summary>The stand-in for the official runner, laid out in a folder of its own and started as the agent starts it.</summary>
internal sealed class RunnerProcess : IAsyncDisposable
{
    /// <summary>Far above what any of it takes: a busy machine must not fail a test.</summary>
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(60);

    private readonly StringBuilder _output = new();
    private readonly Lock _lock = new();
    private Process? _process;
    private Task _reading = Task.CompletedTask;
    private TaskCompletionSource _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public RunnerProcess()
    {
        Root = Directory.CreateTempSubdirectory("mayfly-runner-").FullName;
        Directory.CreateDirectory(Path.Combine(Root, "bin"));
        Directory.CreateDirectory(Path.Combine(Root, "externals"));
        // The variable names a folder with the published native program, to hold that against the same tests.
        var built = System.Environment.GetEnvironmentVariable("MAYFLY_RUNNER_BIN") ?? typeof(RunnerProcess).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>().Single(a => a.Key == "RunnerOutput").Value!;
        foreach (var file in Directory.GetFiles(built, "Runner.Listener*"))
            File.Copy(file, Path.Combine(Root, "bin", Path.GetFileName(file)));
    }

    public string Root { get; }

    public int Id => _process!.Id;

    /// <summary>The runner's whole environment.</summary>
    public Dictionary<string, string> Environment { get; } = new()
    {
        ["PATH"] = "/usr/local/bin:/usr/bin:/bin",
        ["HOME"] = System.Environment.GetEnvironmentVariable("HOME") ?? "/root",
        ["LANG"] = "C.UTF-8",
        ["ACTIONS_RUNNER_RETURN_JOB_RESULT_FOR_HOSTED"] = "1",
        ["ACTIONS_RUNNER_RETURN_VERSION_DEPRECATED_EXIT_CODE"] = "1",
    };

    public string Output
    {
        get
        {
            lock (_lock)
                return _output.ToString();
        }
    }

    public IEnumerable<string> ConfigFiles => RunnerFiles.Names.Select(name => Path.Combine(Root, name));

    /// <summary>Registers a runner with GitHub and writes its three files.</summary>
    public async Task ConfigureAsync(Lab lab, params string[] labels)
    {
        using var app = new GitHubApp(lab);
        var (_, answer) = await app.RegisterAsync(await app.TokenAsync(), Path.GetFileName(Root), labels.Length == 0 ? ["mayfly"] : labels);
        using var files = RunnerFiles.ParseJitConfig(answer!["encoded_jit_config"]!.ToString());
        foreach (var (path, content) in ConfigFiles.Zip(files.Contents))
        {
            await File.WriteAllBytesAsync(path, content.RevealMemory(), TestContext.Current.CancellationToken);
            File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        }
    }

    public void Start(params string[] arguments)
    {
        var start = new ProcessStartInfo(Path.Combine(Root, "bin/Runner.Listener"))
        {
            RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true, WorkingDirectory = Root,
        };
        foreach (var argument in arguments.Length == 0 ? ["run"] : arguments)
            start.ArgumentList.Add(argument);
        start.Environment.Clear();
        foreach (var (name, value) in Environment)
            start.Environment[name] = value;
        // Only where dotnet is installed out of the usual place; the published stand-in needs none.
        if (System.Environment.GetEnvironmentVariable("DOTNET_ROOT") is { Length: > 0 } dotnet)
            start.Environment["DOTNET_ROOT"] = dotnet;
        _process = Process.Start(start)!;
        _process.StandardInput.Close();
        _reading = Task.WhenAll(ReadAsync(_process.StandardOutput), ReadAsync(_process.StandardError));
    }

    public async Task WaitForLineAsync(string part)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        limit.CancelAfter(Limit);
        while (true)
        {
            Task changed;
            lock (_lock)
            {
                if (_output.ToString().Contains(part, StringComparison.Ordinal))
                    return;
                changed = _changed.Task;
            }

            try
            {
                await changed.WaitAsync(limit.Token);
            }
            catch (OperationCanceledException)
            {
                throw new TimeoutException($"never printed '{part}': {Output}");
            }
        }
    }

    public async Task<int> ExitAsync()
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        limit.CancelAfter(Limit);
        await _process!.WaitForExitAsync(limit.Token);
        return _process.ExitCode;
    }

    /// <summary>Processes whose command line begins in this runner's folder: the listener and its worker.</summary>
    public IReadOnlyList<int> Processes() =>
        [.. Directory.GetDirectories("/proc").Select(d => int.TryParse(Path.GetFileName(d), out var id) ? id : 0)
            .Where(id => id > 0 && ReadProc(id, "cmdline").StartsWith(Root, StringComparison.Ordinal))];

    /// <summary>Waits for the worker. A process that the listener has just forked has the listener's own command line until it
    /// becomes the worker, so that a second process alone tells nothing.</summary>
    public async Task WaitForWorkerAsync()
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        limit.CancelAfter(Limit);
        while (!Processes().Any(id => ReadProc(id, "cmdline").Contains("\0spawnclient\0", StringComparison.Ordinal)))
        {
            if (limit.IsCancellationRequested)
                throw new TimeoutException($"no worker appeared: {Output}");
            await Task.Yield();
        }
    }

    /// <summary>Empty if the process has gone.</summary>
    public static string ReadProc(int process, string file)
    {
        try
        {
            return File.ReadAllText($"/proc/{process}/{file}");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return "";
        }
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var id in Processes())
            Signals.Send(id, "KILL");
        await _reading.WaitAsync(Limit);
        _process?.Dispose();
        Directory.Delete(Root, recursive: true);
    }

    private async Task ReadAsync(StreamReader from)
    {
        while (await from.ReadLineAsync() is { } line)
        {
            TaskCompletionSource changed;
            lock (_lock)
            {
                _output.Append(line).Append('\n');
                changed = _changed;
                _changed = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            }

            changed.SetResult();
        }
    }
}
