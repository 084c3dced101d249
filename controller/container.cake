// The controller's container: its own program and runtime, the few libraries that these need, and nothing else.
using System.Reflection.Metadata;
using System.Reflection.PortableExecutable;

// What the program refers to, and what that refers to, from the first on. What is left out would never be loaded: the runtime
// knows no other way to an assembly than a reference, but for the few that it asks for by name, which are given here too. ASP.NET
// refers to its servers for Windows, and calls them there only.
IReadOnlyCollection<string> Referred(string folder, params string[] from)
{
    var found = new HashSet<string>();
    var windows = new[] { "Microsoft.AspNetCore.Server.HttpSys", "Microsoft.AspNetCore.Server.IIS", "Microsoft.AspNetCore.Server.IISIntegration" };
    var open = new Queue<string>(from);
    while (open.TryDequeue(out var name))
    {
        var file = System.IO.Path.Combine(folder, name + ".dll");
        if (windows.Contains(name) || !System.IO.File.Exists(file) || !found.Add(name))
            continue;
        using var assembly = new PEReader(System.IO.File.OpenRead(file));
        var metadata = assembly.GetMetadataReader();
        foreach (var reference in metadata.AssemblyReferences)
            open.Enqueue(metadata.GetString(metadata.GetAssemblyReference(reference).Name));
    }
    return found;
}

Task("Container")
    .Description("Build the controller's container into artifacts/container/mayfly-controller.tar; podman load -i or docker load -i takes it")
    .IsDependentOn("Tools")
    .Does(() => Once("container", [.. Sources("controller", "agent/Contract", "agent/Aws"), System.IO.Path.Combine(root, "packer/scripts/sources.sh"), mirror, suite, .. offered.Value], Artifact("container", "mayfly-controller.tar"), () =>
    {
        var (published, app) = (Artifact("container", "published"), Artifact("container", "app"));
        CleanDirectory(published);
        Run("container-publish", "dotnet", ["publish", "controller/Controller.csproj", "-c", "Release", "-p:ForContainer=true", "-o", published, "-v:quiet", "-nologo", "-nodeReuse:false"]);
        CleanDirectory(app);
        // System.Diagnostics.StackTrace is asked for by name, when an exception is printed with its lines.
        var assemblies = Referred(published, "mayfly-controller", "System.Diagnostics.StackTrace");
        // Of the runtime, what runs a program: not what a debugger loads, nor the collectors that have to be asked for.
        string[] native = ["mayfly-controller", "libhostfxr.so", "libhostpolicy.so", "libcoreclr.so", "libclrjit.so", "mayfly-controller.runtimeconfig.json"];
        foreach (var file in System.IO.Directory.GetFiles(published).Select(System.IO.Path.GetFileName))
            if (native.Contains(file) || file.StartsWith("libSystem.") || (file.EndsWith(".dll") && assemblies.Contains(file[..^4])) || (file.EndsWith(".pdb") && assemblies.Contains(file[..^4])))
                System.IO.File.Copy(System.IO.Path.Combine(published, file), System.IO.Path.Combine(app, file));
        var (program, arguments) = AsRoot(System.IO.Path.Combine(root, "controller", "container", "build.sh"),
            [$"--app={app}", $"--out={Artifact("container")}", $"--version={VersionOf("Directory.Build.props")}", $"--source={Source()}", $"--suite={suite}", $"--mirror={mirror}"]);
        Run("container", program, arguments, showLine: line => line.StartsWith("container: "));
    }));

string VersionOf(string props) => XDocument.Load(System.IO.Path.Combine(root, props)).Descendants("Version").Single().Value;
