namespace Mayfly.Contract;

/// <summary>
/// The numbered steps of a machine's life. Code, <c>docs/boot.md</c>, the serial console and the controller use
/// these numbers and names.
/// </summary>
public sealed record Step(int Number, string Name)
{
    public static readonly Step VerifyRoot = new(1, "verify the root");
    public static readonly Step EncryptScratch = new(2, "encrypt scratch");
    public static readonly Step EncryptSwap = new(3, "encrypt swap");
    public static readonly Step LayWritableView = new(4, "lay the writable view");
    public static readonly Step LearnIdentity = new(5, "learn who I am");
    public static readonly Step TakeConfig = new(6, "take the configuration and delete it");
    public static readonly Step CloseDoor = new(7, "close the door");
    public static readonly Step StartRunner = new(8, "start the runner");
    public static readonly Step Watch = new(9, "watch");
    public static readonly Step End = new(10, "end");

    public static readonly IReadOnlyList<Step> All =
        [VerifyRoot, EncryptScratch, EncryptSwap, LayWritableView, LearnIdentity, TakeConfig, CloseDoor, StartRunner, Watch, End];
}
