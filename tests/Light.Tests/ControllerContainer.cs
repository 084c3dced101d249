using System.Diagnostics;
using System.Globalization;
using Mayfly.Lab;
using Mayfly.Machine.Tests;
using Xunit;

namespace Mayfly.Light.Tests;

/// <summary>The controller's container in podman, as little allowed as an operator can: no write to its root, not even to /tmp,
/// no capability, no way to gain one. Needs root and a network namespace of its own, which the container shares.</summary>
internal sealed class ControllerContainer : IDisposable
{
    public const string Name = "controller";
    private readonly string _own = Directory.CreateTempSubdirectory("mayfly-podman-").FullName;

    private ControllerContainer()
    {
        Program = Path.Combine(_own, "run");
        Folder = Directory.CreateDirectory(Path.Combine(_own, "folder")).FullName;
    }

    /// <summary>What <see cref="ControllerProcess"/> starts as the controller.</summary>
    public string Program { get; }

    /// <summary>The controller's secrets and its store: the same path inside and outside.</summary>
    public string Folder { get; }

    private string[] Store => ["--root", Path.Combine(_own, "store"), "--runroot", Path.Combine(_own, "run.d"), "--storage-driver", "vfs"];

    /// <summary>Loads the built container into a store of its own.</summary>
    public static async Task<ControllerContainer> LoadAsync()
    {
        if (!LightBed.IsPossible)
            Assert.Skip("the controller's container shares this network, which has to be a namespace of its own: run ./build.sh --target=Test");
        if (!File.Exists("/usr/bin/podman"))
            Assert.Skip("podman is missing: apt-get install podman");
        var container = new ControllerContainer();
        // "Loaded image: NAME"
        var image = (await container.PodmanAsync("load", "--quiet", "--input", Built.Container)).Split(' ')[^1];
        await File.WriteAllTextAsync(container.Program, container.ScriptFor(image), TestContext.Current.CancellationToken);
        File.SetUnixFileMode(container.Program, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        return container;
    }

    /// <summary>The program's process as this machine sees it.</summary>
    public async Task<int> ProcessIdAsync() => int.Parse(await PodmanAsync("inspect", "--format={{.State.Pid}}", Name), CultureInfo.InvariantCulture);

    public async Task<string> PodmanAsync(params string[] arguments)
    {
        var start = new ProcessStartInfo("podman") { RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (var argument in (IEnumerable<string>)[.. Store, .. arguments])
            start.ArgumentList.Add(argument);
        using var process = Process.Start(start)!;
        var error = process.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
        var output = await process.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken);
        await process.WaitForExitAsync(TestContext.Current.CancellationToken);
        return process.ExitCode == 0 ? output.Trim() : throw new InvalidOperationException($"podman {string.Join(' ', arguments)}: {await error}");
    }

    /// <summary>Sees cgroup v2 alone, which is what crun takes, even where this machine has v1 beside it; sets limits that any
    /// machine allows. What the lab wrote becomes the program's own.</summary>
    private string ScriptFor(string image) =>
        $$"""
        #!/bin/sh
        set -e
        chown -R 65532:65532 {{Folder}}
        exec unshare --mount sh -c 'umount -R /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup; exec "$@"' sh \
          podman {{string.Join(' ', Store)}} run --rm --name={{Name}} --network=host --cgroups=disabled --ulimit=nofile=1024:1024 --ulimit=nproc=1000:1000 \
          --read-only --read-only-tmpfs=false --cap-drop=all --security-opt=no-new-privileges --env='Mayfly__*' --env='AWS_*' --env=ASPNETCORE_URLS \
          --volume={{Folder}}:{{Folder}} {{image}}

        """;

    /// <summary>podman tidies up behind a container in its own time, after it has answered.</summary>
    public void Dispose()
    {
        Assert.True(SpinWait.SpinUntil(IsDeleted, TimeSpan.FromSeconds(60)), $"{_own} could not be deleted");

        bool IsDeleted()
        {
            try
            {
                Directory.Delete(_own, recursive: true);
            }
            catch (DirectoryNotFoundException)
            {
                return !Directory.Exists(_own);
            }
            catch (IOException)
            {
                return false;
            }

            return true;
        }
    }
}
