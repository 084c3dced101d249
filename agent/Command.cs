using System.ComponentModel;
using System.Diagnostics;

namespace Mayfly.Agent;

/// <summary>Runs a program of the distribution to its end.</summary>
internal static class Command
{
    /// <summary>Runs a program with an argument list, an empty environment and, if given, standard input.</summary>
    /// <param name="limit">After this the program is killed.</param>
    /// <returns>Its standard output.</returns>
    /// <exception cref="CommandException">It could not be started, failed, or took too long; carries its standard error.</exception>
    public static async Task<string> RunAsync(string program, IReadOnlyList<string> arguments, string? input, TimeSpan limit, TimeProvider time, CancellationToken cancel)
    {
        var start = new ProcessStartInfo(program)
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            WorkingDirectory = "/",
        };
        foreach (var argument in arguments)
            start.ArgumentList.Add(argument);
        start.Environment.Clear();
        start.Environment["PATH"] = "/usr/sbin:/usr/bin:/sbin:/bin";

        using var process = Start(start);
        using var timeout = new CancellationTokenSource(limit, time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(timeout.Token, cancel);
        try
        {
            var output = process.StandardOutput.ReadToEndAsync(either.Token);
            var error = process.StandardError.ReadToEndAsync(either.Token);
            if (input is not null)
                await process.StandardInput.WriteAsync(input.AsMemory(), either.Token);
            process.StandardInput.Close();
            await process.WaitForExitAsync(either.Token);
            var said = await output;
            return process.ExitCode == 0 ? said : throw new CommandException($"{program} exited with {process.ExitCode}: {(await error).Trim()}");
        }
        catch (OperationCanceledException) when (!cancel.IsCancellationRequested)
        {
            process.Kill(entireProcessTree: true);
            throw new CommandException($"{program} did not end within {limit.TotalSeconds:F0} s");
        }
    }

    private static Process Start(ProcessStartInfo start)
    {
        try
        {
            return Process.Start(start) ?? throw new CommandException($"{start.FileName} did not start");
        }
        catch (Win32Exception e)
        {
            throw new CommandException($"{start.FileName} did not start: {e.Message}", e);
        }
    }
}

internal sealed class CommandException(string message, Exception? inner = null) : Exception(message, inner);
