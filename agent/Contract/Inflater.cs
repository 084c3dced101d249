using System.Buffers.Binary;

namespace Mayfly.Contract;

/// <summary>
/// Inflates from one span into another and leaves nothing anywhere else. .NET's own keeps what passed in a pooled buffer
/// and in its library's window, neither of which it zeroes. After RFC 1951; an envelope has a few kilobytes, so that
/// bit by bit is fast enough.
/// </summary>
internal ref struct Inflater
{
    private const int MostBits = 15;
    private const int EndOfBlock = 256;

    private static ReadOnlySpan<ushort> LengthBase =>
        [3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258];

    private static ReadOnlySpan<byte> LengthExtra =>
        [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];

    private static ReadOnlySpan<ushort> DistanceBase =>
        [1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577];

    private static ReadOnlySpan<byte> DistanceExtra =>
        [0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13];

    /// <summary>The order in which a dynamic block gives the lengths of its code's own code.</summary>
    private static ReadOnlySpan<byte> CodeOrder => [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

    private readonly ReadOnlySpan<byte> _input;
    private readonly Span<byte> _output;
    private int _bit;
    private int _written;

    private Inflater(ReadOnlySpan<byte> input, Span<byte> output)
    {
        _input = input;
        _output = output;
    }

    /// <returns>Bytes written.</returns>
    /// <exception cref="EnvelopeException"><see cref="EnvelopeFault.Truncated"/>, <see cref="EnvelopeFault.Malformed"/>, or
    /// <see cref="EnvelopeFault.TooLarge"/> if the output does not hold it all.</exception>
    public static int Inflate(ReadOnlySpan<byte> input, Span<byte> output)
    {
        var inflater = new Inflater(input, output);
        bool last;
        do
        {
            last = inflater.Bits(1) == 1;
            switch (inflater.Bits(2))
            {
                case 0:
                    inflater.Stored();
                    break;
                case 1:
                    inflater.FixedBlock();
                    break;
                case 2:
                    inflater.DynamicBlock();
                    break;
                default:
                    throw Malformed();
            }
        }
        while (!last);
        return inflater._written;
    }

    private void Stored()
    {
        var at = (_bit + 7) / 8;
        if (at + 4 > _input.Length)
            throw Truncated();
        var length = BinaryPrimitives.ReadUInt16LittleEndian(_input[at..]);
        if (length != (ushort)~BinaryPrimitives.ReadUInt16LittleEndian(_input[(at + 2)..]))
            throw Malformed();
        at += 4;
        if (at + length > _input.Length)
            throw Truncated();
        if (_written + length > _output.Length)
            throw TooLarge();
        _input.Slice(at, length).CopyTo(_output[_written..]);
        _written += length;
        _bit = 8 * (at + length);
    }

    private void FixedBlock()
    {
        Span<byte> lengths = stackalloc byte[288];
        lengths[..144].Fill(8);
        lengths[144..256].Fill(9);
        lengths[256..280].Fill(7);
        lengths[280..].Fill(8);
        Span<byte> distances = stackalloc byte[30];
        distances.Fill(5);
        Codes(new Code(lengths, stackalloc ushort[MostBits + 1], stackalloc ushort[288]), new Code(distances, stackalloc ushort[MostBits + 1], stackalloc ushort[30]));
    }

    private void DynamicBlock()
    {
        var (literals, distances, codes) = (Bits(5) + 257, Bits(5) + 1, Bits(4) + 4);
        if (literals > 286 || distances > 30)
            throw Malformed();
        Span<byte> lengths = stackalloc byte[286 + 30];
        foreach (var symbol in CodeOrder[..codes])
            lengths[symbol] = (byte)Bits(3);
        var code = new Code(lengths[..19], stackalloc ushort[MostBits + 1], stackalloc ushort[19]);

        Span<byte> all = stackalloc byte[286 + 30];
        for (var i = 0; i < literals + distances;)
        {
            var symbol = Symbol(code);
            var (value, times) = symbol switch
            {
                < 16 => ((byte)symbol, 1),
                16 => (i == 0 ? throw Malformed() : all[i - 1], 3 + Bits(2)),
                17 => ((byte)0, 3 + Bits(3)),
                _ => ((byte)0, 11 + Bits(7)),
            };
            if (i + times > literals + distances)
                throw Malformed();
            all.Slice(i, times).Fill(value);
            i += times;
        }

        if (all[EndOfBlock] == 0)
            throw Malformed();
        Codes(new Code(all[..literals], stackalloc ushort[MostBits + 1], stackalloc ushort[286]),
            new Code(all.Slice(literals, distances), stackalloc ushort[MostBits + 1], stackalloc ushort[30]));
    }

    private void Codes(scoped Code literals, scoped Code distances)
    {
        while (Symbol(literals) is var symbol && symbol != EndOfBlock)
        {
            if (symbol < EndOfBlock)
            {
                if (_written == _output.Length)
                    throw TooLarge();
                _output[_written++] = (byte)symbol;
                continue;
            }

            symbol -= EndOfBlock + 1;
            if (symbol >= LengthBase.Length)
                throw Malformed();
            var length = LengthBase[symbol] + Bits(LengthExtra[symbol]);
            symbol = Symbol(distances);
            var distance = DistanceBase[symbol] + Bits(DistanceExtra[symbol]);
            if (distance > _written)
                throw Malformed();
            if (_written + length > _output.Length)
                throw TooLarge();
            // Byte by byte: what is copied may be what was just written.
            for (var i = 0; i < length; i++, _written++)
                _output[_written] = _output[_written - distance];
        }
    }

    /// <summary>Decodes the next symbol of a canonical code: codes of each length are consecutive numbers.</summary>
    private int Symbol(scoped Code code)
    {
        var (value, first, index) = (0, 0, 0);
        for (var length = 1; length <= MostBits; length++)
        {
            value |= Bits(1);
            int count = code.Counts[length];
            if (value - count < first)
                return code.Symbols[index + (value - first)];
            index += count;
            first = (first + count) << 1;
            value <<= 1;
        }

        throw Malformed();
    }

    private int Bits(int count)
    {
        var value = 0;
        for (var i = 0; i < count; i++, _bit++)
        {
            if (_bit >> 3 >= _input.Length)
                throw Truncated();
            value |= ((_input[_bit >> 3] >> (_bit & 7)) & 1) << i;
        }

        return value;
    }

    private static EnvelopeException Truncated() => new(EnvelopeFault.Truncated, "the runner's configuration ends too early");

    private static EnvelopeException Malformed() => new(EnvelopeFault.Malformed, "the runner's configuration does not inflate");

    private static EnvelopeException TooLarge() => new(EnvelopeFault.TooLarge, "the runner's configuration unpacks to more than is allowed");

    /// <summary>A canonical Huffman code: how many codes have each length, and their symbols in order.</summary>
    private readonly ref struct Code
    {
        public Code(scoped ReadOnlySpan<byte> lengths, Span<ushort> counts, Span<ushort> symbols)
        {
            Counts = counts;
            Symbols = symbols;
            foreach (var length in lengths)
                counts[length]++;
            counts[0] = 0;
            var free = 1;
            Span<ushort> offsets = stackalloc ushort[MostBits + 2];
            for (var length = 1; length <= MostBits; length++)
            {
                free = (free << 1) - counts[length];
                if (free < 0)
                    throw Malformed(); // more codes than there are numbers
                offsets[length + 1] = (ushort)(offsets[length] + counts[length]);
            }

            for (var symbol = 0; symbol < lengths.Length; symbol++)
            {
                if (lengths[symbol] != 0)
                    symbols[offsets[lengths[symbol]]++] = (ushort)symbol;
            }
        }

        public ReadOnlySpan<ushort> Counts { get; }

        public ReadOnlySpan<ushort> Symbols { get; }
    }
}
