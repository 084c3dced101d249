using Xunit;

namespace Mayfly.Machine.Tests;

/// <summary>Repository paths, and what the build left there.</summary>
internal static class Built
{
    public static readonly string Repository = FindRepository();

    public static string Image => Require("artifacts/image/disk.raw");

    /// <summary>With the docker toolset.</summary>
    public static string DockerImage => Require("artifacts/image-docker/disk.raw");

    public static string Controller => Require("artifacts/controller/mayfly-controller");

    public static string Container => Require("artifacts/container/mayfly-controller.tar");

    public static string Path(string relative) => System.IO.Path.Combine(Repository, relative);

    private static string Require(string relative)
    {
        var path = Path(relative);
        if (!File.Exists(path))
            Assert.Skip($"{relative} is missing: run ./build.sh --target=Test, which builds it");
        return path;
    }

    private static string FindRepository()
    {
        var folder = AppContext.BaseDirectory;
        while (!File.Exists(System.IO.Path.Combine(folder, "Agent.sln")))
            folder = System.IO.Path.GetDirectoryName(folder) ?? throw new InvalidOperationException("not inside the repository");
        return folder;
    }
}
