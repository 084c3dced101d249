using System.Globalization;
using System.Net;
using System.Net.Sockets;

namespace Mayfly.Agent;

/// <summary>An egress policy at work: the name server, and what the kernel tells of destinations, for the console.</summary>
internal sealed class Egress : IDisposable
{
    private const string KernelLog = "/dev/kmsg";

    /// <summary>Lines on the console: EC2 keeps its last 64 KiB, and the machine's own story has to stay among them.</summary>
    private const int MostTold = 150;

    private static readonly TimeSpan CommandLimit = TimeSpan.FromSeconds(10);

    private readonly EgressPolicy _policy;
    private readonly Action<string> _tell;
    private readonly TimeProvider _time;
    private readonly NameServer _names;
    private readonly HashSet<IPAddress> _through = [];
    private readonly SemaphoreSlim _one = new(1);
    private readonly HashSet<string> _deniedNames = [];
    private int _told;

    private Egress(EgressPolicy policy, string nameServer, Action<string> tell, TimeProvider time)
    {
        (_policy, _tell, _time) = (policy, tell, time);
        _names = new NameServer(new IPEndPoint(IPAddress.Parse(nameServer), 53), policy, DnsClient.Servers(), LetThroughAsync, Deny, time);
    }

    /// <summary>Starts what the policy needs, once its rules are loaded; null where everything is open.</summary>
    /// <param name="nameServer">The address at which the job asks for names.</param>
    /// <param name="keep">Given what only ends by failing.</param>
    /// <exception cref="IOException">The kernel's log cannot be read, without which nothing could be audited.</exception>
    public static Egress? Start(EgressPolicy policy, string nameServer, Action<string> tell, Action<Task> keep, TimeProvider time)
    {
        if (policy.Mode == EgressMode.Open)
            return null;
        var egress = new Egress(policy, nameServer, tell, time);
        keep(egress._names.ServeAsync());
        if (policy.Mode == EgressMode.Audit || File.Exists(KernelLog))
            egress.ReadKernelLog(new FileStream(KernelLog, FileMode.Open, FileAccess.Read, FileShare.ReadWrite, bufferSize: 0));
        else
            tell($"egress: what is denied is not told of, since there is no {KernelLog}");
        return egress;
    }

    public void Dispose() => _names.Dispose();

    /// <summary>A line of the kernel's log as a destination, such as <c>tcp 140.82.121.4:443 (github.com)</c>, or <c>icmp
    /// 140.82.121.4</c> where the protocol has no ports and nobody asked for a name; null for other lines.</summary>
    internal static string? Describe(string line, Func<IPAddress, string?> nameOf)
    {
        var start = line.IndexOf(EgressRules.LogPrefix, StringComparison.Ordinal);
        if (start < 0)
            return null;
        var fields = line[start..].Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
        if (!IPAddress.TryParse(Field("DST="), out var address))
            return null;
        var port = ushort.TryParse(Field("DPT="), NumberStyles.None, CultureInfo.InvariantCulture, out var number) ? new IPEndPoint(address, number).ToString() : null;
        return $"{Field("PROTO=").ToLowerInvariant()} {port ?? address.ToString()}{(nameOf(address) is { } name ? $" ({name})" : "")}";

        string Field(string name) => fields.FirstOrDefault(f => f.StartsWith(name, StringComparison.Ordinal))?[name.Length..] ?? "";
    }

    /// <summary>On a thread of its own, since a read waits for the next line, and each read is one line. The thread ends with
    /// the process.</summary>
    private void ReadKernelLog(FileStream log) => new Thread(() =>
    {
        var buffer = new byte[8192]; // the longest record: https://docs.kernel.org/admin-guide/abi-testing.html, /dev/kmsg
        while (true)
        {
            try
            {
                if (Describe(System.Text.Encoding.UTF8.GetString(buffer, 0, log.Read(buffer)), _names.NameOf) is { } destination)
                    Tell(destination);
            }
            catch (IOException e) when (e.HResult == BrokenPipe)
            {
                // more was written than the log holds: reading goes on with its oldest line
            }
        }
    }) { IsBackground = true, Name = "egress" }.Start();

    private const int BrokenPipe = 32; // EPIPE

    private void Deny(string name)
    {
        lock (_deniedNames)
        {
            if (_deniedNames.Count < MostTold && _deniedNames.Add(name))
                Tell($"name {name}");
        }
    }

    private void Tell(string destination)
    {
        var told = Interlocked.Increment(ref _told);
        if (told <= MostTold)
            _tell($"egress {(_policy.Mode == EgressMode.Allow ? "denied" : "seen")}: {destination}");
        else if (told == MostTold + 1)
            _tell(string.Create(CultureInfo.InvariantCulture, $"egress: {MostTold} destinations were told of, further ones are not"));
    }

    private async Task LetThroughAsync(IReadOnlyList<IPAddress> addresses)
    {
        if (_policy.Mode != EgressMode.Allow)
            return;
        await _one.WaitAsync();
        try
        {
            var added = addresses.Where(a => !_through.Contains(a)).ToList();
            if (added.Count == 0)
                return;
            var elements = string.Concat(added.Select(a =>
                $"add element inet {EgressRules.Table} {(a.AddressFamily == AddressFamily.InterNetwork ? "names4" : "names6")} {{ {a} }}\n"));
            await Command.RunAsync("/usr/sbin/nft", ["-f", "-"], elements, CommandLimit, _time, CancellationToken.None);
            _through.UnionWith(added);
        }
        catch (CommandException e)
        {
            // The name is answered all the same, and the connection refused: nothing is let through by mistake.
            _tell($"egress: {e.Message}");
        }
        finally
        {
            _one.Release();
        }
    }
}
