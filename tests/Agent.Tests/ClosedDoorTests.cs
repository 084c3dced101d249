using System.Net;
using System.Net.Sockets;
using Mayfly.Lab;
using Xunit;

namespace Mayfly.Agent.Tests;

/// <summary>What counts as a closed door, on the loopback.</summary>
public sealed class ClosedDoorTests
{
    /// <summary>For what is answered: however late, it is in time.</summary>
    private static readonly HandMovedTime s_standing = new(DateTimeOffset.UnixEpoch);

    [Fact]
    public async Task A_connection_that_is_refused_proves_a_closed_door()
    {
        using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        socket.Bind(new IPEndPoint(IPAddress.Loopback, 0)); // bound and not listening: nobody else gets the port

        await ClosedDoor.TryAsync(AddressOf(socket), s_standing, TestContext.Current.CancellationToken);
    }

    [Fact]
    public async Task A_connection_that_is_let_in_proves_an_open_one()
    {
        using var socket = Listen(backlog: 1);

        Assert.Contains("let a connection without the agent's mark in", await FailAsync(AddressOf(socket), s_standing), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_connection_that_fails_otherwise_proves_nothing() =>
        // No TCP goes to a broadcast address: the kernel says that the network is unreachable, and sends nothing.
        Assert.Contains("did not refuse", await FailAsync(new Uri("http://255.255.255.255/"), s_standing), StringComparison.Ordinal);

    [Fact]
    public async Task A_connection_that_is_never_answered_proves_nothing()
    {
        // Nobody accepts, and the queue is full: the kernel drops what comes next.
        using var socket = Listen(backlog: 0);
        using var first = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        await first.ConnectAsync(socket.LocalEndPoint!, TestContext.Current.CancellationToken);

        Assert.Contains("no answer within 2 s, 3 times", await FailAsync(AddressOf(socket), new HurriedTime()), StringComparison.Ordinal);
    }

    private static Socket Listen(int backlog)
    {
        var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        socket.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        socket.Listen(backlog);
        return socket;
    }

    private static Uri AddressOf(Socket socket) => new($"http://{socket.LocalEndPoint}/");

    private static async Task<string> FailAsync(Uri metadata, TimeProvider time) =>
        (await Assert.ThrowsAsync<InvalidOperationException>(() => ClosedDoor.TryAsync(metadata, time, TestContext.Current.CancellationToken))).Message;
}
