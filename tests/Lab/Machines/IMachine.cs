using Mayfly.Lab.Ec2;

namespace Mayfly.Lab.Machines;

/// <summary>What stands behind an instance: a virtual machine, or nothing that only pretends.</summary>
internal interface IMachine
{
    /// <summary>Completes when the machine has started.</summary>
    Task StartAsync();

    /// <summary>Completes when the machine is off, which it also is when it could not start.</summary>
    Task Ended { get; }

    void Kill();

    /// <summary>Ends it as EC2 does for whoever terminates an instance: asks its system, where there is one to ask, and after a
    /// while asks no more.</summary>
    void ShutDown() => Kill();

    string ReadConsole();
}

/// <summary>Makes the machine for an instance; null if no image has that id.</summary>
internal sealed class MachineFactory(Func<Instance, IMachine?> create)
{
    public IMachine? Create(Instance instance) => create(instance);
}

/// <summary>A machine that runs until it is killed and prints what a test gives it.</summary>
internal sealed class PretendMachine : IMachine
{
    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public string Console { get; set; } = "";

    public Task Ended => _ended.Task;

    public Task StartAsync() => Task.CompletedTask;

    public void Kill() => _ended.TrySetResult();

    public string ReadConsole() => Console;
}
