using System.Buffers;
using System.Buffers.Binary;
using System.Buffers.Text;
using System.IO.Compression;
using System.Security.Cryptography;

namespace Mayfly.Contract;

/// <summary>Why an envelope cannot be used.</summary>
public enum EnvelopeFault
{
    /// <summary>Nothing is there.</summary>
    Absent,

    /// <summary>It begins with another version than <see cref="Envelope.Version"/>.</summary>
    WrongVersion,

    /// <summary>It ends too early.</summary>
    Truncated,

    /// <summary>It is neither base64 nor what was packed.</summary>
    Malformed,

    /// <summary>It does not fit its channel, or unpacks to more than <see cref="Envelope.MaxUnpackedBytes"/>.</summary>
    TooLarge,
}

/// <summary>An envelope or a just-in-time configuration that cannot be used. The message names no content.</summary>
public sealed class EnvelopeException(EnvelopeFault fault, string message) : Exception(message)
{
    public EnvelopeFault Fault { get; } = fault;
}

/// <summary>
/// How the three runner files travel from the controller to the agent: joined, deflated, base64, with a version
/// in front. GitHub's own form (base64 in base64) is about 4,320 characters and fits no standard parameter;
/// this one is about 2,190.
/// </summary>
public static class Envelope
{
    /// <summary>Version prefix. Neither base64's alphabet nor an instance tag forbids it.</summary>
    public const string Version = "mf1.";

    private static ReadOnlySpan<byte> VersionUtf8 => "mf1."u8;

    /// <summary>Characters in the value of a standard parameter.
    /// https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-advanced-parameters.html</summary>
    public const int MaxCharacters = 4096;

    /// <summary>Bytes that unpacking may produce: a bound on a hostile envelope. The three real files are about 2,400.</summary>
    public const int MaxUnpackedBytes = 64 * 1024;

    /// <summary>Packs the files.</summary>
    /// <exception cref="EnvelopeException"><see cref="EnvelopeFault.TooLarge"/>: over <see cref="MaxCharacters"/>.</exception>
    public static string Pack(RunnerFiles files)
    {
        using var packed = new MemoryStream();
        using (var deflate = new DeflateStream(packed, CompressionLevel.SmallestSize, leaveOpen: true))
        {
            Span<byte> length = stackalloc byte[sizeof(int)];
            foreach (var content in files.Contents)
            {
                BinaryPrimitives.WriteInt32BigEndian(length, content.Reveal().Length);
                deflate.Write(length);
                deflate.Write(content.Reveal());
            }
        }

        var envelope = Version + Convert.ToBase64String(packed.GetBuffer(), 0, (int)packed.Length);
        CryptographicOperations.ZeroMemory(packed.GetBuffer());
        return envelope.Length <= MaxCharacters
            ? envelope
            : throw new EnvelopeException(EnvelopeFault.TooLarge,
                $"the runner's configuration packs to {envelope.Length} characters; a standard parameter holds {MaxCharacters}");
    }

    /// <summary>Unpacks what <see cref="Pack"/> made. The envelope is the caller's to zero; everything in between is zeroed
    /// here, and nothing of it becomes a string.</summary>
    /// <exception cref="EnvelopeException">Says which <see cref="EnvelopeFault"/>, with sizes, never with content.</exception>
    public static RunnerFiles Unpack(ReadOnlySpan<byte> envelope)
    {
        if (envelope.Trim(" \t\r\n"u8).IsEmpty)
            throw new EnvelopeException(EnvelopeFault.Absent, "the runner's configuration is empty");
        if (!envelope.StartsWith(VersionUtf8))
        {
            throw new EnvelopeException(EnvelopeFault.WrongVersion,
                $"the runner's configuration does not begin with '{Version}'; use a controller and an image of the same release");
        }

        var packed = Secret.Allocate(Base64.GetMaxDecodedFromUtf8Length(envelope.Length));
        var joined = Secret.Allocate(MaxUnpackedBytes);
        try
        {
            if (Base64.DecodeFromUtf8(envelope[Version.Length..], packed, out _, out var packedLength) != OperationStatus.Done)
            {
                // Base64 comes in groups of four: any other length was cut on its way.
                throw (envelope.Length - Version.Length) % 4 == 0
                    ? new EnvelopeException(EnvelopeFault.Malformed, "the runner's configuration is not base64")
                    : Truncated(envelope.Length);
            }

            var joinedLength = Inflater.Inflate(packed.AsSpan(0, packedLength), joined);
            return Split(joined.AsSpan(0, joinedLength)) ?? throw Truncated(envelope.Length);
        }
        catch (EnvelopeException e) when (e.Fault == EnvelopeFault.TooLarge)
        {
            throw new EnvelopeException(EnvelopeFault.TooLarge, $"the runner's configuration unpacks to more than {MaxUnpackedBytes} bytes");
        }
        finally
        {
            CryptographicOperations.ZeroMemory(packed);
            CryptographicOperations.ZeroMemory(joined);
        }
    }

    private static RunnerFiles? Split(ReadOnlySpan<byte> joined)
    {
        var contents = new byte[RunnerFiles.Names.Count][];
        for (var i = 0; i < contents.Length; i++)
        {
            if (joined.Length < sizeof(int))
                return null;
            var length = BinaryPrimitives.ReadInt32BigEndian(joined);
            joined = joined[sizeof(int)..];
            if (length < 0 || length > joined.Length)
                return null;
            contents[i] = Secret.Allocate(length);
            joined[..length].CopyTo(contents[i]);
            joined = joined[length..];
        }

        return joined.IsEmpty
            ? new RunnerFiles(new Secret(contents[0]), new Secret(contents[1]), new Secret(contents[2]))
            : null;
    }

    private static EnvelopeException Truncated(int length) =>
        new(EnvelopeFault.Truncated, $"the runner's configuration is cut short at {length} characters");
}
