// What a step is made from, as one digest: what Once compares with that of its last success.
using System.Security.Cryptography;

// Inputs are files, folders and plain words. A link below a folder counts by where it points: what stands there is another
// input, or is found in the image alone.
string DigestOf(IEnumerable<string> inputs)
{
    using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
    void Add(string text) => hash.AppendData(System.Text.Encoding.UTF8.GetBytes(text + "\n"));
    void AddContent(string file)
    {
        using var content = System.IO.File.OpenRead(file);
        hash.AppendData(SHA256.HashData(content));
    }
    foreach (var input in inputs)
    {
        Add(input);
        if (System.IO.File.Exists(input))
            AddContent(input);
        if (!System.IO.Directory.Exists(input))
            continue;
        var entries = Entries(new System.IO.DirectoryInfo(input)).ToList();
        // Below a project's folder lies what was built from it; elsewhere, as in a runner's layout, bin/ is an input.
        var built = entries.Any(e => e.Extension == ".csproj");
        foreach (var entry in entries.Where(e => !built || !new[] { "/obj/", "/bin/", "/TestResults/" }.Any((e.FullName + "/").Contains)).OrderBy(e => e.FullName, StringComparer.Ordinal))
        {
            Add(entry.LinkTarget is { } to ? $"{entry.FullName} -> {to}" : $"{entry.FullName} {(int)entry.UnixFileMode}");
            if (entry is System.IO.FileInfo { LinkTarget: null })
                AddContent(entry.FullName);
        }
    }
    return Convert.ToHexString(hash.GetHashAndReset());
}

// No link is followed, so that none leads round in a circle.
IEnumerable<System.IO.FileSystemInfo> Entries(System.IO.DirectoryInfo folder) =>
    folder.EnumerateFileSystemInfos().SelectMany(e => e is System.IO.DirectoryInfo { LinkTarget: null } below ? Entries(below).Prepend(e) : [e]);
