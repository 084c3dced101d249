using System.Net;

namespace Mayfly.Agent;

/// <summary>What a job may connect to, the metadata service aside: parsed once, so that it cannot be wrong.</summary>
/// <param name="Names">Host names in lower case; <c>*.</c> in front stands for all below, but not for the name itself.</param>
/// <param name="Networks">Addresses and networks.</param>
internal sealed record EgressPolicy(EgressMode Mode, IReadOnlyList<string> Names, IReadOnlyList<IPNetwork> Networks)
{
    /// <summary>The image's own list, for every launch that asks for one.</summary>
    public const string ImageList = "/etc/mayfly/egress-allow";

    private const int LongestName = 253; // RFC 1035, in its written form

    /// <param name="imageList">Lines of <see cref="ImageList"/>.</param>
    /// <exception cref="FormatException">An entry is neither a host name nor a network: names it and where it stands.</exception>
    public static EgressPolicy From(LaunchSettings settings, IEnumerable<string> imageList)
    {
        var names = new List<string>();
        var networks = new List<IPNetwork>();
        foreach (var (line, number) in imageList.Select((line, i) => (line.Split('#')[0].Trim(), i + 1)).Where(l => l.Item1.Length > 0))
            Add(line, $"{ImageList}, line {number}");
        foreach (var entry in settings.EgressAllow)
            Add(entry, $"tag {Contract.Tags.EgressAllow}");
        return new EgressPolicy(settings.Egress, names, networks);

        void Add(string entry, string where)
        {
            if (IPAddress.TryParse(entry, out var address))
                networks.Add(new IPNetwork(address, address.AddressFamily == System.Net.Sockets.AddressFamily.InterNetwork ? 32 : 128));
            else if (IPNetwork.TryParse(entry, out var network))
                networks.Add(network);
            else if (IsName(entry))
                names.Add(entry.ToLowerInvariant());
            else
                throw new FormatException($"{where}: '{entry}' is neither a host name, such as github.com or *.github.com, nor a network, such as 10.0.0.0/8");
        }
    }

    /// <param name="name">In lower case, without the root's dot.</param>
    public bool Permits(string name) => Mode != EgressMode.Allow
        || Names.Any(pattern => pattern.StartsWith("*.", StringComparison.Ordinal) ? name.EndsWith(pattern[1..], StringComparison.Ordinal) : name == pattern);

    private static bool IsName(string entry)
    {
        var labels = (entry.StartsWith("*.", StringComparison.Ordinal) ? entry[2..] : entry).Split('.');
        // A number at the end would be an address gone wrong.
        return entry.Length <= LongestName && !labels[^1].All(char.IsAsciiDigit)
            && labels.All(label => label.Length is > 0 and < 64 && label.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_'));
    }
}
