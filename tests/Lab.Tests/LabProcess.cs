using System.Diagnostics;

namespace Mayfly.Lab.Tests;

/// <summary>The lab as a program of its own.</summary>
internal sealed class LabProcess : IDisposable
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(60);
    private readonly Process _process;

    public LabProcess(params string[] arguments)
    {
        var start = new ProcessStartInfo("dotnet") { RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (var argument in (string[])[Path.Combine(AppContext.BaseDirectory, "mayfly-lab.dll"), .. arguments])
            start.ArgumentList.Add(argument);
        _process = Process.Start(start)!;
    }

    /// <summary>What it prints before it serves: the variables that a shell would take over.</summary>
    public async Task<Dictionary<string, string>> ReadVariablesAsync()
    {
        using var limit = Limited();
        var variables = new Dictionary<string, string>();
        while (await _process.StandardOutput.ReadLineAsync(limit.Token) is { } line && line != "# serving until stopped")
        {
            foreach (var pair in line.StartsWith("export ", StringComparison.Ordinal) ? line["export ".Length..].Split(' ') : [])
                variables[pair.Split('=', 2)[0]] = pair.Split('=', 2)[1];
        }

        return variables;
    }

    public async Task<(int ExitCode, string Error)> StopAsync()
    {
        Signals.Send(_process.Id, "TERM");
        return await WaitAsync();
    }

    public async Task<(int ExitCode, string Error)> WaitAsync()
    {
        using var limit = Limited();
        var error = await _process.StandardError.ReadToEndAsync(limit.Token);
        await _process.WaitForExitAsync(limit.Token);
        return (_process.ExitCode, error);
    }

    public void Dispose()
    {
        if (!_process.HasExited)
            _process.Kill(entireProcessTree: true);
        _process.Dispose();
    }

    private static CancellationTokenSource Limited()
    {
        var limit = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        limit.CancelAfter(Limit);
        return limit;
    }
}
