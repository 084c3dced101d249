using System.Buffers;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using Mayfly.Contract;

namespace Mayfly.Aws;

/// <summary>
/// HTTP connections that leave nothing of what they received in memory. HttpClient reads the head of an answer, and with
/// it the beginning of its body, into a buffer of its own that nobody zeroes, and that the garbage collector may copy. Here
/// such a buffer gets the head alone, and is zeroed when the connection is closed, which <see cref="HttpClient.Dispose()"/> does.
/// </summary>
public static class WipedConnections
{
    /// <summary>A page of instances; what is larger is not kept.</summary>
    private const int MostSpare = 4 << 20;

    /// <summary>What an answer was read into, zeroed, for the next one: memory that is pinned is freed late, and a large answer outgrows
    /// several arrays.</summary>
    private static byte[]? _spare;

    /// <param name="lifetime">After this a connection is not used again.</param>
    /// <param name="useProxy">Follows <c>HTTPS_PROXY</c> and its like.</param>
    /// <param name="connect">How a connection is made; null for HttpClient's own way.</param>
    public static SocketsHttpHandler MakeHandler(TimeSpan lifetime, bool useProxy, Func<SocketsHttpConnectionContext, CancellationToken, ValueTask<Stream>>? connect = null) => new()
    {
        AllowAutoRedirect = false, // a followed redirect would not be signed again
        UseProxy = useProxy,
        PooledConnectionLifetime = lifetime,
        ConnectCallback = connect,
        PlaintextStreamFilter = (context, _) => ValueTask.FromResult<Stream>(new WipingStream(context.PlaintextStream)),
    };

    /// <summary>Reads an answer's body into memory of its own that the garbage collector does not copy; whoever gets a
    /// secret zeroes it. Every other way to read makes HttpClient take arrays from a pool that is shared.</summary>
    /// <param name="most">Bytes that the body may have.</param>
    /// <param name="limit">End of the reading: the client's own limit ends with the head of the answer.</param>
    /// <exception cref="HttpRequestException">The body is larger, or broken off.</exception>
    public static async Task<byte[]> ReadAsync(HttpResponseMessage response, int most, TimeSpan limit, CancellationToken cancel)
    {
        using var timeout = new CancellationTokenSource(limit); // real time, as the client's own
        using var either = CancellationTokenSource.CreateLinkedTokenSource(timeout.Token, cancel);
        var buffer = Interlocked.Exchange(ref _spare, null) ?? [];
        if (buffer.Length < FirstOf(response, most))
            buffer = Secret.Allocate(FirstOf(response, most));
        var (length, isWhole) = (0, false);
        try
        {
            await using var stream = await response.Content.ReadAsStreamAsync(either.Token);
            while (await stream.ReadAsync(new OwnMemory(buffer).Memory[length..], either.Token) is var read and > 0)
            {
                length += read;
                if (length > most)
                    throw new HttpRequestException($"an answer of more than {most} bytes");
                if (length < buffer.Length)
                    continue;
                var larger = Secret.Allocate(Math.Min(2 * length, most + 1));
                buffer.CopyTo(larger, 0);
                CryptographicOperations.ZeroMemory(buffer);
                buffer = larger;
            }

            var body = Secret.Allocate(length);
            buffer.AsSpan(0, length).CopyTo(body);
            isWhole = true;
            return body;
        }
        catch (IOException e)
        {
            throw new HttpRequestException($"the answer was broken off: {e.Message}", e);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(buffer);
            // What was broken off is not kept: its connection may still be writing there.
            if (isWhole && buffer.Length <= MostSpare && buffer.Length > (_spare?.Length ?? 0))
                _spare = buffer;
        }
    }

    /// <summary>A byte more than the answer says that it has, for its end to be seen.</summary>
    private static int FirstOf(HttpResponseMessage response, int most) => (int)Math.Clamp((response.Content.Headers.ContentLength ?? 0) + 1, 4 << 10, most + 1);

    /// <summary>An array that a stream cannot see as one, and that <see cref="WipingStream"/> so tells from HttpClient's.</summary>
    private sealed unsafe class OwnMemory(byte[] pinned) : MemoryManager<byte>
    {
        public override Span<byte> GetSpan() => pinned;

        public override MemoryHandle Pin(int elementIndex = 0) => new(Unsafe.AsPointer(ref pinned[elementIndex]), default, this);

        public override void Unpin()
        {
        }

        protected override void Dispose(bool disposing)
        {
        }
    }

    /// <summary>Remembers the arrays that HttpClient reads into. They belong to the connection, neither pooled nor shared, so
    /// that zeroing them late disturbs nobody.</summary>
    private sealed class WipingStream(Stream inner) : Stream
    {
        private readonly List<byte[]> _filled = [];

        /// <summary>What has come and was not asked for yet.</summary>
        private readonly byte[] _ahead = Secret.Allocate(4 << 10);

        private int _at;
        private int _length;

        public override bool CanRead => true;

        public override bool CanSeek => false;

        public override bool CanWrite => true;

        public override long Length => throw new NotSupportedException();

        public override long Position
        {
            get => throw new NotSupportedException();
            set => throw new NotSupportedException();
        }

        public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            var isOwn = !MemoryMarshal.TryGetArray(buffer, out ArraySegment<byte> segment);
            if (isOwn && _at == _length)
                return await inner.ReadAsync(buffer, cancellationToken);
            if (!isOwn && segment.Array is { Length: > 0 } array && !_filled.Contains(array))
                _filled.Add(array);
            if (buffer.Length == 0)
                return _at < _length ? 0 : await inner.ReadAsync(buffer, cancellationToken); // only waits until there is something

            if (_at == _length)
                (_at, _length) = (0, await inner.ReadAsync(new OwnMemory(_ahead).Memory, cancellationToken));
            return Take(buffer.Span, toLineEnd: !isOwn);
        }

        /// <summary>Hands out what is ahead. A head is handed out line by line, so that nothing comes with it that follows its
        /// last one.</summary>
        private int Take(Span<byte> to, bool toLineEnd)
        {
            var from = _ahead.AsSpan(_at, _length - _at);
            if (toLineEnd && from.IndexOf((byte)'\n') is var end and >= 0)
                from = from[..(end + 1)];
            from = from[..Math.Min(from.Length, to.Length)];
            from.CopyTo(to);
            CryptographicOperations.ZeroMemory(from);
            _at += from.Length;
            return from.Length;
        }

        public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

        public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default) => inner.WriteAsync(buffer, cancellationToken);

        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

        public override void Flush() => throw new NotSupportedException();

        public override Task FlushAsync(CancellationToken cancellationToken) => inner.FlushAsync(cancellationToken);

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();

        protected override void Dispose(bool disposing)
        {
            if (disposing)
            {
                inner.Dispose(); // first: nothing is read any more
                CryptographicOperations.ZeroMemory(_ahead);
                foreach (var array in _filled)
                    CryptographicOperations.ZeroMemory(array);
            }

            base.Dispose(disposing);
        }
    }
}
