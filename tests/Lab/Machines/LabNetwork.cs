using System.Diagnostics;
using System.Net;

namespace Mayfly.Lab.Machines;

/// <summary>The lab's own network namespace: the metadata service's address, and one for AWS and GitHub. Machines are
/// joined to it one by one.</summary>
internal static class LabNetwork
{
    public static readonly IPAddress Inside = IPAddress.Parse("10.99.0.1");
    public static readonly IPEndPoint Metadata = new(IPAddress.Parse("169.254.169.254"), 80);

    /// <summary>Lays the addresses onto the loopback of the namespace that this process is alone in.</summary>
    /// <exception cref="InvalidOperationException">It is not in a namespace of its own.</exception>
    public static async Task LayAsync()
    {
        // Only a fresh namespace has no device but the loopback: the machine's own network is never touched.
        if (File.ReadLines("/proc/net/dev").Skip(2).Count() > 1)
            throw new InvalidOperationException("the lab needs a network namespace of its own: start it with unshare --net");
        foreach (var command in (string[][])[
            ["link", "set", "lo", "up"],
            ["addr", "add", $"{Inside}/32", "dev", "lo"],
            ["addr", "add", $"{Metadata.Address}/32", "dev", "lo"]])
        {
            await RunAsync(["ip", .. command]);
        }
    }

    /// <summary>A veth pair joins a machine's namespace to the lab's; the machine's address is what EC2 said it has.</summary>
    public static async Task JoinAsync(int processId, string address, string device)
    {
        string[] there = ["nsenter", $"--target={processId}", "--net", "ip"];
        foreach (var command in (string[][])[
            ["ip", "link", "add", device, "type", "veth", "peer", "name", "eth0", "netns", $"{processId}"],
            ["ip", "link", "set", device, "up"],
            ["ip", "route", "add", $"{address}/32", "dev", device],
            [.. there, "link", "set", "lo", "up"],
            [.. there, "addr", "add", $"{address}/32", "dev", "eth0"],
            [.. there, "link", "set", "eth0", "up"],
            [.. there, "route", "add", "default", "dev", "eth0"]])
        {
            await RunAsync(command);
        }
    }

    /// <summary>Takes a machine's cable away for good. The kernel would do so too, once it comes to tidy the machine's namespace
    /// up; until then the next machine with the same address could not be joined.</summary>
    public static async Task LeaveAsync(string device)
    {
        try
        {
            await RunAsync(["ip", "link", "delete", device]);
        }
        catch (InvalidOperationException) when (!File.ReadLines("/proc/net/dev").Any(line => line.TrimStart().StartsWith(device + ":", StringComparison.Ordinal)))
        {
            // the kernel was faster, be it only by the time that ip takes to find the device
        }
    }

    /// <summary>Takes a machine's cable out: it sees its link go.</summary>
    public static Task CutAsync(string device) => RunAsync(["ip", "link", "set", device, "down"]);

    /// <summary>Puts it back. The route went with the link.</summary>
    public static async Task MendAsync(string address, string device)
    {
        await RunAsync(["ip", "link", "set", device, "up"]);
        await RunAsync(["ip", "route", "add", $"{address}/32", "dev", device]);
    }

    private static async Task RunAsync(string[] command)
    {
        var start = new ProcessStartInfo(command[0]) { RedirectStandardError = true };
        foreach (var argument in command[1..])
            start.ArgumentList.Add(argument);
        using var process = Process.Start(start) ?? throw new InvalidOperationException($"{command[0]} did not start");
        var error = await process.StandardError.ReadToEndAsync();
        await process.WaitForExitAsync();
        if (process.ExitCode != 0)
            throw new InvalidOperationException($"{string.Join(' ', command)}: {error.Trim()}");
    }
}
