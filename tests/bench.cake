// The figures of docs/specification.md, and what the image is measured against.
var only = Argument("only", "");

Task("Baseline")
    .Description("Build the machine that the image is measured against: Debian with GRUB, ext4 and cloud-init")
    .IsDependentOn("Runner")
    .Does(() => Once("baseline", [System.IO.Path.Combine(root, "tests/Bench/baseline"), System.IO.Path.Combine(root, "packer/packages/minimal.list"), Artifact("runner"), mirror], Artifact("baseline", "disk.raw"), () =>
    {
        var (program, arguments) = AsRoot(System.IO.Path.Combine(root, "tests/Bench/baseline/build.sh"),
            [$"--packages={System.IO.Path.Combine(root, "packer/packages/minimal.list")}", $"--runner={Artifact("runner")}", $"--out={Artifact("baseline")}", $"--mirror={mirror}"]);
        Run("baseline", program, arguments, showLine: line => line.StartsWith("baseline: "));
    }));

void PublishBench() => Once("bench", Sources("tests/Bench", "tests/Burst", "tests/Lab", "agent/Contract", "agent/Aws", "controller"), Artifact("bench-program", "mayfly-bench.dll"), () => Publish("bench", "tests/Bench/Bench.csproj", Artifact("bench-program")));

Task("BootOrder")
    .Description("Boot the image once and write packer/boot-order: which files lie first on the disk")
    .IsDependentOn("Image")
    .Does(() =>
    {
        PublishBench();
        var (program, arguments) = InNamespaces(["dotnet", Artifact("bench-program", "mayfly-bench.dll"),
            $"--image={Artifact("image")}", $"--boot-order={System.IO.Path.Combine(root, "packer", "boot-order")}", $"--out={Artifact("bench")}"]);
        Run("boot-order", program, arguments, show: true);
    });

Task("Bench")
    .Description("Measure the figures of docs/specification.md into artifacts/bench/results.json; --only=BEGINNING takes some by name")
    .IsDependentOn("Image")
    .IsDependentOn("Baseline")
    .IsDependentOn("Controller")
    .IsDependentOn("Container")
    .Does(() =>
    {
        PublishBench();
        CleanDirectory(Artifact("bench"));
        var (program, arguments) = InNamespaces(["dotnet", Artifact("bench-program", "mayfly-bench.dll"),
            $"--agent={Artifact("agent", "mayfly-agent")}", $"--image={Artifact("image")}", $"--controller={Artifact("controller", "mayfly-controller")}", $"--container-program={Artifact("container", "app", "mayfly-controller")}", $"--baseline={Artifact("baseline", "disk.raw")}", $"--out={Artifact("bench")}", $"--only={only}"]);
        Run("bench-run", program, arguments, show: true);
    });
