using Mayfly.Machine.Tests;
using Xunit;

namespace Mayfly.Image.Tests;

/// <summary>packer/inputs.cake, by which the build sees that something has changed.</summary>
public sealed class InputsTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("mayfly-inputs-").FullName;

    [Fact]
    public async Task A_link_counts_by_where_it_points_and_need_point_nowhere_here()
    {
        await File.WriteAllTextAsync(Path.Combine(_folder, "test.cake"), $$"""
            #load "{{Built.Path("packer/inputs.cake")}}"
            var files = System.IO.Directory.CreateDirectory("{{_folder}}/files").FullName;
            void Tell(string after) => Console.WriteLine($"said {after} {DigestOf([files])}");
            void Link(string name, string to)
            {
                System.IO.File.Delete($"{files}/{name}");
                System.IO.File.CreateSymbolicLink($"{files}/{name}", to);
            }
            System.IO.File.WriteAllText($"{files}/one", "equal");
            System.IO.File.WriteAllText($"{files}/other", "equal");
            Link("tool", "one");
            Tell("first");
            Tell("again");
            Link("tool", "other");
            Tell("equal-content");
            Link("only-in-the-image", "/opt/tool/only-there");
            Tell("dangling");
            Link("only-in-the-image", "/opt/tool/elsewhere");
            Tell("dangling-elsewhere");
            Link("circle", ".");
            Tell("circle");
            System.IO.Directory.CreateDirectory($"{files}/empty");
            Tell("empty-folder");
            System.IO.File.SetUnixFileMode($"{files}/one", UnixFileMode.UserRead | UnixFileMode.UserExecute);
            Tell("mode");
            """, TestContext.Current.CancellationToken);

        var output = await Builder.RunAsync("sh", ["-c", "cd \"$0\" && exec dotnet cake \"$1\"", Built.Repository, Path.Combine(_folder, "test.cake")]);

        var said = output.Split('\n').Where(l => l.StartsWith("said ", StringComparison.Ordinal)).Select(l => l.Split(' ')).ToDictionary(l => l[1], l => l[2].Trim());
        Assert.Equal(8, said.Count);
        Assert.Equal(said["first"], said["again"]);
        Assert.Equal(7, said.Values.Distinct().Count());
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);
}
