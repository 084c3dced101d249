using System.Buffers.Binary;
using System.Net;
using System.Text;

namespace Mayfly.Agent;

/// <summary>
/// As much of DNS as it takes to see what is asked for and which addresses are answered. Everything else of a message is
/// handed on as it is. RFC 1035, section 4; RFC 3596 for IPv6.
/// </summary>
internal static class DnsMessage
{
    /// <summary>The longest message there is, over TCP.</summary>
    public const int MostBytes = 65_535;

    /// <summary>What is asked for: a host's addresses of IPv4 (A).</summary>
    public const ushort Ipv4 = 1;

    /// <summary>The same of IPv6 (AAAA).</summary>
    public const ushort Ipv6 = 28;

    private const int HeaderBytes = 12;
    private const int LongestLabel = 63;
    private const int LongestName = 255;
    private const ushort Internet = 1;

    /// <summary>A question for a host's addresses, to be answered by whatever it takes (recursion desired).</summary>
    /// <exception cref="FormatException">It is no host's name.</exception>
    public static byte[] Query(string host, ushort type)
    {
        var labels = host.TrimEnd('.').Split('.');
        if (host.Length >= LongestName || labels.Any(label => label.Length is 0 or > LongestLabel || !label.All(char.IsAscii)))
            throw new FormatException($"'{host}' is no host's name");
        var identification = new byte[2];
        Random.Shared.NextBytes(identification);
        return [.. identification, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, .. labels.SelectMany(label => (byte[])[(byte)label.Length, .. Encoding.ASCII.GetBytes(label)]), 0, 0, (byte)type, 0, 1];
    }

    /// <summary>The one question's name, in lower case and without the root's dot; null for what is no plain query.</summary>
    public static string? NameAsked(ReadOnlySpan<byte> query)
    {
        const int opcodeAndResponse = 0xF8; // a standard query has neither
        if (query.Length < HeaderBytes || (query[2] & opcodeAndResponse) != 0 || BinaryPrimitives.ReadUInt16BigEndian(query[4..]) != 1)
            return null;
        return ReadName(query, HeaderBytes) is ({ } name, var end) && end + 4 <= query.Length ? name : null;
    }

    /// <summary>All addresses in the answer section. What is cut off or twisted yields those before it.</summary>
    public static IReadOnlyList<IPAddress> AddressesIn(ReadOnlySpan<byte> response)
    {
        var addresses = new List<IPAddress>();
        if (response.Length < HeaderBytes)
            return addresses;
        var at = HeaderBytes;
        for (var questions = BinaryPrimitives.ReadUInt16BigEndian(response[4..]); questions > 0; questions--)
        {
            if (ReadName(response, at) is not ({ }, var end))
                return addresses;
            at = end + 4; // type and class
        }

        for (var answers = BinaryPrimitives.ReadUInt16BigEndian(response[6..]); answers > 0; answers--)
        {
            if (ReadName(response, at) is not ({ }, var end) || end + 10 > response.Length)
                break;
            var type = BinaryPrimitives.ReadUInt16BigEndian(response[end..]);
            var length = BinaryPrimitives.ReadUInt16BigEndian(response[(end + 8)..]);
            at = end + 10 + length;
            if (at > response.Length)
                break;
            // A has 4 bytes, AAAA 16.
            if (BinaryPrimitives.ReadUInt16BigEndian(response[(end + 2)..]) == Internet && (type, length) is (Ipv4, 4) or (Ipv6, 16))
                addresses.Add(new IPAddress(response[(at - length)..at]));
        }

        return addresses;
    }

    /// <summary>The answer that there is no such name: clients give up at once, where a refusal makes them try elsewhere.</summary>
    public static byte[] NoSuchName(ReadOnlySpan<byte> query)
    {
        var answer = query[..(ReadName(query, HeaderBytes).End + 4)].ToArray();
        answer[2] = (byte)(0x80 | (query[2] & 1)); // a response, recursion desired as asked
        answer[3] = 0x83;                          // recursion available, NXDOMAIN
        answer.AsSpan(6, 6).Clear();               // no answers, authorities or additional records
        return answer;
    }

    /// <summary>A name that may point back into the message, and where what follows it begins; no name where it is none.</summary>
    private static (string? Name, int End) ReadName(ReadOnlySpan<byte> message, int at)
    {
        var name = new StringBuilder();
        var end = -1;
        // Pointers only ever count down here, so that no message keeps us for ever.
        for (var lowest = at; ;)
        {
            if (at >= message.Length)
                return default;
            var length = message[at];
            if (length == 0)
                return (name.ToString(), end < 0 ? at + 1 : end);
            if ((length & 0xC0) == 0xC0)
            {
                if (at + 1 >= message.Length)
                    return default;
                end = end < 0 ? at + 2 : end;
                at = ((length & 0x3F) << 8) | message[at + 1];
                if (at >= lowest)
                    return default;
                lowest = at;
                continue;
            }

            if (length > LongestLabel || at + 1 + length > message.Length || name.Length + length >= LongestName)
                return default;
            if (name.Length > 0)
                name.Append('.');
            foreach (var b in message.Slice(at + 1, length))
                name.Append(b is > 0x20 and < 0x7f and not (byte)'.' ? char.ToLowerInvariant((char)b) : '?');
            at += 1 + length;
        }
    }
}
