namespace Mayfly.Bench;

/// <summary>What there is to be measured, and where to work.</summary>
/// <param name="Agent">The native agent.</param>
/// <param name="Image">The image's folder: disk, kernel, initrd, command line.</param>
/// <param name="Controller">The published controller.</param>
/// <param name="Folder">Empty, and deleted afterwards.</param>
internal sealed record Bed(string Agent, string Image, string Controller, string Folder, Action<string> Say)
{
    /// <summary>The disk of the machine that the image is compared with.</summary>
    public string Baseline { get; init; } = "";

    /// <summary>The controller as its container has it, with its own runtime.</summary>
    public string ContainerProgram { get; init; } = "";

    /// <summary>For what is to be looked at afterwards, such as the boot chart.</summary>
    public string Out { get; init; } = "";
}
