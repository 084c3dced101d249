using System.Net.Sockets;
using System.Text;

namespace Mayfly.Agent;

/// <summary>
/// One question, asked every few seconds, whose answer is 404 until something happens. It blocks, and so wakes none of the threads
/// and timers that HttpClient would; of the answer it reads the status alone. Whatever is not plainly 404 is left to HttpClient,
/// which asks again. A connection for each question: EC2's metadata service closes each after its answer anyway.
/// </summary>
/// <param name="host">For the request's head.</param>
/// <param name="connect">Makes a connection whose reads and writes end by themselves; may throw as a socket does.</param>
internal sealed class NotFoundProbe(string host, Func<Stream> connect)
{
    /// <summary><c>HTTP/1.1 404 </c>; older answers of the service are of version 1.0.</summary>
    private const int StatusBytes = 13;

    /// <summary>Whether the answer is 404. If not, that says nothing.</summary>
    public bool IsNotFound(string path, string header, string value)
    {
        try
        {
            using var stream = connect();
            stream.Write(Encoding.ASCII.GetBytes($"GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{header}: {value}\r\n\r\n"));
            Span<byte> answer = stackalloc byte[1024]; // all of it, mostly, so that the connection ends in order
            var length = stream.ReadAtLeast(answer, StatusBytes, throwOnEndOfStream: false);
            return length >= StatusBytes && (answer.StartsWith("HTTP/1.1 404 "u8) || answer.StartsWith("HTTP/1.0 404 "u8));
        }
        catch (Exception e) when (e is IOException or SocketException)
        {
            return false;
        }
    }
}
