using System.Globalization;
using System.Net.Sockets;

namespace Mayfly.Agent;

/// <summary>
/// Tells systemd that this process is alive. If it falls silent (stopped, wedged, starved) the unit's watchdog kills it,
/// and the unit's failure action switches the machine off. https://www.freedesktop.org/software/systemd/man/sd_notify.html
/// </summary>
internal sealed class Watchdog : IDisposable
{
    private readonly Lock _lock = new();
    private readonly Socket _socket;
    private readonly ITimer _timer;
    private bool _isOver;
    private long _longestTicks;

    private Watchdog(string address, TimeSpan every, TimeProvider time)
    {
        _socket = new Socket(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified) { Blocking = false };
        // A leading @ stands for the zero byte of an abstract address.
        var endPoint = new UnixDomainSocketEndPoint(address[0] == '@' ? "\0" + address[1..] : address);
        var last = time.GetTimestamp();
        _timer = time.CreateTimer(_ =>
        {
            lock (_lock)
            {
                if (_isOver)
                    return;
                Tell(endPoint);
                _longestTicks = Math.Max(_longestTicks, time.GetElapsedTime(last).Ticks);
                last = time.GetTimestamp();
            }
        }, null, every / 10, every); // a word wakes systemd: the first one leaves the processor to the agent's own start
    }

    /// <summary>The longest time between two signs of life so far.</summary>
    public TimeSpan LongestSilence => TimeSpan.FromTicks(_longestTicks);

    /// <summary>Begins to tell, at a third of the time that the unit allows; does nothing where no watchdog asks.</summary>
    /// <exception cref="FormatException">systemd's variable is not a number of microseconds.</exception>
    public static Watchdog? Start(string? notifySocket, string? watchdogMicroseconds, TimeProvider time)
    {
        if (string.IsNullOrEmpty(notifySocket) || string.IsNullOrEmpty(watchdogMicroseconds))
            return null;
        return long.TryParse(watchdogMicroseconds, NumberStyles.None, CultureInfo.InvariantCulture, out var microseconds) && microseconds > 0
            ? new Watchdog(notifySocket, TimeSpan.FromMicroseconds(microseconds) / 3, time)
            : throw new FormatException($"WATCHDOG_USEC='{watchdogMicroseconds}' is not a number of microseconds");
    }

    public void Dispose()
    {
        _timer.Dispose();
        lock (_lock) // a sign that is just being given is given
        {
            _isOver = true;
            _socket.Dispose();
        }
    }

    private void Tell(UnixDomainSocketEndPoint systemd)
    {
        try
        {
            _socket.SendTo("WATCHDOG=1"u8, SocketFlags.None, systemd);
        }
        catch (SocketException e) when (e.SocketErrorCode == SocketError.WouldBlock)
        {
            // as many signs as its queue holds wait for it to read them
        }
    }
}
