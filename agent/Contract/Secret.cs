using System.Security.Cryptography;

namespace Mayfly.Contract;

/// <summary>
/// Bytes that must not be seen. Prints as <c>***</c>, so that a log line or an exception cannot carry it,
/// and is zeroed when disposed of.
/// </summary>
public sealed class Secret : IDisposable
{
    private readonly byte[] _bytes;

    /// <summary>Takes the array over: it is zeroed with the secret.</summary>
    public Secret(byte[] bytes) => _bytes = bytes;

    /// <summary>Memory for one: pinned, so that the garbage collector leaves no copy behind when it compacts.</summary>
    public static byte[] Allocate(int length) => GC.AllocateArray<byte>(length, pinned: true);

    /// <summary>The bytes, for the one caller that has to have them.</summary>
    public ReadOnlySpan<byte> Reveal() => _bytes;

    /// <summary>The same bytes, for callers that must cross an await.</summary>
    public ReadOnlyMemory<byte> RevealMemory() => _bytes;

    public override string ToString() => "***";

    public void Dispose() => CryptographicOperations.ZeroMemory(_bytes);
}
