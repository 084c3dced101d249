using System.Globalization;

namespace Mayfly.Agent;

/// <summary>
/// The parameters of the verified root, from the kernel command line, which is part of the signed kernel image. They
/// are not read from the disk: a superblock there would be the attacker's own word.
/// </summary>
/// <param name="RootHash">SHA-256 at the top of the hash tree, 64 hexadecimal digits.</param>
/// <param name="Salt">Hexadecimal digits, even in number, at most 512.</param>
/// <param name="DataBlocks">Blocks of 4,096 bytes; the hash tree follows at once.</param>
internal sealed record KernelCommandLine(string RootHash, string Salt, ulong DataBlocks)
{
    /// <exception cref="FormatException">Names the parameter that is missing or wrong.</exception>
    public static KernelCommandLine Parse(string commandLine)
    {
        var parameters = commandLine.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
        var rootHash = Hexadecimal("mayfly.roothash", 64, 64);
        var salt = Hexadecimal("mayfly.salt", 2, 512);
        var blocks = Value("mayfly.blocks");
        return ulong.TryParse(blocks, NumberStyles.None, CultureInfo.InvariantCulture, out var dataBlocks) && dataBlocks is > 0 and < (1UL << 40)
            ? new KernelCommandLine(rootHash, salt, dataBlocks)
            : throw new FormatException($"kernel command line: mayfly.blocks='{blocks}' is not a number of blocks");

        string Value(string name) =>
            parameters.FirstOrDefault(p => p.StartsWith(name + "=", StringComparison.Ordinal))?[(name.Length + 1)..]
            ?? throw new FormatException($"kernel command line: {name} is missing; build the image with ./build.sh --target=Image");

        string Hexadecimal(string name, int least, int most)
        {
            var value = Value(name);
            return value.Length >= least && value.Length <= most && value.Length % 2 == 0 && value.All(char.IsAsciiHexDigitLower)
                ? value
                : throw new FormatException($"kernel command line: {name}='{value}' is not {least} to {most} lower-case hexadecimal digits");
        }
    }
}
