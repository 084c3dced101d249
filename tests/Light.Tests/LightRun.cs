using System.Collections.Concurrent;
using Mayfly.Contract;
using Mayfly.Lab;
using Mayfly.Lab.Ec2;
using Mayfly.Lab.GitHub;
using Mayfly.Lab.Machines;
using Xunit;

namespace Mayfly.Light.Tests;

/// <summary>One light machine and its runner, from launch to end.</summary>
internal sealed class LightRun(Lab.Lab lab, Instance instance, Runner runner, string label, ConcurrentQueue<string> console)
{
    /// <summary>Far above what a machine takes that mostly waits; CI may be ten times slower.</summary>
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(2);

    public Instance Instance => instance;

    public Runner Runner => runner;

    public NspawnMachine Machine => (NspawnMachine)instance.Machine!;

    public IReadOnlyList<string> Console => [.. console];

    public ConsoleEnding? Ending => Console.Select(ConsoleLine.ParseEnding).LastOrDefault(e => e is not null);

    /// <summary>Queues a job that only this machine's runner can take.</summary>
    public async Task<Job> QueueAsync(string[] steps, string? fault = null) => (await lab.GitHub.Jobs.QueueAsync("light", [label], steps, fault)).Job;

    /// <summary>Waits for a console event; a machine that ends without it fails the test at once, with its last words.</summary>
    public async Task<LabEvent> WaitForAsync(string name)
    {
        var first = await FirstAsync(e => (e.Source == "console" && e.Name == name) || IsEnd(e), $"say '{name}'");
        return first.Name == name ? first : throw new InvalidOperationException($"the machine ended before '{name}':\n{string.Join('\n', Console)}");
    }

    /// <summary>Waits until the instance is terminated, and answers its last word.</summary>
    public async Task<ConsoleEnding> EndAsync()
    {
        await TerminatedAsync();
        return Ending ?? throw new InvalidOperationException($"the machine said no ending:\n{string.Join('\n', Console)}");
    }

    /// <summary>Waits for a note that contains these words.</summary>
    public async Task WaitForNoteAsync(string part)
    {
        var first = await FirstAsync(
            e => (e is { Source: "console", Name: "note" } && e.Detail.Contains(part, StringComparison.Ordinal)) || IsEnd(e), $"note '{part}'");
        if (IsEnd(first))
            throw new InvalidOperationException($"the machine ended before a note with '{part}':\n{string.Join('\n', Console)}");
    }

    /// <summary>Lets a step go on that waits for a file <c>go</c> in its workspace, once there is one. The workspace may be full.</summary>
    public async Task GoAsync()
    {
        var workspace = $"/run/mayfly/job-root/var/lib/mayfly/work/{lab.GitHub.Options.Repository}/{lab.GitHub.Options.Repository}";
        await UntilAsync($"[ -d {workspace} ]");
        await Machine.RunAsync($"cd {workspace}; rm -f fill; touch go");
    }

    /// <summary>Waits until a command succeeds that root of the machine runs; without single quotes.</summary>
    /// <exception cref="InvalidOperationException">It did not within a minute.</exception>
    public Task UntilAsync(string command) => Machine.RunAsync($"timeout 60 sh -c 'until {command}; do sleep 0.1; done'");

    /// <summary>Waits for the launch's own dead-man timer: the agent sets it while the runner starts.</summary>
    public Task DeadManIsSetAsync() => UntilAsync("systemctl is-active --quiet mayfly-deadman.timer");

    /// <summary>The agent's process, once there is one.</summary>
    public async Task<int> AgentAsync()
    {
        var end = TerminatedAsync();
        while (true)
        {
            if (Machine.AgentProcessId() is var id and not 0)
                return id;
            if (await Task.WhenAny(end, Task.Delay(TimeSpan.FromMilliseconds(20), TimeProvider.System, CancellationToken.None)) == end)
            {
                await end;
                throw new InvalidOperationException($"the machine ended before its agent was seen:\n{string.Join('\n', Console)}");
            }
        }
    }

    public Task<LabEvent> TerminatedAsync() => FirstAsync(IsEnd, "end");

    public IEnumerable<string> Notes() => Console.Select(ConsoleLine.ParseEvent).Where(e => e?.Name == "note").Select(e => e!.Detail);

    /// <summary>The journal is of all machines; whoever waits in vain wants to see this one's console.</summary>
    private async Task<LabEvent> FirstAsync(Func<LabEvent, bool> match, string what)
    {
        try
        {
            return await lab.Journal.WaitForAsync(e => e.Subject == instance.Id && match(e), Limit, TestContext.Current.CancellationToken);
        }
        catch (TimeoutException)
        {
            throw new TimeoutException($"{instance.Id} did not {what} within {Limit.TotalSeconds:F0} s; its console's last lines:\n{string.Join('\n', Console.TakeLast(30))}");
        }
    }

    private static bool IsEnd(LabEvent e) => e is { Source: "ec2", Name: "instance terminated" };
}
